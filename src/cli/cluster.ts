/**
 * What a run has of the cluster, by its configuration: where the pods come from, who tells the cluster how the node fares, and who asks it
 * to evict pods. A node without a cluster has a directory of manifests, tells nobody and evicts nothing.
 */
import { hostname } from 'node:os'
import { EvictionFile } from '../actuate/index.ts'
import type { TickSink } from '../agent/index.ts'
import { openPodDirectory, realNow } from '../compose.ts'
import type { Config } from '../config/index.ts'
import {
  ApiEvictor,
  Cluster,
  ClusterReporter,
  inClusterServer,
  type KubeLogger,
  NoEvictor,
  openKubeletPods,
} from '../kube/index.ts'
import { AgentError, type ClusterState, findingText, type PodSource } from '../model/index.ts'
import type { Recorder } from '../record/index.ts'
import type { Teardown } from './teardown.ts'
import { VERSION } from './version.ts'

/** How long the cluster is told nothing new before it is told that nothing is known. */
const LEAST_SILENT_MS = 60_000

const CLOCK = { monotonicMs: () => realNow().nowMs, wallMs: () => realNow().wallMs }

type Environment = Readonly<Record<string, string | undefined>>

export interface ClusterParts {
  readonly pods: PodSource
  /** Absent where nothing may be written, or there is nobody to tell. */
  readonly reporter?: ClusterReporter
  /** One that nobody lets do its work says why: the mode, no API server, or evict.enabled. */
  readonly evictor: ApiEvictor | NoEvictor
  /** For people; empty without an API server. */
  readonly server: string
  /** Ends whatever was opened; the pods as well. */
  close(): void
}

export interface ClusterOptions {
  /** Whether the agent may write to the cluster. */
  readonly writes: boolean
  readonly logger?: KubeLogger
  readonly environment: Environment
}

/** The name of this node in Kubernetes: as configured, as the downward API gives it in NODE_NAME, or as the kubelet makes it of the host name. */
export function nodeNameOf(config: Config, environment: Environment = process.env): string {
  const given = config.node.name === '' ? (environment['NODE_NAME'] ?? '') : config.node.name
  return given === '' ? hostname().trim().toLowerCase() : given
}

/** The API server as a URL; empty for none. Throws E_CONFIG when one is asked for that nothing names. */
export function apiServerOf({ cluster, pods }: Config, environment: Environment): string {
  const server = cluster.server === '' ? (inClusterServer(environment) ?? '') : cluster.server
  if (pods.source === 'api' && server === '') {
    throw new AgentError('E_CONFIG', 'pods.source: api needs an API server, and there is none', {
      hint: 'Set cluster.server, run within a cluster, or take pods from the kubelet or a directory: pods.source.',
    })
  }
  return server
}

/** Opens what the configuration asks for. Throws what apiServerOf throws. */
export function openCluster(config: Config, { writes, logger, environment }: ClusterOptions): ClusterParts {
  const { cluster } = config
  const server = apiServerOf(config, environment)
  const options = {
    tokenFile: cluster.tokenFile,
    caFile: cluster.caFile,
    requestMs: cluster.requestMs,
    nodeName: nodeNameOf(config, environment),
    version: VERSION,
    now: () => realNow().nowMs,
    ...(logger === undefined ? {} : { logger }),
  }
  const opened = server === '' ? undefined : new Cluster({ ...options, server })
  const source = openPods(config, opened, options)
  const reporter = opened !== undefined && writes ? openReporter(config, options.nodeName, opened) : undefined
  const evictor = openEvictor(config, writes ? opened : undefined, { pods: source, reporter, logger })
  return {
    pods: source,
    server,
    ...(reporter === undefined ? {} : { reporter }),
    evictor,
    close: () => {
      if (evictor instanceof ApiEvictor) evictor.close()
      reporter?.close()
      source.close()
      opened?.close()
    },
  }
}

function openPods(config: Config, opened: Cluster | undefined, options: Parameters<typeof openKubeletPods>[0]): PodSource {
  const { pods, cluster } = config
  switch (pods.source) {
    case 'kubelet':
      return openKubeletPods(options, {
        kubelet: cluster.kubelet,
        verify: cluster.kubeletVerify,
        rescanMs: pods.rescanMs,
        maxPods: pods.maxPods,
      })
    case 'directory':
      return openPodDirectory(config)
    case 'api':
    case 'auto':
      return opened === undefined ? openPodDirectory(config) : opened.pods(pods.maxPods)
  }
}

function openReporter(config: Config, node: string, { api }: Cluster): ClusterReporter | undefined {
  const { events, condition, annotations, hotLabel, hotTaint, writeMs, annotateMs } = config.cluster
  if (!events && !condition && !annotations && !hotLabel && !hotTaint) return undefined
  return new ClusterReporter({
    api,
    node,
    domain: config.resources.domain,
    switches: { events, condition, annotations, hotLabel, hotTaint },
    settleMs: config.nodeSignals.enterMs,
    silentMs: Math.max(LEAST_SILENT_MS, config.loop.calmMs * 3),
    writeMs,
    annotateMs,
    textOf: findingText,
    clock: CLOCK,
  })
}

