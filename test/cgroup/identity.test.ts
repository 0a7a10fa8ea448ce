/**
 * What identity does, on this kernel, with real processes in groups laid out as the kubelet lays them out, all on one CPU: who gets how
 * much of it, who waits for whom, and what a saved-up burst is good for. Shares of CPU time are asserted, between processes that compete
 * for one CPU, so that other load on the machine cancels out; latencies are printed.
 */
import { readFileSync, writeFileSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterEach, describe, expect, it, type TestContext } from 'vitest'
import { realNow } from '../../src/compose.ts'
import type { OpenedKernel } from '../../src/kernel/index.ts'
import type { GroupPath, KnobKind } from '../../src/model/index.ts'
import { quota } from '../support/settings.ts'
import { RealGroups, RealNode, type RealPod, type RunningAgent, settled, whyNotHere } from '../support/real-node.ts'

const WINDOW_MS = 1500
/** How often shares are looked at until they are as expected. */
const LOOKS = 5

/** Only identity and burst: neither quotas nor sets of the agent may have a part in who gets what. */
const ALONE = {
  'placement.enabled': false,
  'suppressCpu.enabled': false,
  'limits.enabled': false,
  'capacity.enabled': false,
  'nodeSignals.enabled': false,
}

const WEB: RealPod = { uid: 'web', qos: 'Burstable', requestsMilli: 500 }
const FLINK: RealPod = { uid: 'flink', qos: 'BestEffort', asks: { 'be-cpu': 6, 'be-memory': 1 } }
const SPARK: RealPod = { uid: 'spark', qos: 'BestEffort', asks: { 'be-cpu': 2, 'be-memory': 1 } }
/** Online, but without requests: the kubelet puts it below the best-effort root. */
const LOG: RealPod = { uid: 'log', qos: 'BestEffort' }
const TRAIN: RealPod = { uid: 'train', qos: 'BestEffort', asks: { 'ot-cpu': 6, 'ot-memory': 1 } }

let closing: { close(): Promise<void> }[] = []
afterEach(async () => {
  for (const bed of closing) await bed.close()
  closing = []
})

async function bed(context: TestContext, settings: Readonly<Record<string, unknown>> = {}): Promise<RealNode> {
  const reason = whyNotHere()
  if (reason !== undefined) return context.skip(reason)
  const node = await RealNode.open({ ...ALONE, ...settings })
  closing.push(node)
  favour(node.groups, node.groups.openKernel().kernel)
  return node
}

function lastCpu(groups: RealGroups): string {
  const set = readFileSync(groups.fileOf(groups.root, 'cpuset', 'cpuset.cpus'), 'latin1').trim()
  const all = set === '' ? readFileSync('/sys/devices/system/cpu/online', 'latin1').trim() : set
  return /(\d+)$/.exec(all)?.[1] ?? '0'
}

/** Suppression too: what a pod may use is then not only a matter of who goes first. */
const SUPPRESSED = { 'suppressCpu.enabled': true, 'limits.enabled': true, 'suppressCpu.floorPermyriad': 1000 }

interface Used {
  readonly logMilli: number
  readonly beMilli: number
  /** The largest allowance that was decided meanwhile. */
  readonly allowedMilli: number
}

const told = ({ logMilli, beMilli, allowedMilli }: Used): string =>
  `untagged ${Math.round(logMilli)}m, BE ${Math.round(beMilli)}m of ${allowedMilli}m`

/** What LOG and FLINK use while the agent ticks. */
async function underAgent(node: RealNode, { agent, node: { kernel }, records }: RunningAgent): Promise<Used> {
  const used = () => [LOG, FLINK].map((pod) => kernel.readCpuUsageUs(node.groupOf(pod)) ?? Number.NaN)
  let allowedMilli = records.at(-1)?.decision.suppression?.allowanceMilli ?? Number.NaN
  const [before, beganMs] = [used(), performance.now()]
  while (performance.now() - beganMs < WINDOW_MS) {
    allowedMilli = Math.max(allowedMilli, agent.tick(realNow(), 0)?.decision.suppression?.allowanceMilli ?? 0)
    await sleep(50)
  }
  const tookMs = performance.now() - beganMs
  const [logMilli = Number.NaN, beMilli = Number.NaN] = used().map((us, index) => (us - (before[index] ?? 0)) / tookMs)
  return { logMilli, beMilli, allowedMilli }
}

