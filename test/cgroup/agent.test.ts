/**
 * The whole agent on the real kernel, with real processes in a kubelet's groups and real time, driven tick by tick: what it enforces, how
 * it answers to a spike, to somebody else's writes and to its own restart, and that a release leaves every file as it was, byte for byte.
 */
import { readFileSync, rmSync, writeFileSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterEach, describe, expect, it, type TestContext } from 'vitest'
import { releaseNode } from '../../src/agent/index.ts'
import { openNode, openWriting, realNow } from '../../src/compose.ts'
import { parentGroup } from '../../src/model/index.ts'
import { RealNode, type RealPod, rootMilli, type RunningAgent, settled, whyNotHere } from '../support/real-node.ts'

const FLINK: RealPod = { uid: 'flink', qos: 'BestEffort', asks: { 'be-cpu': 5, 'be-memory': 1 } }
const SPARK: RealPod = { uid: 'spark', qos: 'BestEffort', asks: { 'ot-cpu': 10, 'ot-memory': 1 } }
const WEB: RealPod = { uid: 'web', qos: 'Burstable', requestsMilli: 100 }

let node: RealNode | undefined

afterEach(async () => {
  await node?.close()
  node = undefined
})

async function start(
  context: TestContext,
  settings: Readonly<Record<string, unknown>> = {},
): Promise<{ readonly node: RealNode; readonly running: RunningAgent; readonly before: ReadonlyMap<string, string> }> {
  const reason = whyNotHere('v1')
  if (reason !== undefined) return context.skip(reason)
  const opened = await RealNode.open(settings)
  node = opened
  for (const pod of [FLINK, SPARK, WEB]) opened.startPod(pod)
  return { node: opened, before: opened.photograph(), running: opened.startAgent() }
}

function differences(before: ReadonlyMap<string, string>, now: ReadonlyMap<string, string>): string[] {
  return [...before].filter(([path, text]) => now.get(path) !== text).map(([path, text]) => `${path}: ${text} → ${now.get(path)}`)
}

