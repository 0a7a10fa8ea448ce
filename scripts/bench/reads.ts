/** The read benchmarks: a sweep of container files, and a whole tick. Agent and floor take turns, half a second apart: caches go cold. */
import { join } from 'node:path'
import { performance } from 'node:perf_hooks'
import { composeAgent, openNode, openWriting, realNow } from '../../src/compose.ts'
import { loadConfig } from '../../src/config/index.ts'
import { createLogger, Recorder } from '../../src/record/index.ts'
import { Floor } from './floor.ts'
import type { Result } from './result.ts'
import { BenchNode } from './node.ts'
import type { Instant, TickRecord } from '../../src/model/index.ts'
import { pause } from './stop.ts'
import { takeTurns } from './turns.ts'

const WARM_TICKS = 200
/** Ticks with something to write, of all, that are left out before the bench gives up. */
const MOST_AGAIN = 60
const FILES = {
  v1: ['cpuacct:cpuacct.usage', 'cpu:cpu.stat', 'memory:memory.usage_in_bytes', 'memory:memory.stat'],
  v2: ['cpu:cpu.stat', 'cpu:cpu.stat', 'memory:memory.current', 'memory:memory.stat'],
} as const

function filesOf(node: BenchNode): string[] {
  const { dialect, controllers } = node.sandbox.mounts
  return node.podGroups.flatMap((group) =>
    FILES[dialect].map((file) => {
      const [controller = '', name = ''] = file.split(':')
      return join(controllers[controller as keyof typeof controllers] ?? '', group, name)
    }),
  )
}

function configOf(node: BenchNode) {
  const settings = {
    'node.cgroupRoot': node.sandbox.root,
    'paths.state': join(node.directory, 'state'),
    'pods.directory': join(node.directory, 'pods'),
  }
  return loadConfig({
    overrides: Object.entries(settings).map(([key, value]) => ({ path: key.split('.'), value, origin: 'bench' })),
  }).config
}

/** Reads 4 files of each of `count` containers through the kernel port. */
export async function sweepBench(name: string, count: number): Promise<Result> {
  const node = new BenchNode()
  node.addPods(count)
  const floor = new Floor(node.directory, filesOf(node))
  try {
    const { kernel } = openNode(configOf(node))
    const throttling = { periods: 0, throttledPeriods: 0 }
    const memory = { usageBytes: 0, inactiveFileBytes: 0 }
    const sweep = (): number => {
      const started = performance.now()
      for (const group of node.podGroups) {
        kernel.readCpuUsageUs(group)
        kernel.readThrottling(group, throttling)
        kernel.readGroupMemory(group, memory)
      }
      return performance.now() - started
    }
    const { ours, floors } = await takeTurns(sweep, () => floor.sweepMs())
    const ratio = ours / floors
    return { name, value: ours, unit: 'ms', floor: floors, ratio, goal: 1.5, ok: ratio <= 1.5 }
  } finally {
    await floor.end()
    await node.close()
  }
}

/** A whole calm tick, sense to record, once everything is as it should be. */
export async function tickBench(name: string, count: number): Promise<Result> {
  const node = new BenchNode()
  node.addPods(count)
  const floor = new Floor(node.directory, filesOf(node))
  const config = configOf(node)
  const opened = openNode(config)
  const writing = openWriting(config, opened)
  const began = realNow()
  const recorder = new Recorder({
    version: 'bench',
    nodeName: 'bench',
    logger: createLogger('error'),
    maxDecisions: config.journal.decisions,
    startedWallMs: began.wallMs,
    startedMs: began.nowMs,
  })
  let steps = 0
  const sink = {
    tick: (record: TickRecord) => {
      steps = record.plan.length
      recorder.tick(record)
    },
    tickFailed: (thrown: unknown, at: Instant) => recorder.tickFailed(thrown, at),
    guardBeat: (lateMs: number, late: boolean) => recorder.guardBeat(lateMs, late),
  }
  const { agent, pods } = composeAgent({ config, mode: 'enforce', node: opened, sink, writing })
  try {
    // Time runs ahead while code is compiled and the limits of new pods are written: what is measured is a daemon in its steady state.
    let aheadMs = 0
    const tick = (): number => {
      const { nowMs, wallMs } = realNow()
      const started = performance.now()
      agent.beat({ nowMs: nowMs + aheadMs, wallMs: wallMs + aheadMs }, 0)
      return performance.now() - started
    }
    for (let warm = 0; warm < WARM_TICKS; warm += 1) {
      aheadMs += config.loop.calmMs
      tick()
    }
    // What the machine does beside moves the allowance, and a tick that writes is another: the next one is taken for it.
    let again = MOST_AGAIN
    const still = async (): Promise<number> => {
      for (;;) {
        const tookMs = tick()
        if (steps === 0) return tookMs
        if (again === 0) throw new Error(`${MOST_AGAIN} ticks had something to write: other load moves the allowance`)
        again -= 1
        await pause(config.loop.calmMs)
      }
    }
    const { ours, floors } = await takeTurns(still, () => floor.sweepMs())
    const lines = [`${MOST_AGAIN - again} ticks that had something to write were left out`]
    return { name, value: ours, unit: 'ms', floor: floors, ratio: ours / floors, goal: 8, ok: ours <= 8, lines }
  } finally {
    pods.close()
    writing.journal.end()
    await floor.end()
    await node.close()
  }
}