/** Puts a container on the last CPU and has it use all it gets of that. */
function hog(groups: RealGroups, container: GroupPath): void {
  writeFileSync(groups.fileOf(container, 'cpuset', 'cpuset.cpus'), lastCpu(groups))
  groups.burn(container)
}

/** Parts of the CPU time that the groups got together within a window. */
async function shares(kernel: OpenedKernel['kernel'], groups: readonly GroupPath[]): Promise<number[]> {
  const used = () => groups.map((group) => kernel.readCpuUsageUs(group) ?? Number.NaN)
  // What was used before the competition began is not part of it.
  await sleep(100)
  const before = used()
  await sleep(WINDOW_MS)
  const spent = used().map((us, index) => us - (before[index] ?? Number.NaN))
  const sum = spent.reduce((total, us) => total + us, 0)
  return spent.map((us) => us / sum)
}

/** What else runs on this machine must not be what a process here waits for. */
function favour(groups: RealGroups, kernel: OpenedKernel['kernel']): void {
  const value = kernel.capabilities.dialect === 'v1' ? 262_144 : 10_000
  expect(kernel.writeKnob(groups.root, { kind: 'weight', value })).toEqual({ is: 'applied' })
}

/**
 * The shares once they satisfy `holds`, or else those of the last look. Kernel: calc_group_shares() divides a group's weight over the CPUs by
 * averages of its load there; while these still tell of the CPU that a process began on, the group counts for less on the one it is on now.
 */
async function settledShares(
  kernel: OpenedKernel['kernel'],
  groups: readonly GroupPath[],
  holds: (...parts: number[]) => boolean,
): Promise<number[]> {
  for (let look = 1; ; look += 1) {
    const parts = await shares(kernel, groups)
    if (look === LOOKS || holds(...parts)) return parts
  }
}

const round = (parts: readonly number[]): string => parts.map((part) => part.toFixed(3)).join(' / ')

function say(context: TestContext, text: string): void {
  void context.annotate(text)
  process.stdout.write(`${context.task.name}: ${text}\n`)
}

/** Ticks until nothing is left to be written, and demands that every write was taken. */
async function settle(node: RealNode): Promise<RunningAgent> {
  const running = node.startAgent()
  await node.tickUntil(running, ({ decision, plan, journaled }) => decision.complete && plan.length === 0 && journaled.size > 0)
  const failed = running.records.flatMap(({ results }) => results).filter(({ outcome }) => outcome.is !== 'applied')
  expect(failed).toEqual([])
  return running
}

