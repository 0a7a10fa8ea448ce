/** A plugin and a kubelet stand-in on one temporary directory, over real sockets. Everything is stopped and removed after a test. */
import { mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { createServer, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, expect } from 'vitest'
import { DevicePlugins, type DevicePluginsOptions } from '../../src/kubelet/index.ts'
import { OFFLINE_RESOURCES, type OfflineResource } from '../../src/model/index.ts'
import { KubeletStandIn, type AdmissionResult, type KubeletStandInOptions, type StandInPod } from '../../src/sim/kubelet/index.ts'

export const fullName = (resource: OfflineResource): string => `kube-agent.io/${resource}`
export const BE_CPU = fullName('be-cpu')

export const units = (each: Partial<Record<OfflineResource, number>>): Record<OfflineResource, number> => ({
  'be-cpu': 0,
  'be-memory': 0,
  'ot-cpu': 0,
  'ot-memory': 0,
  ...each,
})

const cleanups: (() => Promise<void> | void)[] = []

afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup()
})

export function onCleanup(cleanup: () => Promise<void> | void): void {
  cleanups.push(cleanup)
}

export function temporaryDirectory(): string {
  const directory = mkdtempSync(join(tmpdir(), 'ka-'))
  onCleanup(() => rmSync(directory, { recursive: true, force: true }))
  return directory
}

/** Numbers in [0, 1) that are the same on every run. */
function seededRandom(seed = 1): () => number {
  let state = seed
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0
    return state / 2 ** 32
  }
}

export function makeKubelet(directory: string, options: Partial<KubeletStandInOptions> = {}): KubeletStandIn {
  const kubelet = new KubeletStandIn({ directory, random: seededRandom(), ...options })
  onCleanup(() => kubelet.stop())
  return kubelet
}

export function makePlugins(directory: string, options: Partial<DevicePluginsOptions> = {}): DevicePlugins {
  const plugins = new DevicePlugins({
    directory,
    resources: OFFLINE_RESOURCES.map((resource) => ({
      resource,
      fullName: fullName(resource),
      qosClass: resource.startsWith('be') ? 'BE' : 'OT',
    })),
    maxUnits: 2048,
    pushMs: 50,
    now: () => performance.now(),
    random: Math.random,
    ...options,
  })
  onCleanup(() => plugins.stop())
  return plugins
}

/** A kubelet.sock that takes connections and never says a word. Returns what ends it, with all its connections. */
export async function serveSilence(directory: string): Promise<() => void> {
  const sockets = new Set<Socket>()
  const server = createServer((socket) => {
    sockets.add(socket)
    socket.on('error', () => socket.destroy())
  })
  const end = (): void => {
    server.close()
    for (const socket of sockets) socket.destroy()
  }
  onCleanup(end)
  await new Promise<void>((resolve) => server.listen(join(directory, 'kubelet.sock'), resolve))
  return end
}

/** Waits until the condition holds; fails with what `describe` says if it does not within the time. */
export async function eventually(
  ready: () => boolean,
  describe: () => unknown = () => undefined,
  withinMs = 5_000,
): Promise<void> {
  const untilMs = performance.now() + withinMs
  while (!ready()) {
    if (performance.now() > untilMs)
      expect.fail(`still not so after ${withinMs} ms: ${ready.toString()} ${JSON.stringify(describe())}`)
    await new Promise((resolve) => setTimeout(resolve, 5))
  }
}

export async function allRegistered(plugins: DevicePlugins): Promise<void> {
  const ready = (): boolean => plugins.states().every((state) => state.registered && state.streams === 1)
  await eventually(ready, () => plugins.states())
}

/** A kubelet and a plugin registered with it, with this capacity. */
export async function running(beCpu: number) {
  const directory = temporaryDirectory()
  const kubelet = makeKubelet(directory)
  const plugins = makePlugins(directory)
  await kubelet.start()
  await plugins.start()
  plugins.publish(units({ 'be-cpu': beCpu }))
  await allRegistered(plugins)
  await eventually(() => healthyIds(kubelet, BE_CPU).length === beCpu)
  return { directory, kubelet, plugins }
}

export function healthyIds(kubelet: KubeletStandIn, resource: string): string[] {
  return [...kubelet.devices(resource)].filter(([, healthy]) => healthy).map(([id]) => id)
}

export const sockets = (directory: string): string[] => readdirSync(directory).filter((name) => name.endsWith('.sock'))

export const pod = (uid: string, limits: Record<string, number>): StandInPod => ({
  uid,
  namespace: 'jobs',
  name: `pod-${uid}`,
  containers: [{ name: 'main', limits }],
})

/** What the pod's container was given; fails if the pod was rejected. */
export function granted(result: AdmissionResult): Extract<AdmissionResult, { admitted: true }>['containers'][number] {
  if (!result.admitted) return expect.fail(result.message)
  return result.containers[0] ?? expect.fail('no container')
}