function openEvictor(
  config: Config,
  opened: Cluster | undefined,
  {
    pods,
    reporter,
    logger,
  }: Pick<ClusterParts, 'pods'> & {
    readonly reporter: ClusterReporter | undefined
    readonly logger: KubeLogger | undefined
  },
): ApiEvictor | NoEvictor {
  if (opened === undefined)
    return new NoEvictor(config.mode === 'enforce' ? 'there is no API server to ask' : `the mode is ${config.mode}`)
  const { api } = opened
  const { cpuEvict, memoryEvictOt, memoryEvictBe } = config
  const file = new EvictionFile(config.paths.state, realNow, logger ?? { warn: () => undefined })
  return new ApiEvictor({
    earlier: file.load(),
    keep: (granted) => file.save(granted),
    api,
    settings: config.evict,
    thresholds: {
      cpuEvict: cpuEvict.enterPermyriad,
      memoryEvictOt: memoryEvictOt.enterPermyriad,
      memoryEvictBe: memoryEvictBe.enterPermyriad,
    },
    graceSecondsOf: (uid) => pods.list().pods.find((pod) => pod.uid === uid)?.graceSeconds,
    clock: CLOCK,
    ...(reporter === undefined ? {} : { tell: (event) => reporter.event(event) }),
  })
}

/** A finished tick goes to the record and to whoever tells the cluster. */
export function sinkOf(recorder: Recorder, { reporter }: ClusterParts): TickSink {
  if (reporter === undefined) return recorder
  return {
    tick: (record) => {
      recorder.tick(record)
      reporter.tick(record)
    },
    tickFailed: (thrown, at) => recorder.tickFailed(thrown, at),
    guardBeat: (lateMs, late) => recorder.guardBeat(lateMs, late),
  }
}

/** How the calls of reporter and evictor went, counted together; undefined where there is neither. */
function statsOf(
  evictor: ClusterParts['evictor'],
  reporter: ClusterReporter | undefined,
): Omit<ClusterState, 'server'> | undefined {
  const told = reporter?.stats()
  const asked = evictor instanceof ApiEvictor ? evictor.stats() : undefined
  const both = [told, asked].filter((stats) => stats !== undefined)
  if (both.length === 0) return undefined
  const writes: Record<string, { ok: number; failed: number }> = {}
  for (const stats of both) {
    for (const [name, { ok, failed }] of Object.entries(stats.writes)) {
      const sum = (writes[name] ??= { ok: 0, failed: 0 })
      sum.ok += ok
      sum.failed += failed
    }
  }
  const lastError = told?.lastError ?? asked?.lastError
  const lastOkWallMs = Math.max(...both.map((stats) => stats.lastOkWallMs ?? -Infinity))
  return {
    writes,
    droppedEvents: told?.droppedEvents ?? 0,
    ...(lastError === undefined ? {} : { lastError }),
    ...(Number.isFinite(lastOkWallMs) ? { lastOkWallMs } : {}),
  }
}

/**
 * Starts telling the cluster, and showing how its calls go, those of evictions alone as well. On an exit that releases the node, what was told is
 * taken back.
 */
export function tellCluster(
  { reporter, evictor, server }: ClusterParts,
  recorder: Recorder,
  { config, teardown }: { readonly config: Config; readonly teardown: Teardown },
): void {
  if (statsOf(evictor, reporter) === undefined) return
  if (reporter !== undefined) recorder.watch('sink', () => reporter.runs)
  if (evictor instanceof ApiEvictor) recorder.watch('sink', () => [evictor.run])
  const telling = setInterval(() => {
    reporter?.trouble(recorder.troubles(realNow().nowMs))
    const stats = statsOf(evictor, reporter)
    if (stats !== undefined) recorder.cluster({ server, ...stats })
  }, config.loop.calmMs)
  teardown.add(() => clearInterval(telling))
  if (reporter === undefined) return
  reporter.start()
  if (config.onExit === 'release') {
    teardown.add(async () => {
      await reporter.withdraw()
    })
  }
}

/**
 * Takes back what an agent that is gone has told the cluster of this node. Resolves with why that failed, within seconds; undefined when it did
 * not, or when there is no API server or nothing that an agent would have told. Throws what apiServerOf throws.
 */
export async function withdrawFromCluster(config: Config, environment: Environment): Promise<string | undefined> {
  const server = apiServerOf(config, environment)
  if (server === '') return undefined
  const nodeName = nodeNameOf(config, environment)
  const { tokenFile, caFile, requestMs } = config.cluster
  const opened = new Cluster({ server, tokenFile, caFile, requestMs, nodeName, version: VERSION, now: CLOCK.monotonicMs })
  const reporter = openReporter(config, nodeName, opened)
  try {
    if (reporter === undefined || (await reporter.withdraw())) return undefined
    return reporter.stats().lastError ?? `${server} does not answer`
  } finally {
    opened.close()
  }
}

/**
 * What takes back what this agent has told the cluster, tells it nothing more, and asks for no eviction any more. Each call resolves as
 * withdrawFromCluster does, and may be made again where it failed.
 */
export function withdrawalOf(
  { reporter, evictor, server }: Pick<ClusterParts, 'reporter' | 'evictor' | 'server'>,
  config: Config,
): () => Promise<string | undefined> {
  let own = reporter
  return async () => {
    if (evictor instanceof ApiEvictor) evictor.close()
    if (own === undefined) return withdrawFromCluster(config, process.env)
    // Once: it writes nothing afterwards, and what it was writing is done by then.
    const telling = own
    own = undefined
    return (await telling.withdraw()) ? undefined : (telling.stats().lastError ?? `${server} does not answer`)
  }
}
