/** The whole agent on cgroup v2 and eight CPUs in two sockets, driven tick by tick over real processes. */
import assert from 'node:assert/strict'
import { readFileSync, writeFileSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { releaseNode } from '../../../src/agent/index.ts'
import { openNode, openWriting, realNow } from '../../../src/compose.ts'
import { CpuSet } from '../../../src/cpu/index.ts'
import { type RealNode, type RealPod, rootMilli, settled } from '../../../test/support/real-node.ts'
import { openAgent, suite, test, unrestored, until } from './bed.ts'

const FLINK: RealPod = { uid: 'flink', qos: 'BestEffort', asks: { 'be-cpu': 5, 'be-memory': 1 } }
const SPARK: RealPod = { uid: 'spark', qos: 'BestEffort', asks: { 'ot-cpu': 10, 'ot-memory': 1 } }
const WEB: RealPod = { uid: 'web', qos: 'Burstable', requestsMilli: 100 }
const PODS = [FLINK, SPARK, WEB]
/** Ticks are waited for so long: starting eight processes takes seconds under emulation. */
const SECONDS_MAX = 60

const effectiveCpus = (node: RealNode, pod: RealPod): string =>
  node.read(`${node.groupOf(pod)}/main`, 'cpuset', 'cpuset.cpus.effective')

suite('the agent on cgroup v2', () => {
  test('limits, weighs and places offline pods on a node of their own, and leaves online ones alone', async (context) => {
    const { node, running } = await openAgent(context, PODS)
    const web = node.groups.sandbox.photograph(node.groupOf(WEB))
    await node.tickUntil(running, settled, SECONDS_MAX)
    assert.deepEqual(running.failures, [])
    const [flink, spark] = [node.groupOf(FLINK), node.groupOf(SPARK)]
    for (const group of [flink, spark]) assert.equal(node.read(group, 'memory', 'memory.max'), String(512 * 2 ** 20))
    assert.equal(node.read(flink, 'cpu', 'cpu.weight'), '20')
    assert.equal(node.read(spark, 'cpu', 'cpu.idle'), '1')
    // Half of the CPUs, whole cores of one socket.
    assert.equal(node.read(flink, 'cpuset', 'cpuset.cpus'), '4-7')
    assert.deepEqual([effectiveCpus(node, FLINK), effectiveCpus(node, SPARK)], ['4-7', '4-7'])
    const [quotaUs, periodUs] = node.read(flink, 'cpu', 'cpu.max').split(' ').map(Number)
    assert.equal(periodUs, 100_000)
    assert.ok((quotaUs ?? 0) >= 1000 && (quotaUs ?? 0) <= 50_000, String(quotaUs))
    assert.ok(rootMilli(running, node) <= 8000)
    assert.deepEqual(node.groups.sandbox.photograph(node.groupOf(WEB)), web)
  })

  test('takes CPU from offline hogs when an online pod needs it, and gives it back', async (context) => {
    const { node, running } = await openAgent(context, PODS, {
      // Three hogs are enough: what is emulated on two CPUs should not have to keep eight busy.
      'suppressCpu.watermarkPermyriad': 3500,
      'suppressCpu.lowWatermarkPermyriad': 2500,
      'placement.lsSharePermyriad': 10_000,
    })
    await node.tickUntil(running, settled, SECONDS_MAX)
    const calm = rootMilli(running, node)
    const floor = Math.floor((8000 * node.config.suppressCpu.floorPermyriad) / 10_000)
    assert.ok(calm > floor * 2, `${calm}m before the spike, the floor is ${floor}m`)
    node.groups.burn(`${node.groupOf(SPARK)}/main`)
    const hogs = Array.from({ length: 3 }, () => node.groups.burn(`${node.groupOf(WEB)}/main`))
    await node.tickUntil(
      running,
      (record) => record.decision.suppression?.hot === true && rootMilli(running, node) <= floor,
      SECONDS_MAX,
    )
    for (let tick = 0; tick < 5; tick += 1) {
      await sleep(50)
      running.agent.tick(realNow(), 0)
      assert.ok(rootMilli(running, node) >= floor)
    }
    const throttling = { periods: 0, throttledPeriods: 0 }
    await until(
      () => running.node.kernel.readThrottling(node.offlineRoot, throttling) && throttling.throttledPeriods > 0,
      () => throttling,
    )
    for (const pid of hogs) await node.groups.end(pid)
    await node.tickUntil(running, () => rootMilli(running, node) > floor * 2, SECONDS_MAX)
  })

  test('repairs what somebody else wrote on the next calm tick', async (context) => {
    const { node, running } = await openAgent(context, PODS)
    await node.tickUntil(running, settled, SECONDS_MAX)
    const group = node.groupOf(FLINK)
    const files = [
      node.groups.fileOf(group, 'cpu', 'cpu.weight'),
      node.groups.fileOf(group, 'memory', 'memory.max'),
      node.groups.fileOf(group, 'cpuset', 'cpuset.cpus'),
    ]
    const read = (): string[] => files.map((path) => readFileSync(path, 'latin1').trim())
    const enforced = read()
    for (const [index, text] of ['9999', 'max', '0-7'].entries()) writeFileSync(files[index] ?? '', text)
    assert.deepEqual(read(), ['9999', 'max', '0-7'])
    await sleep(node.config.loop.calmMs + 10)
    assert.equal(running.agent.tick(realNow(), 0)?.snapshot.pace, 'calm')
    assert.deepEqual(read(), enforced)
  })

  test('changes nothing when it starts again over its journal', async (context) => {
    const { node, running, before } = await openAgent(context, PODS)
    await node.tickUntil(running, settled, SECONDS_MAX)
    const enforced = node.photograph()
    running.pods.close()
    const again = node.startAgent()
    const plans = [again.agent.tick(realNow(), 0), again.agent.tick(realNow(), 0)].map((record) => record?.plan)
    assert.deepEqual(plans, [[], []])
    assert.deepEqual(node.photograph(), enforced)
    await node.tickUntil(again, settled, SECONDS_MAX)
    assert.deepEqual(again.failures, [])
    again.agent.release(realNow().nowMs)
    assert.deepEqual(unrestored(node, before), [])
  })

  test('releases everything, and a second time finds nothing to do', async (context) => {
    const { node, running, before } = await openAgent(context, PODS)
    await node.tickUntil(running, settled, SECONDS_MAX)
    assert.ok(unrestored(node, before).length > 5)
    const report = running.agent.release(realNow().nowMs)
    assert.deepEqual([report?.foreign, report?.failed], [[], []])
    assert.deepEqual(unrestored(node, before), [])
    // What can't be emptied means all CPUs; every other file is as it was to the byte.
    const now = node.photograph()
    const changed = [...before].filter(([path, text]) => now.get(path) !== text)
    assert.deepEqual(
      changed.filter(([path]) => !path.endsWith('/cpuset.cpus') || now.get(path) !== '0-7'),
      [],
    )
    const second = running.agent.release(realNow().nowMs)
    assert.deepEqual([second?.restored, second?.foreign, second?.failed], [0, [], []])
  })

  test('releases from the journal alone after it was killed', async (context) => {
    const { node, running, before } = await openAgent(context, PODS)
    await node.tickUntil(running, settled, SECONDS_MAX)
    // Nothing is closed or told: this is what SIGKILL leaves behind.
    const opened = openNode(node.config)
    const writing = openWriting(node.config, opened)
    const report = releaseNode(opened.kernel, writing, realNow().nowMs)
    writing.journal.end()
    assert.deepEqual([report.foreign, report.failed], [[], []])
    assert.deepEqual(unrestored(node, before), [])
  })

  test('leaves alone what somebody else has written since, and says so', async (context) => {
    const { node, running, before } = await openAgent(context, PODS)
    await node.tickUntil(running, settled, SECONDS_MAX)
    const weight = node.groups.fileOf(node.groupOf(FLINK), 'cpu', 'cpu.weight')
    writeFileSync(weight, '4321')
    const report = running.agent.release(realNow().nowMs)
    assert.deepEqual(report?.foreign, [{ group: node.groupOf(FLINK), kind: 'weight', value: 4321 }])
    assert.deepEqual(unrestored(node, before), [`${weight}: 1 → 4321`])
  })
})

const CPU7 = '/sys/devices/system/cpu/cpu7/online'

suite('the machine of eight CPUs', () => {
  test('is read from sysfs: two sockets and nodes, four cores of two threads', async (context) => {
    const { running } = await openAgent(context, [])
    const topology = running.node.kernel.readTopology()
    const sets = (domains: readonly { readonly cpus: CpuSet }[]): string[] => domains.map(({ cpus }) => String(cpus))
    assert.equal(String(topology.online), '0-7')
    assert.deepEqual(sets(topology.sockets), ['0-3', '4-7'])
    assert.deepEqual(sets(topology.nodes), ['0-3', '4-7'])
    assert.deepEqual(sets(topology.cores), ['0-1', '2-3', '4-5', '6-7'])
    assert.deepEqual(sets(topology.caches), ['0-3', '4-7'])
    assert.equal(topology.smt, true)
    assert.equal(String(topology.siblingsOf(6)), '6-7')
  })

  test('loses a CPU and gets it back: the agent goes on, and sets follow', async (context) => {
    const { node, running, before } = await openAgent(context, PODS)
    context.after(() => writeFileSync(CPU7, '1'))
    await node.tickUntil(running, settled, SECONDS_MAX)
    // A set that the agent has no part in: what was written stays, what is in force adapts.
    const own = node.groups.make('own')
    writeFileSync(node.groups.fileOf(own, 'cpuset', 'cpuset.cpus'), '6-7')
    const inForce = (): string => node.read(own, 'cpuset', 'cpuset.cpus.effective')
    writeFileSync(CPU7, '0')
    await node.tickUntil(running, (record) => record.snapshot.topology.online.size === 7 && settled(record), SECONDS_MAX)
    assert.deepEqual(running.failures, [])
    const smaller = CpuSet.parse(node.read(node.groupOf(FLINK), 'cpuset', 'cpuset.cpus'))
    assert.equal(smaller.has(7), false)
    assert.equal(smaller.size, 3)
    assert.equal(effectiveCpus(node, FLINK), String(smaller))
    assert.deepEqual([node.read(own, 'cpuset', 'cpuset.cpus'), inForce()], ['6-7', '6'])
    writeFileSync(CPU7, '1')
    await node.tickUntil(running, (record) => record.snapshot.topology.online.size === 8 && settled(record), SECONDS_MAX)
    await until(() => inForce() === '6-7', inForce)
    assert.equal(node.read(node.groupOf(FLINK), 'cpuset', 'cpuset.cpus'), '4-7')
    assert.equal(effectiveCpus(node, FLINK), '4-7')
    running.agent.release(realNow().nowMs)
    assert.deepEqual(unrestored(node, before), [])
  })

  test('is released while a CPU is gone, and all is as before when it is back', async (context) => {
    const { node, running, before } = await openAgent(context, PODS)
    context.after(() => writeFileSync(CPU7, '1'))
    await node.tickUntil(running, settled, SECONDS_MAX)
    writeFileSync(CPU7, '0')
    const report = running.agent.release(realNow().nowMs)
    assert.deepEqual([report?.foreign, report?.failed], [[], []])
    writeFileSync(CPU7, '1')
    assert.deepEqual(unrestored(node, before), [])
    await until(
      () => effectiveCpus(node, FLINK) === '0-7',
      () => effectiveCpus(node, FLINK),
    )
  })
})