describe('who gets the CPU', () => {
  it('nobody more than another without identity', async (context) => {
    const node = await bed(context)
    const pods = [FLINK, TRAIN].map((pod) => {
      hog(node.groups, node.startPod(pod))
      return node.groupOf(pod)
    })
    const isFair = (...parts: number[]) => parts.every((part) => part > 0.35 && part < 0.65)
    const parts = await settledShares(node.groups.openKernel().kernel, pods, isFair)
    say(context, `BE / OT ${round(parts)}`)
    expect(parts).toSatisfy((found: number[]) => isFair(...found))
  })

  it('LS nearly all beside BE, and OT next to nothing beside both, and every file as it was after the release', async (context) => {
    const node = await bed(context)
    for (const pod of [WEB, FLINK, TRAIN]) hog(node.groups, node.startPod(pod))
    const before = node.photograph()
    const { agent, node: opened } = await settle(node)
    const [web = 0, flink = 0, train = 1] = await settledShares(
      opened.kernel,
      [WEB, FLINK, TRAIN].map((pod) => node.groupOf(pod)),
      (online = 0, _be = 0, ot = 1) => online > 0.9 && ot < 0.02,
    )
    say(context, `LS / BE / OT ${round([web, flink, train])}`)
    expect(web).toBeGreaterThan(0.9)
    expect(train).toBeLessThan(0.02)
    agent.release(0)
    expect(node.photograph()).toEqual(before)
  })

  it('BE pods in proportion to what they asked for, OT next to nothing beside them', async (context) => {
    const node = await bed(context)
    for (const pod of [FLINK, SPARK, TRAIN]) hog(node.groups, node.startPod(pod))
    const { node: opened, records } = await settle(node)
    const isRight = (flink = 0, spark = 0, train = 1) =>
      flink > 0.65 * (flink + spark) && flink < 0.85 * (flink + spark) && train < 0.05
    const parts = await settledShares(
      opened.kernel,
      [FLINK, SPARK, TRAIN].map((pod) => node.groupOf(pod)),
      isRight,
    )
    say(context, `BE 600m / BE 200m / OT ${round(parts)}`)
    expect(parts).toSatisfy((found: number[]) => isRight(...found))
    expect(records.at(-1)?.decision.identity?.backends).toMatchObject({ BE: 'weight' })
  })

  it('is decided by the least weight where there is no idle', async (context) => {
    const node = await bed(context, { 'identity.backend': 'weight' })
    for (const pod of [FLINK, TRAIN]) hog(node.groups, node.startPod(pod))
    const { node: opened } = await settle(node)
    const parts = await settledShares(
      opened.kernel,
      [FLINK, TRAIN].map((pod) => node.groupOf(pod)),
      (_be = 0, ot = 1) => ot < 0.1,
    )
    say(context, `BE / OT ${round(parts)}`)
    expect(parts[1]).toBeLessThan(0.1)
  })
})

describe('an online pod below the best-effort root', () => {
  it('has nearly all of its CPU beside BE and OT, where it had its third, and its file is as it was after the release', async (context) => {
    const node = await bed(context)
    const pods = [LOG, FLINK, TRAIN]
    for (const pod of pods) hog(node.groups, node.startPod(pod))
    const groups = pods.map((pod) => node.groupOf(pod))
    const before = node.photograph()
    const { kernel } = node.groups.openKernel()
    const alone = await settledShares(kernel, groups, (log = 0) => log > 0.2 && log < 0.5)
    const { agent, node: opened } = await settle(node)
    const parts = await settledShares(opened.kernel, groups, (log = 0) => log > 0.95)
    say(context, `untagged / BE / OT ${round(alone)} without the agent, ${round(parts)} with it`)
    expect(alone[0]).toBeLessThan(0.6)
    expect(parts[0]).toBeGreaterThan(0.95)
    agent.release(0)
    expect(node.photograph()).toEqual(before)
  })

  it.for([true, false])(
    'leaves BE no more than its allowance, however much or little it uses itself (identity %s)',
    { timeout: 60_000 },
    async (identity, context) => {
      const node = await bed(context, { ...SUPPRESSED, 'identity.enabled': identity })
      const log = node.startPod(LOG)
      writeFileSync(node.groups.fileOf(log, 'cpuset', 'cpuset.cpus'), lastCpu(node.groups))
      hog(node.groups, node.startPod(FLINK))
      const before = node.photograph()
      const running = node.startAgent()
      await node.tickUntil(running, settled)
      const idle = await underAgent(node, running)
      node.groups.burn(log)
      // Until its use is known, and offline work has made way for it.
      await underAgent(node, running)
      const busy = await underAgent(node, running)
      say(context, `untagged idle: ${told(idle)}; untagged busy: ${told(busy)}`)
      for (const { beMilli, allowedMilli } of [idle, busy]) expect(beMilli).toBeLessThanOrEqual(allowedMilli * 1.25 + 5)
      if (identity) expect(busy.logMilli).toBeGreaterThan(10 * busy.beMilli)
      // Were the allowance the quota of the root, they would have no more than that together.
      else expect(busy.logMilli + busy.beMilli).toBeGreaterThan(1.25 * busy.allowedMilli)
      expect([running.failures, running.agent.release(0)]).toMatchObject([[], { foreign: [], failed: [] }])
      expect(node.photograph()).toEqual(before)
    },
  )
})

