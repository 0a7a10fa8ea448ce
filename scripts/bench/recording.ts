/**
 * What a recording costs the loop with so many pods, whose readings all change: the time within a calm tick, that within a hot one, and the
 * bytes on disk. The floor is v8.serialize() of the pods of the same snapshot, which keeps neither knobs, decision nor identity.
 */
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { performance } from 'node:perf_hooks'
import { setTimeout as sleep } from 'node:timers/promises'
import { serialize } from 'node:v8'
import type { Tape } from '../../src/agent/index.ts'
import { recordedSink, recordingInto } from '../../src/cli/recording.ts'
import { composeAgent, openNode, openWriting, realNow } from '../../src/compose.ts'
import { loadConfig } from '../../src/config/index.ts'
import { milliCpu, type NodeSnapshot } from '../../src/model/index.ts'
import { DirectoryStore } from '../../src/record/index.ts'
import { BenchNode } from './node.ts'
import type { Result } from './result.ts'

const WARM_TICKS = 100
const TICKS = 300
/** Hot ticks between two calm ones. */
const HOT = 4
const GOAL_MS = 1
const SEGMENT_BYTES = 1 << 22

/** Time in the recording, of calm ticks and of hot ones, and in the floor. */
interface Spent {
  readonly calm: number[]
  readonly hot: number[]
  readonly floor: number[]
}

/** The cost of a recording on a node with `count` pods. */
export async function recordingBench(name: string, count: number): Promise<Result> {
  const node = await BenchNode.open()
  node.addPods(count)
  const folder = join(node.directory, 'recording')
  mkdirSync(folder)
  const settings = {
    'node.cgroupRoot': node.sandbox.root,
    'paths.state': join(node.directory, 'state'),
    'pods.directory': join(node.directory, 'pods'),
  }
  const overrides = Object.entries(settings).map(([key, value]) => ({ path: key.split('.'), value, origin: 'bench' }))
  const { config } = loadConfig({ overrides })
  const recording = recordingInto(new DirectoryStore(folder, 1 << 30), config, {
    segmentBytes: SEGMENT_BYTES,
    onChange: () => undefined,
  })
  const spent: Spent = { calm: [], hot: [], floor: [] }
  const stirred = stirrer()
  let sensedMs = 0
  const tape: Tape = {
    sensed: (snapshot, memory, inForce) => {
      const told = stirred(snapshot)
      const started = performance.now()
      recording.sensed(told, memory, inForce)
      sensedMs = performance.now() - started
    },
  }
  const nobody = { tick: () => undefined, tickFailed: (thrown: unknown) => console.error(thrown), guardBeat: () => undefined }
  const recorded = recordedSink(nobody, recording)
  const sink = {
    ...recorded,
    tick: (record: Parameters<typeof recorded.tick>[0]) => {
      const started = performance.now()
      recorded.tick(record)
      const took = sensedMs + performance.now() - started
      spent[record.snapshot.pace].push(took)
      const serialized = performance.now()
      serialize(record.snapshot.pods.pods)
      spent.floor.push(performance.now() - serialized)
    },
  }
  const opened = openNode(config)
  const writing = openWriting(config, opened)
  const { agent, pods } = composeAgent({ config, mode: 'enforce', node: opened, sink, writing, tape })
  try {
    let before = recording.state
    const begun = realNow()
    for (let index = 0; index < (WARM_TICKS + TICKS) * (HOT + 1); index += 1) {
      if (index === WARM_TICKS * (HOT + 1)) {
        for (const times of Object.values(spent)) times.length = 0
        before = recording.state
      }
      const aheadMs = index * (config.loop.calmMs / (HOT + 1))
      agent.tick({ nowMs: begun.nowMs + aheadMs, wallMs: begun.wallMs + aheadMs }, 0)
      // What was handed on is compressed and written beside the loop.
      await sleep(index % (HOT + 1) === 0 ? 2 : 0)
    }
    await recording.end()
    return resultOf(name, spent, (recording.state.bytes - before.bytes) / (TICKS * (HOT + 1)))
  } finally {
    pods.close()
    writing.journal.end()
    await node.close()
  }
}

/** The pods here are idle; those of a node are not, and no two readings of them are alike. */
function stirrer(): (snapshot: NodeSnapshot) => NodeSnapshot {
  let stirred: NodeSnapshot['pods']['pods'] = []
  return (snapshot) => {
    if (snapshot.pace === 'calm')
      stirred = snapshot.pods.pods.map((pod) =>
        pod.use === undefined
          ? pod
          : { ...pod, use: { ...pod.use, value: { ...pod.use.value, cpuMilli: milliCpu(Math.random() * 1000) } } },
      )
    return { ...snapshot, pods: { ...snapshot.pods, pods: stirred } }
  }
}

function resultOf(name: string, spent: Spent, bytesPerTick: number): Result {
  const [value, hotMs, floor] = [median(spent.calm), median(spent.hot), median(spent.floor)]
  const p99Ms = spent.calm.toSorted((a, b) => a - b)[Math.floor(spent.calm.length * 0.99)] ?? 0
  return {
    name,
    value,
    unit: 'ms',
    floor,
    ratio: value / floor,
    goal: GOAL_MS,
    ok: value <= GOAL_MS,
    details: { hotMs, p99Ms, bytesPerTick },
    lines: [
      `hot tick ${(hotMs * 1000).toFixed(0)} µs, p99 of calm ones ${p99Ms.toFixed(2)} ms, ${bytesPerTick.toFixed(0)} bytes a tick on disk, with ${HOT} hot ticks to a calm one`,
    ],
  }
}

function median(times: readonly number[]): number {
  return times.toSorted((a, b) => a - b)[Math.floor(times.length / 2)] ?? Number.NaN
}
