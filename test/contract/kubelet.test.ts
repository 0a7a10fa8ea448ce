/**
 * The plugin against the kubelet stand-in over real unix sockets: what a kubelet demands and what it does to plugins
 * (kubernetes pkg/kubelet/cm/devicemanager, 1.36).
 */
import { spawnSync } from 'node:child_process'
import { rmSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { Server, ServerCredentials } from '@grpc/grpc-js'
import { describe, expect, it } from 'vitest'
import type { v1beta1 } from '../../src/kubelet/gen/deviceplugin.js'
import { callStream, DEVICE_PLUGIN, dial, serveRegistration, UNLIMITED } from '../../src/kubelet/wire.ts'
import { OFFLINE_RESOURCES } from '../../src/model/index.ts'
import {
  allRegistered,
  BE_CPU,
  eventually,
  fullName,
  granted,
  healthyIds,
  makeKubelet,
  makePlugins,
  onCleanup,
  pod,
  running,
  serveSilence,
  sockets,
  temporaryDirectory,
  units,
} from './kubelet-fixture.ts'

/** A kubelet that accepts every registration and leaves it at that. */
async function withLazyKubelet() {
  const directory = temporaryDirectory()
  const server = new Server(UNLIMITED)
  let count = 0
  serveRegistration(server, {
    Register: (_call, reply) => {
      count += 1
      reply(null, {})
    },
  })
  onCleanup(() => server.forceShutdown())
  await new Promise<void>((resolve) => {
    server.bindAsync(`unix:${join(directory, 'kubelet.sock')}`, ServerCredentials.createInsecure(), () => resolve())
  })
  const plugins = makePlugins(directory, { resources: [{ resource: 'be-cpu', fullName: BE_CPU, qosClass: 'BE' }] })
  await plugins.start()
  await eventually(() => plugins.states()[0]?.registered === true)
  return { directory, plugins, registrations: () => count }
}

describe('a kubelet that takes connections and never answers', () => {
  it('keeps neither the start nor the stop waiting, and is registered with as soon as it is replaced', async () => {
    const directory = temporaryDirectory()
    const end = await serveSilence(directory)
    const plugins = makePlugins(directory)
    await plugins.start()
    plugins.publish(units({ 'be-cpu': 10 }))
    await eventually(() => plugins.states().every(({ registered }) => !registered))
    end()
    const kubelet = makeKubelet(directory)
    await kubelet.start()
    await allRegistered(plugins)
    await eventually(() => healthyIds(kubelet, BE_CPU).length === 10)
    expect(kubelet.violations).toEqual([])
    await plugins.stop()
    const silent = temporaryDirectory()
    await serveSilence(silent)
    const waiting = makePlugins(silent)
    await waiting.start()
    const stoppedMs = performance.now()
    await waiting.stop()
    expect(performance.now() - stoppedMs).toBeLessThan(4000)
  })
})

describe('registration', () => {
  it('registers all four resources on the first attempt, before anything is published', async () => {
    const directory = temporaryDirectory()
    const kubelet = makeKubelet(directory)
    const plugins = makePlugins(directory)
    await kubelet.start()
    await plugins.start()
    await allRegistered(plugins)
    // Attempts, not seconds: the first comes at once, and only a second one would wait.
    expect(plugins.states().map((state) => state.attempts)).toEqual([1, 1, 1, 1])
    expect(kubelet.registrations).toBe(4)
    kubelet.tick(0)
    expect(kubelet.nodeStatus()[BE_CPU]).toEqual({ capacity: 0, allocatable: 0 })
    expect(kubelet.violations).toEqual([])
  })

  it('tells when the first attempt is over, however it ended', async () => {
    const directory = temporaryDirectory()
    const alone = makePlugins(directory)
    await alone.start()
    await alone.attempted(60_000)
    expect(alone.states().map((state) => state.lastError)).toEqual(Array(4).fill('kubelet.sock is not there'))
    await alone.stop()
    const kubelet = makeKubelet(directory)
    await kubelet.start()
    const plugins = makePlugins(directory)
    await plugins.attempted(1)
    await plugins.start()
    await plugins.attempted(60_000)
    expect(plugins.states().map((state) => state.registrations)).toEqual([1, 1, 1, 1])
  })

  it('lists, allocates and names the class and the allocation to the container', async () => {
    const { kubelet, plugins } = await running(0)
    plugins.publish(units({ 'be-cpu': 10, 'be-memory': 4, 'ot-cpu': 3 }))
    await eventually(() => healthyIds(kubelet, fullName('ot-cpu')).length === 3)
    kubelet.tick(0)
    expect(kubelet.nodeStatus()).toEqual({
      [BE_CPU]: { capacity: 10, allocatable: 10 },
      [fullName('be-memory')]: { capacity: 4, allocatable: 4 },
      [fullName('ot-cpu')]: { capacity: 3, allocatable: 3 },
      [fullName('ot-memory')]: { capacity: 0, allocatable: 0 },
    })
    const { envs, annotations } = granted(await kubelet.admit(pod('a', { [BE_CPU]: 4, [fullName('be-memory')]: 2 })))
    expect(envs).toEqual({ KUBE_AGENT_QOS_CLASS: 'BE' })
    expect(Object.keys(annotations).sort()).toEqual(['kube-agent.io/allocation-be-cpu', 'kube-agent.io/allocation-be-memory'])
    expect(new Set(Object.values(annotations)).size).toBe(2)
    expect(plugins.allocatedUnits()).toEqual(units({ 'be-cpu': 4, 'be-memory': 2 }))
    const tooMuch = await kubelet.admit(pod('b', { [BE_CPU]: 7 }))
    expect(tooMuch).toMatchObject({ admitted: false, message: expect.stringContaining('Requested: 7, Available: 6') as string })
    const ot = await kubelet.admit(pod('c', { [fullName('ot-cpu')]: 1 }))
    expect(ot).toMatchObject({ admitted: true, containers: [{ envs: { KUBE_AGENT_QOS_CLASS: 'OT' } }] })
    expect(kubelet.violations).toEqual([])
  })

  it('waits for a kubelet that is not there yet, and for its directory', async () => {
    const parent = temporaryDirectory()
    const directory = join(parent, 'device-plugins')
    const plugins = makePlugins(directory)
    await plugins.start()
    await eventually(() => plugins.states().every((state) => state.lastError === 'kubelet.sock is not there'))
    const kubelet = makeKubelet(directory)
    await kubelet.start()
    await eventually(
      () => plugins.states().every((state) => state.registered),
      () => plugins.states(),
      8_000,
    )
    expect(kubelet.violations).toEqual([])
  })

  it('shows what the kubelet says about a bad name, and backs off', async () => {
    const directory = temporaryDirectory()
    const kubelet = makeKubelet(directory)
    await kubelet.start()
    const plugins = makePlugins(directory, { resources: [{ resource: 'be-cpu', fullName: 'be-cpu', qosClass: 'BE' }] })
    await plugins.start()
    await eventually(
      () => plugins.states()[0]?.lastError?.includes('"be-cpu" is invalid') === true,
      () => plugins.states(),
    )
    await new Promise((resolve) => setTimeout(resolve, 1_000))
    expect(plugins.states()[0]?.attempts).toBeGreaterThanOrEqual(2)
    expect(plugins.states()[0]?.attempts).toBeLessThan(7)
    expect(sockets(directory).length).toBeLessThanOrEqual(2)
  })

  it('takes 2048 devices of each resource', async () => {
    const { kubelet, plugins } = await running(2048)
    plugins.publish({ 'be-cpu': 2048, 'be-memory': 2048, 'ot-cpu': 2048, 'ot-memory': 99_999 })
    await eventually(() => OFFLINE_RESOURCES.every((resource) => healthyIds(kubelet, fullName(resource)).length === 2048))
    expect(kubelet.violations).toEqual([])
  })

  it('registers anew when a kubelet never opens the stream', async () => {
    const { plugins, registrations } = await withLazyKubelet()
    const first = plugins.states()[0]?.socket
    await eventually(
      () => registrations() === 2,
      () => plugins.states(),
      8_000,
    )
    expect(plugins.states()[0]?.socket).not.toBe(first)
  })

  it('serves several streams alike, and registers anew when all have ended', async () => {
    const { directory, plugins, registrations } = await withLazyKubelet()
    plugins.publish(units({ 'be-cpu': 3 }))
    const client = dial(join(directory, plugins.states()[0]?.socket ?? ''), UNLIMITED)
    onCleanup(() => client.close())
    const sizes = [0, 0]
    const streams = sizes.map((_, at) => {
      const stream = callStream(client, DEVICE_PLUGIN.ListAndWatch, {})
      stream.on('data', (list: v1beta1.ListAndWatchResponse) => (sizes[at] = list.devices.length))
      stream.on('error', () => {})
      return stream
    })
    await eventually(() => plugins.states()[0]?.streams === 2 && sizes.every((size) => size === 3))
    plugins.publish(units({ 'be-cpu': 5 }))
    await eventually(() => sizes.every((size) => size === 5))
    streams[0]?.cancel()
    await eventually(() => plugins.states()[0]?.streams === 1)
    plugins.publish(units({ 'be-cpu': 6 }))
    await eventually(() => sizes.join() === '5,6')
    streams[1]?.cancel()
    await eventually(() => plugins.states()[0]?.streams === 0)
    expect(registrations()).toBe(1)
    await eventually(
      () => registrations() === 2,
      () => plugins.states(),
      8_000,
    )
  })
})

describe('loss', () => {
  it.each([
    { title: 'at once', wipe: 'sockets', downMs: 0, gapMs: 0 },
    { title: 'after a gap', wipe: 'sockets', downMs: 0, gapMs: 300 },
    { title: 'after its dead socket stood for a while', wipe: 'sockets', downMs: 400, gapMs: 100 },
    { title: 'and wipes every file', wipe: 'files', downMs: 50, gapMs: 50 },
  ] as const)('registers anew when the kubelet restarts $title', async ({ wipe, downMs, gapMs }) => {
    const directory = temporaryDirectory()
    const kubelet = makeKubelet(directory, { wipe })
    const plugins = makePlugins(directory)
    await kubelet.start()
    await plugins.start()
    plugins.publish(units({ 'be-cpu': 8 }))
    await allRegistered(plugins)
    expect(await kubelet.admit(pod('a', { [BE_CPU]: 3 }))).toMatchObject({ admitted: true })
    await kubelet.restart({ downMs, gapMs })
    kubelet.tick(0)
    await eventually(
      () => kubelet.registrations === 8 && healthyIds(kubelet, BE_CPU).length === 8,
      () => plugins.states(),
    )
    await allRegistered(plugins)
    await new Promise((resolve) => setTimeout(resolve, 300))
    expect(kubelet.registrations).toBe(8)
    expect(sockets(directory)).toHaveLength(5)
    expect(await kubelet.admit(pod('b', { [BE_CPU]: 5 }))).toMatchObject({ admitted: true })
    expect(kubelet.violations).toEqual([])
  })

  it('registers anew when its own socket is removed', async () => {
    const { directory, kubelet, plugins } = await running(8)
    rmSync(join(directory, plugins.states()[0]?.socket ?? ''))
    await eventually(() => kubelet.registrations === 5)
    await allRegistered(plugins)
    await eventually(() => healthyIds(kubelet, BE_CPU).length === 8)
    expect(kubelet.violations).toEqual([])
  })

  it('carries on after the agent restarts: what pods hold stays listed and healthy', async () => {
    const { directory, kubelet, plugins } = await running(50)
    const held = granted(await kubelet.admit(pod('a', { [BE_CPU]: 6 }))).devices[BE_CPU] ?? []
    await plugins.stop()
    const successor = makePlugins(directory)
    await successor.start()
    expect(successor.allocatedUnits()).toEqual(units({ 'be-cpu': 6 }))
    await allRegistered(successor)
    expect(healthyIds(kubelet, BE_CPU).sort()).toEqual([...held].sort())
    successor.publish(units({ 'be-cpu': 8 }))
    await eventually(() => healthyIds(kubelet, BE_CPU).length === 8)
    expect(kubelet.violations).toEqual([])
  })
})

describe('stop', () => {
  it('withdraws: allocatable falls to 0, capacity to 0 after five minutes, and no socket is left', async () => {
    const { directory, kubelet, plugins } = await running(8)
    kubelet.tick(0)
    await plugins.stop()
    expect(sockets(directory)).toEqual(['kubelet.sock'])
    await eventually(() => healthyIds(kubelet, BE_CPU).length === 0)
    kubelet.tick(5_000)
    expect(kubelet.nodeStatus()[BE_CPU]).toEqual({ capacity: 8, allocatable: 8 })
    kubelet.tick(10_500)
    expect(kubelet.nodeStatus()[BE_CPU]).toEqual({ capacity: 8, allocatable: 0 })
    kubelet.tick(300_000)
    expect(kubelet.nodeStatus()[BE_CPU]).toEqual({ capacity: 8, allocatable: 0 })
    kubelet.tick(311_000)
    expect(kubelet.nodeStatus()[BE_CPU]).toEqual({ capacity: 0, allocatable: 0 })
  })

  it('can be called at any moment', async () => {
    const directory = temporaryDirectory()
    const kubelet = makeKubelet(directory)
    await kubelet.start()
    for (const delayMs of [0, 1, 3, 10, 30]) {
      const plugins = makePlugins(directory)
      const started = plugins.start()
      await new Promise((resolve) => setTimeout(resolve, delayMs))
      await plugins.stop()
      await started
      expect(sockets(directory)).toEqual(['kubelet.sock'])
    }
  })

  it('leaves nothing that keeps a process alive', () => {
    const child = fileURLToPath(new URL('./kubelet-child.ts', import.meta.url))
    const run = spawnSync(process.execPath, ['--import', 'tsx', child, temporaryDirectory()], {
      encoding: 'utf8',
      timeout: 8_000,
    })
    expect(run).toMatchObject({ status: 0, stdout: '4 registered, sockets left: kubelet.sock\n' })
  })
})