describe('idle on the root of all offline pods', () => {
  it('leaves LS all it wants, refuses the weight that the kubelet writes, and goes back with it', async (context) => {
    const node = await bed(context, { 'identity.rootIdle': true, onExit: 'release' })
    for (const pod of [WEB, FLINK]) hog(node.groups, node.startPod(pod))
    const before = node.photograph()
    const { agent, node: opened } = await settle(node)
    if (!opened.kernel.capabilities.knobs.idle.usable) return context.skip('this kernel has no cpu.idle')
    const parts = await settledShares(
      opened.kernel,
      [WEB, FLINK].map((pod) => node.groupOf(pod)),
      (online = 0) => online > 0.9,
    )
    say(context, `LS / BE ${round(parts)}`)
    expect(parts[0]).toBeGreaterThan(0.9)
    expect(opened.kernel.writeKnob(node.offlineRoot, { kind: 'weight', value: 2 })).toEqual({ is: 'refused', errno: 'EINVAL' })
    expect(agent.release(0)).toMatchObject({ foreign: [], failed: [] })
    expect(node.photograph()).toEqual(before)
  })
})

describe('who waits', () => {
  /** Wakes every 5 ms and works for 2 ms of CPU time: less than half a CPU, but never to be had at once beside an equal. */
  const PERIODIC = `
    const used = () => { const { user, system } = process.cpuUsage(); return user + system }
    const work = () => { const t = used(); while (used() - t < 2000); setTimeout(work, 3) }
    work()`

  /** Time that the process waited for a CPU, per time that it got one. */
  async function waits(pid: number): Promise<{ runs: number; waitedMs: number }> {
    const read = () => readFileSync(`/proc/${pid}/schedstat`, 'latin1').trim().split(' ').map(Number)
    const [, waitedBefore = 0, runsBefore = 0] = read()
    await sleep(WINDOW_MS)
    const [, waited = 0, runs = 0] = read()
    return { runs: runs - runsBefore, waitedMs: (waited - waitedBefore) / 1e6 }
  }

  it('a periodic sleeper not beside an idle group, but beside an equal one', async (context) => {
    const reason = whyNotHere()
    if (reason !== undefined) return context.skip(reason)
    const groups = await RealGroups.open()
    closing.push(groups)
    const { kernel } = groups.openKernel()
    if (!kernel.capabilities.knobs.idle.usable) return context.skip('this kernel has no cpu.idle')
    const [online, offline] = [groups.make('online'), groups.make('offline')]
    for (const group of [online, offline]) writeFileSync(groups.fileOf(group, 'cpuset', 'cpuset.cpus'), lastCpu(groups))
    favour(groups, kernel)
    const pid = groups.node(online, PERIODIC)
    await expect.poll(() => kernel.readCpuUsageUs(online) ?? 0, { timeout: 10_000 }).toBeGreaterThan(200_000)
    groups.burn(offline)
    const measure = async (idle: 0 | 1) => {
      expect(kernel.writeKnob(offline, { kind: 'idle', value: idle })).toEqual({ is: 'applied' })
      await sleep(100)
      const { runs, waitedMs } = await waits(pid)
      return { perRun: waitedMs / Math.max(1, runs), share: waitedMs / WINDOW_MS, runs }
    }
    const equal = await measure(0)
    const idle = await measure(1)
    say(
      context,
      `waited beside an equal group ${equal.perRun.toFixed(3)} ms a run (${equal.runs} runs), beside an idle one ${idle.perRun.toFixed(3)} ms (${idle.runs} runs)`,
    )
    // The time spent waiting, as part of the window: other load on this CPU adds to both.
    expect(idle.share).toBeLessThan(Math.max(equal.share * 0.7, 0.05))
  })
})