describe('the agent on this kernel', () => {
  it('limits, weighs and places offline pods, and leaves online ones alone', async (context) => {
    const { node, running } = await start(context)
    const web = node.groups.sandbox.photograph(node.groupOf(WEB))
    await node.tickUntil(running, settled)
    expect(running.failures).toEqual([])
    const [flink, spark] = [node.groupOf(FLINK), node.groupOf(SPARK)]
    expect(node.read(flink, 'memory', 'memory.limit_in_bytes')).toBe(String(512 * 2 ** 20))
    expect(node.read(spark, 'memory', 'memory.limit_in_bytes')).toBe(String(512 * 2 ** 20))
    expect(node.read(flink, 'cpu', 'cpu.shares')).toBe('512')
    expect(node.read(spark, 'cpu', 'cpu.idle')).toBe('1')
    expect(node.read(flink, 'cpuset', 'cpuset.cpus')).toBe('1')
    expect(node.read(`${flink}/main`, 'cpuset', 'cpuset.cpus')).toBe('1')
    expect(Number(node.read(flink, 'cpu', 'cpu.cfs_quota_us'))).toBeLessThanOrEqual(50_000)
    expect(Number(node.read(flink, 'cpu', 'cpu.cfs_quota_us'))).toBeGreaterThan(0)
    expect(rootMilli(running, node)).toBeLessThanOrEqual(1000)
    expect(node.groups.sandbox.photograph(node.groupOf(WEB))).toEqual(web)
  })

  it('takes CPU from offline pods when an online one needs it, down to the floor and no further', async (context) => {
    const { node, running } = await start(context, {
      'suppressCpu.watermarkPermyriad': 9500,
      'placement.lsSharePermyriad': 10_000,
    })
    await node.tickUntil(running, settled)
    const calm = rootMilli(running, node)
    if (calm < 300) return context.skip('this machine is too busy with other work')
    const cores = running.node.kernel.readTopology().online.size
    for (let index = 0; index < cores; index += 1) node.groups.burn(`${node.groupOf(WEB)}/main`)
    const floor = Math.floor((cores * 1000 * node.config.suppressCpu.floorPermyriad) / 10_000)
    expect(floor).toBeLessThan(calm / 2)
    await node.tickUntil(running, (record) => record.decision.suppression?.hot === true && rootMilli(running, node) <= floor)
    expect(rootMilli(running, node)).toBe(floor)
    for (let tick = 0; tick < 10; tick += 1) {
      await sleep(50)
      running.agent.tick(realNow(), 0)
      expect(rootMilli(running, node)).toBeGreaterThanOrEqual(floor)
    }
    expect(node.read(node.groupOf(SPARK), 'cpu', 'cpu.cfs_quota_us')).not.toBe('-1')
  })

  it('repairs what somebody else wrote on the next calm tick', async (context) => {
    const { node, running } = await start(context)
    await node.tickUntil(running, settled)
    const group = node.groupOf(FLINK)
    const shares = node.groups.fileOf(group, 'cpu', 'cpu.shares')
    const limit = node.groups.fileOf(group, 'memory', 'memory.limit_in_bytes')
    // Kernel: under v1 a group's CPUs lie within its parent's, so they are widened from the top.
    const cpusets = [parentGroup(group), group, `${group}/main`].map((path) => node.groups.fileOf(path, 'cpuset', 'cpuset.cpus'))
    const read = (): string[] => [shares, limit, ...cpusets].map((path) => readFileSync(path, 'latin1').trim())
    const enforced = read()
    writeFileSync(shares, '9999')
    writeFileSync(limit, '-1')
    const everyCpu = running.node.kernel.readTopology().online.toString()
    for (const path of cpusets) writeFileSync(path, everyCpu)
    expect(read().slice(-2)).toEqual([everyCpu, everyCpu])
    expect(enforced.slice(-2)).not.toContain(everyCpu)
    await sleep(node.config.loop.calmMs + 10)
    const record = running.agent.tick(realNow(), 0)
    expect(record?.snapshot.pace).toBe('calm')
    expect(read()).toEqual(enforced)
  })

  it('can narrow the root although a container was given a quota after it was listed', async (context) => {
    const { node, running } = await start(context, { 'limits.enabled': false, 'suppressCpu.watermarkPermyriad': 9500 })
    await node.tickUntil(running, settled)
    const before = rootMilli(running, node)
    if (before < 100) return context.skip('this machine is too busy with other work')
    // Kernel: under v1 the root's quota may not go below a child's, so the container has to give way first.
    const quota = node.groups.fileOf(`${node.groupOf(FLINK)}/main`, 'cpu', 'cpu.cfs_quota_us')
    writeFileSync(quota, String(Math.floor(before * 100)))
    for (let index = 0; index < 2; index += 1) node.groups.burn(`${node.groupOf(WEB)}/main`)
    await node.tickUntil(running, () => rootMilli(running, node) < before / 2)
  })

  it('changes nothing when it starts again over its journal, and lifts nothing', async (context) => {
    const { node, running } = await start(context)
    await node.tickUntil(running, settled)
    const enforced = node.photograph()
    running.pods.close()
    const again = node.startAgent()
    const records = [again.agent.tick(realNow(), 0), again.agent.tick(realNow(), 0)]
    await sleep(60)
    records.push(again.agent.tick(realNow(), 0))
    expect(records.map((record) => record?.plan.map((step) => `${step.group} ${step.kind} ${step.because.code}`))).toEqual([
      [],
      [],
      [],
    ])
    expect(differences(enforced, node.photograph())).toEqual([])
    await node.tickUntil(again, settled)
    expect(again.failures).toEqual([])
    expect(node.read(node.groupOf(FLINK), 'memory', 'memory.limit_in_bytes')).toBe(String(512 * 2 ** 20))
  })

  it('restores nothing while the pods were never read', async (context) => {
    const { node, running } = await start(context)
    await node.tickUntil(running, settled)
    const enforced = node.photograph()
    running.pods.close()
    rmSync(node.podsDirectory, { recursive: true })
    const again = node.startAgent()
    for (let tick = 0; tick < 20; tick += 1) {
      again.agent.tick(realNow(), 0)
      await sleep(50)
    }
    const root = node.groups.fileOf(node.offlineRoot, 'cpu', 'cpu.cfs_quota_us')
    expect(differences(enforced, node.photograph()).filter((line) => !line.startsWith(root))).toEqual([])
    expect(rootMilli(again, node)).toBeLessThanOrEqual(1000)
  })

  it('keeps the knobs of a pod that its source has lost while its group is there', async (context) => {
    const { node, running } = await start(context)
    await node.tickUntil(running, settled)
    const enforced = node.groups.sandbox.photograph(node.groupOf(SPARK))
    rmSync(node.manifestPath(SPARK))
    const record = await node.tickUntil(running, ({ snapshot }) => snapshot.unlistedGroups.includes(node.groupOf(SPARK)))
    expect(record.snapshot.pods.pods).toHaveLength(2)
    await node.tickUntil(running, settled)
    const now = node.groups.sandbox.photograph(node.groupOf(SPARK))
    // Its quota is no longer a share of the allowance; under a root that shrinks it may only have gone down.
    const quota = node.groups.fileOf(node.groupOf(SPARK), 'cpu', 'cpu.cfs_quota_us')
    expect(Number(now.get(quota))).toBeGreaterThan(0)
    expect(differences(enforced, now).filter((line) => !line.startsWith(quota))).toEqual([])
  })

  it('releases every file byte for byte', async (context) => {
    const { node, running, before } = await start(context)
    await node.tickUntil(running, settled)
    expect(differences(before, node.photograph()).length).toBeGreaterThan(5)
    const report = running.agent.release(realNow().nowMs)
    expect(report).toMatchObject({ foreign: [], failed: [] })
    expect(differences(before, node.photograph())).toEqual([])
  })

  it('releases from the journal alone after it was killed', async (context) => {
    const { node, running, before } = await start(context)
    await node.tickUntil(running, settled)
    // Nothing is closed or told: this is what SIGKILL leaves behind.
    const opened = openNode(node.config)
    const writing = openWriting(node.config, opened)
    const report = releaseNode(opened.kernel, writing, realNow().nowMs)
    expect(report).toMatchObject({ foreign: [], failed: [] })
    expect(differences(before, node.photograph())).toEqual([])
    writing.journal.end()
  })

  it('leaves alone what somebody else has written since, and says so', async (context) => {
    const { node, running, before } = await start(context)
    await node.tickUntil(running, settled)
    const shares = node.groups.fileOf(node.groupOf(FLINK), 'cpu', 'cpu.shares')
    writeFileSync(shares, '4321')
    const report = running.agent.release(realNow().nowMs)
    expect(report?.foreign).toEqual([{ group: node.groupOf(FLINK), kind: 'weight', value: 4321 }])
    expect(differences(before, node.photograph())).toEqual([`${shares}: 2 → 4321`])
  })

  it('does not mistake a pod that was made anew for the one it had limited', async (context) => {
    const { node, running } = await start(context)
    await node.tickUntil(running, settled)
    await node.stopProcesses(FLINK)
    await node.groups.sandbox.remove(node.groupOf(FLINK))
    node.startPod(FLINK)
    const before = node.photograph()
    await node.tickUntil(running, (record) => settled(record) && node.read(node.groupOf(FLINK), 'cpu', 'cpu.shares') === '512')
    running.agent.release(realNow().nowMs)
    const flink = [...before].filter(([path]) => path.includes(`pod${FLINK.uid}`))
    expect(differences(new Map(flink), node.photograph())).toEqual([])
  })
})
