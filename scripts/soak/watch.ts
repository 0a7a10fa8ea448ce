/** What is looked at of the agent once a second: its own /proc entry, its journal, and a scrape of its metrics. */
import { readdirSync, readFileSync, statSync } from 'node:fs'
import type { Sample } from './flat.ts'

const SCRAPE_LIMIT_MS = 5000
const BUCKET = /^kube_agent_tick_duration_seconds_bucket\{le="([^"]+)"\} (\d+)$/

export interface Watched {
  readonly pid: number
  readonly journal: string
  readonly port: number
}

export class AgentWatch {
  readonly #watched: Watched
  #buckets = new Map<number, number>()
  /** Scrapes that failed. */
  failures = 0

  constructor(watched: Watched) {
    this.#watched = watched
  }

  async look(atMs: number): Promise<Sample> {
    const { pid, journal, port } = this.#watched
    const text = await scrape(port)
    if (text === undefined) this.failures += 1
    const status = readFileSync(`/proc/${pid}/status`, 'latin1')
    const lines = (text ?? '').split('\n').filter((line) => line !== '' && !line.startsWith('#'))
    return {
      atMs,
      values: {
        rssMiB: mebibytes(status, 'VmRSS'),
        anonMiB: mebibytes(status, 'RssAnon'),
        heapMiB: valueOf(lines, 'nodejs_heap_size_used_bytes') / 2 ** 20,
        descriptors: readdirSync(`/proc/${pid}/fd`).length,
        handles: valueOf(lines, 'nodejs_active_resources'),
        journalKiB: (statSync(journal, { throwIfNoEntry: false })?.size ?? Number.NaN) / 1024,
        series: text === undefined ? Number.NaN : lines.length,
        tickP99Ms: this.#p99Ms(lines),
      },
    }
  }

  /** Of the ticks since the last scrape, the upper bound of the bucket in which the 99th percentile lies. NaN without any. */
  #p99Ms(lines: readonly string[]): number {
    const now = new Map<number, number>()
    for (const line of lines) {
      const [, le, count] = BUCKET.exec(line) ?? []
      if (le !== undefined) now.set(le === '+Inf' ? Infinity : Number(le), Number(count))
    }
    if (now.size === 0) return Number.NaN
    const before = this.#buckets
    this.#buckets = now
    const since = [...now].map(([le, count]) => [le, count - (before.get(le) ?? 0)] as const)
    const total = since.at(-1)?.[1] ?? 0
    const bound = since.find(([, count]) => count >= total * 0.99)?.[0]
    // Past the last bound there is no telling how long.
    return total === 0 || bound === undefined ? Number.NaN : Math.min(bound, 10) * 1000
  }
}

/** Kernel: /proc/PID/status counts in KiB. */
function mebibytes(status: string, name: string): number {
  return Number(new RegExp(`^${name}:\\s+(\\d+)`, 'm').exec(status)?.[1] ?? Number.NaN) / 1024
}

function valueOf(lines: readonly string[], name: string): number {
  const line = lines.find((text) => text.startsWith(`${name} `))
  return line === undefined ? Number.NaN : Number(line.slice(name.length + 1))
}

async function scrape(port: number): Promise<string | undefined> {
  try {
    const answer = await fetch(`http://127.0.0.1:${port}/metrics`, { signal: AbortSignal.timeout(SCRAPE_LIMIT_MS) })
    return answer.ok ? await answer.text() : undefined
  } catch {
    return undefined
  }
}
