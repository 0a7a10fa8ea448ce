/** The device plugins as run wires them: made from the configuration, started before anything slow, and shown in the record. */
import { realNow } from '../compose.ts'
import type { Config } from '../config/index.ts'
import { DevicePlugins } from '../kubelet/index.ts'
import type { ResourceState } from '../model/index.ts'
import type { Logger, Recorder } from '../record/index.ts'
import { advertisedResources } from './advertised.ts'
import type { Teardown } from './teardown.ts'

/** What composing the agent takes would otherwise delay Register: with a kubelet that is well it is through long before. */
const HEAD_START_MS = 300

interface PluginParts {
  readonly logger: Logger
  readonly recorder: Recorder
  readonly teardown: Teardown
}

/** Starts to register and gives that a head start. Throws what DevicePlugins.start throws. */
export async function startPlugins(config: Config, { logger, recorder, teardown }: PluginParts): Promise<DevicePlugins> {
  const plugins = new DevicePlugins({
    directory: config.paths.devicePlugins,
    podResourcesDirectory: config.paths.podResources,
    resources: advertisedResources(config),
    maxUnits: config.capacity.maxUnits,
    pushMs: config.kubelet.pushMs,
    logger,
    now: () => realNow().nowMs,
    random: Math.random,
  })
  teardown.add(() => plugins.stop())
  await plugins.start()
  await plugins.attempted(HEAD_START_MS)
  const tell = (): void => {
    recorder.resources(statesOf(config, plugins))
    const { available, lastError } = plugins.podResources()
    const held = plugins.held()
    recorder.allocations({
      exact: available,
      ...(held === undefined ? {} : { held }),
      ...(lastError === undefined ? {} : { lastError }),
    })
  }
  recorder.watch('source', () => plugins.listingRuns)
  recorder.watch('sink', () => plugins.pushRuns)
  // Once before anybody can ask: readiness has to know from the start that a kubelet is expected.
  tell()
  const telling = setInterval(tell, config.loop.calmMs)
  teardown.add(() => clearInterval(telling))
  return plugins
}

/** How each of the resources stands with the kubelet. */
export function statesOf(config: Config, plugins: DevicePlugins): ResourceState[] {
  const allocated = plugins.allocatedUnits()
  const advertised = plugins.advertisedUnits()
  const ended = plugins.allocationsEnded()
  const states = plugins.states()
  return advertisedResources(config).map(({ resource, fullName }) => {
    const state = states.find((known) => known.resource === resource)
    return {
      resource,
      fullName,
      registered: state?.registered ?? false,
      openStreams: state?.streams ?? 0,
      registrations: state?.registrations ?? 0,
      pushes: state?.pushes ?? 0,
      advertisedUnits: advertised[resource],
      allocatedUnits: allocated[resource],
      endedUnits: ended[resource],
      ...(state?.lastError === undefined ? {} : { lastError: state.lastError }),
    }
  })
}