describe('burst', () => {
  /** Needs some 32 ms of CPU in one go and then rests: a tenth of a CPU, but more at a time than a quota of 20 ms in 100 ms. */
  const BURSTY = `
    const used = () => { const { user, system } = process.cpuUsage(); return user + system }
    const work = () => { const t = used(); while (used() - t < 32000); setTimeout(work, 220 + Math.random() * 100) }
    setTimeout(work, 300)`

  function knob(node: RealNode, group: GroupPath, kind: KnobKind): unknown {
    return node.groups.openKernel().kernel.readKnob(group, kind)
  }

  it(
    'ends the throttling of a pod that stays below its limit, and is gone after the release',
    { timeout: 60_000 },
    async (context) => {
      const node = await bed(context, { 'burst.enabled': true, 'burst.sharePermyriad': 10_000, 'identity.enabled': false })
      const container = node.startPod(WEB)
      const { kernel } = node.groups.openKernel()
      if (!kernel.capabilities.knobs.burst.usable) return context.skip('this kernel has no burst')
      expect(kernel.writeKnob(container, { kind: 'quota', value: quota(20_000) })).toEqual({ is: 'applied' })
      writeFileSync(node.groups.fileOf(container, 'cpuset', 'cpuset.cpus'), lastCpu(node.groups))
      const before = node.photograph()
      node.groups.node(container, BURSTY)
      const running = node.startAgent()
      const throttling = { periods: 0, throttledPeriods: 0 }
      const throttled = (): number => (kernel.readThrottling(container, throttling) ? throttling.throttledPeriods : Number.NaN)
      await node.tickUntil(running, (record) => record.results.some(({ step }) => step.kind === 'burst'))
      expect(knob(node, container, 'burst')).toBe(20_000)
      // The pod's group has no quota that could stand in the way.
      expect(knob(node, node.groupOf(WEB), 'burst')).toBe(0)
      const during = async (burstUs: number): Promise<number> => {
        expect(kernel.writeKnob(container, { kind: 'burst', value: burstUs })).toEqual({ is: 'applied' })
        // What there is to save must be saved first.
        await sleep(500)
        const start = throttled()
        await sleep(3000)
        return throttled() - start
      }
      let [withBurst, without] = [Number.NaN, Number.NaN]
      // Kernel: the clock of the periods stops while the group is idle, so what a rest saves depends on when in a period it begins.
      for (let look = 1; look <= LOOKS && !(without >= 2 && withBurst <= without / 2); look += 1) {
        withBurst = await during(20_000)
        without = await during(0)
      }
      say(context, `throttled periods in 3 s: ${without} without, ${withBurst} with a burst of one quota`)
      expect(without).toBeGreaterThanOrEqual(2)
      expect(withBurst).toBeLessThanOrEqual(without / 2)
      running.agent.release(0)
      expect(node.photograph()).toEqual(before)
    },
  )

  it('leaves room for a resize down to its share of the quota, and not below: the hazard that the settings tell of', async (context) => {
    const node = await bed(context)
    const container = node.startPod(WEB)
    const { kernel } = node.groups.openKernel()
    if (!kernel.capabilities.knobs.burst.usable) return context.skip('this kernel has no burst')
    kernel.writeKnob(container, { kind: 'quota', value: quota(20_000) })
    kernel.writeKnob(container, { kind: 'burst', value: 10_000 })
    expect(kernel.writeKnob(container, { kind: 'quota', value: quota(9999) })).toEqual({ is: 'refused', errno: 'EINVAL' })
    expect(kernel.writeKnob(container, { kind: 'quota', value: quota(10_000) })).toEqual({ is: 'applied' })
  })
})
