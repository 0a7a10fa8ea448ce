/** Every quota that a watcher saw in force (watch.c), with its time, by number of the file. Times in ms of CLOCK_MONOTONIC. */
import type { BenchNode } from './node.ts'

interface Seen {
  readonly atMs: number
  readonly milli: number
}

export class QuotaLog {
  readonly #node: Pick<BenchNode, 'quotaMilli'>
  readonly #files: Seen[][]

  constructor(node: Pick<BenchNode, 'quotaMilli'>, files: number) {
    this.#node = node
    this.#files = Array.from({ length: files }, () => [])
  }

  /** Takes a line of the watcher: `NS FILE TEXT`. Throws when it is something else. */
  add(line: string): void {
    const [, ns, file, text] = /^(\d+) (\d+) (.+)$/.exec(line) ?? []
    const seen = this.#files[Number(file)]
    if (seen === undefined || text === undefined) throw new Error(`not a line of the watcher: ${line}`)
    seen.push({ atMs: Number(ns) / 1e6, milli: this.#node.quotaMilli(text) })
  }

  /** The quota now in force, in milli-CPU; Infinity for none, NaN before anything was seen. */
  latestMilli(file: number): number {
    return this.#files[file]?.at(-1)?.milli ?? Number.NaN
  }

  /** When a quota of at most `milli` was first in force at or after `fromMs`; Infinity when none was. */
  firstBelow(file: number, fromMs: number, milli: number): number {
    return this.#files[file]?.find((seen) => seen.atMs >= fromMs && seen.milli <= milli)?.atMs ?? Infinity
  }

  /** The least quota that came in force between two times; NaN when none came. */
  leastMilli(file: number, fromMs: number, toMs: number): number {
    const within = this.#files[file]?.filter(({ atMs }) => atMs >= fromMs && atMs <= toMs) ?? []
    return within.length === 0 ? Number.NaN : Math.min(...within.map(({ milli }) => milli))
  }
}
