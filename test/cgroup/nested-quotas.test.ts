/**
 * Quotas deep inside pods on the real kernel, cgroup v1: one of them makes it refuse a smaller quota of every group above. The whole agent, with
 * real processes, driven tick by tick.
 */
import { writeFileSync } from 'node:fs'
import { afterEach, describe, expect, it, type TestContext } from 'vitest'
import { realNow } from '../../src/compose.ts'
import type { GroupPath, TickRecord } from '../../src/model/index.ts'
import { childGroup, isSuccess } from '../../src/model/index.ts'
import { RealNode, type RealPod, rootMilli, type RunningAgent, whyNotHere } from '../support/real-node.ts'

const FLINK: RealPod = { uid: 'flink', qos: 'BestEffort', asks: { 'be-cpu': 15, 'be-memory': 1 } }
const DIND: RealPod = { uid: 'dind', qos: 'BestEffort', asks: { 'be-cpu': 15, 'be-memory': 1 } }
const UNTAGGED: RealPod = { uid: 'untagged', qos: 'BestEffort' }
const WEB: RealPod = { uid: 'web', qos: 'Burstable', requestsMilli: 100 }
/** 1500m in the default period. */
const INNER_US = '150000'
/** A second or two on a machine that does nothing else. */
const SECONDS = 40

let node: RealNode | undefined

afterEach(async () => {
  await node?.close()
  node = undefined
})

async function open(context: TestContext, pods: readonly RealPod[]): Promise<RealNode> {
  const reason = whyNotHere('v1')
  if (reason !== undefined) return context.skip(reason)
  node = await RealNode.open()
  for (const pod of pods) node.startPod(pod)
  return node
}

const quotaUs = (on: RealNode, group: GroupPath): string => on.read(group, 'cpu', 'cpu.cfs_quota_us')

/** A group some levels inside the pod's container, with a quota of its own. */
function nest(on: RealNode, pod: RealPod, ...names: readonly string[]): GroupPath {
  let group = childGroup(on.groupOf(pod), 'main')
  for (const name of names) {
    group = childGroup(group, name)
    on.groups.sandbox.make(group)
  }
  writeFileSync(on.groups.fileOf(group, 'cpu', 'cpu.cfs_quota_us'), INNER_US)
  return group
}

/** Fills the node with online work. */
function spike(on: RealNode, running: RunningAgent): void {
  running.node.kernel.readTopology().online.forEach(() => on.groups.burn(childGroup(on.groupOf(WEB), 'main')))
}

const floorMilli = (on: RealNode, running: RunningAgent): number =>
  Math.floor((running.node.kernel.readTopology().online.size * 1000 * on.config.suppressCpu.floorPermyriad) / 10_000)

const failed = ({ results }: TickRecord): unknown[] => results.filter(({ outcome }) => !isSuccess(outcome))

describe('a quota inside a container on this kernel', () => {
  it('does not keep offline work from its floor, and is back after a release', async (context) => {
    const on = await open(context, [FLINK, DIND, WEB])
    const inner = nest(on, DIND, 'docker', 'c1')
    on.groups.burn(inner)
    on.groups.burn(childGroup(on.groupOf(FLINK), 'main'))
    const before = on.photograph()
    const running = on.startAgent()
    spike(on, running)
    const floor = floorMilli(on, running)
    const record = await on.tickUntil(running, (tick) => rootMilli(running, on) <= floor && failed(tick).length === 0, SECONDS)
    expect(record.snapshot.unfollowed).toBeUndefined()
    expect(quotaUs(on, inner)).toBe('-1')
    running.agent.release(realNow().nowMs)
    expect(quotaUs(on, inner)).toBe(INNER_US)
    expect(on.photograph()).toEqual(before)
  })

  it('of a BE pod beside an untagged one gives way to the pod’s part of the allowance, that of the untagged one stays', async (context) => {
    const on = await open(context, [FLINK, DIND, UNTAGGED, WEB])
    const [inner, left] = [nest(on, DIND, 'docker', 'c1'), nest(on, UNTAGGED, 'docker', 'c1')]
    for (const group of [inner, left]) on.groups.burn(group)
    const running = on.startAgent()
    spike(on, running)
    const floor = floorMilli(on, running)
    const offlineUs = (): number => [FLINK, DIND].reduce((sum, pod) => sum + Number(quotaUs(on, on.groupOf(pod))), 0)
    await on.tickUntil(
      running,
      (tick) => tick.decision.suppression?.allowanceMilli === floor && failed(tick).length === 0 && quotaUs(on, inner) === '-1',
      SECONDS,
    )
    expect(offlineUs()).toBeGreaterThan(0)
    expect(offlineUs()).toBeLessThanOrEqual(floor * 100)
    expect(quotaUs(on, left)).toBe(INNER_US)
    running.agent.release(realNow().nowMs)
    expect([quotaUs(on, inner), quotaUs(on, left)]).toEqual([INNER_US, INNER_US])
  })

  it('that are too many to be followed: the pod stands still, the other is held by a quota of its own, until the root’s is taken', async (context) => {
    const on = await open(context, [FLINK, DIND, WEB])
    const groups = Array.from({ length: 300 }, (_, index) => nest(on, DIND, `g${index}`))
    const running = on.startAgent()
    spike(on, running)
    const floor = floorMilli(on, running)
    const frozen = (): string => on.read(on.groupOf(DIND), 'freezer', 'freezer.state')
    await on.tickUntil(running, () => frozen() === 'FROZEN', SECONDS)
    await on.tickUntil(running, () => Number(quotaUs(on, on.groupOf(FLINK))) === floor * 100, SECONDS)
    for (const group of groups) writeFileSync(on.groups.fileOf(group, 'cpu', 'cpu.cfs_quota_us'), '-1')
    await on.tickUntil(running, () => rootMilli(running, on) === floor && frozen() === 'THAWED', SECONDS)
  })
})
