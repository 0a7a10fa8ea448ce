/**
 * The recorded days of test/data/traces as load of a simulated node, and spikes on top of them. A step of 30 s or 5 min says nothing of what is
 * shorter, so a seeded generator puts its own between the steps: in two thirds of all spans of 15 s one spike begins, at any moment of the span,
 * of 50 ms to 5 s, by up to 60 % of the node. What the two ask for together is bounded by the node.
 */
import { readFileSync } from 'node:fs'

export const TRACES = [
  'alibaba2018-cluster-day1-30s',
  'alibaba2018-cluster-day3-30s',
  'alibaba2018-cluster-day4-30s',
  'alibaba2018-cluster-day5-30s',
  'aws-ec2-5f5533-300s',
  'aws-ec2-77c1ca-300s',
  'aws-asg-misconfiguration-300s',
] as const

export interface Trace {
  readonly stepMs: number
  readonly cpuPercent: readonly number[]
  /** Undefined where it was not recorded. */
  readonly memoryPercent?: readonly number[]
}

/** Reads a recorded day. Throws for a row that is not one, naming file and line. */
export function readTrace(name: (typeof TRACES)[number]): Trace {
  const file = `test/data/traces/${name}.csv`
  const [head = '', ...rows] = readFileSync(new URL(`../data/traces/${name}.csv`, import.meta.url), 'utf8')
    .trim()
    .split('\n')
  const columns = head.split(',')
  const numbers = rows.map((row, index) => {
    const cells = row.split(',').map(Number)
    if (cells.length !== columns.length || cells.some((cell) => !Number.isFinite(cell)))
      throw new Error(`${file}:${index + 2}: not a row of ${columns.join()}: ${row}`)
    return cells
  })
  const column = (title: string): number[] => numbers.map((cells) => cells[columns.indexOf(title)] ?? Number.NaN)
  const [first = 0, second = 0] = column('offset_s')
  return {
    stepMs: (second - first) * 1000,
    cpuPercent: column('cpu_percent'),
    ...(columns.includes('mem_percent') ? { memoryPercent: column('mem_percent') } : {}),
  }
}

/** Numbers from 0 to 1, 1 excluded, that follow from the seed alone (mulberry32). */
export function randomOf(seed: number): () => number {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
}

const SPAN_MS = 15_000
const LENGTHS_MS = [50, 75, 200, 1000, 5000]
const MOST_SHARE = 0.6

/** Share of the node, 0 to 1, that spikes ask for at a time; asked for in order of time. */
export function spikesOf(seed: number): (nowMs: number) => number {
  const random = randomOf(seed)
  let span = -1
  let spike = { fromMs: 0, untilMs: 0, share: 0 }
  return (nowMs) => {
    while (span < Math.floor(nowMs / SPAN_MS)) {
      span += 1
      const [begins, at, length, share] = [random(), random(), random(), random()]
      if (begins > 2 / 3) continue
      const fromMs = (span + at) * SPAN_MS
      spike = { fromMs, untilMs: fromMs + (LENGTHS_MS[Math.floor(length * LENGTHS_MS.length)] ?? 0), share: share * MOST_SHARE }
    }
    return nowMs >= spike.fromMs && nowMs < spike.untilMs ? spike.share : 0
  }
}
