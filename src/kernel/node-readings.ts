/**
 * Node-level readings from procfs: CPU time, memory, pressure, the run queue. Held descriptors, byte parsing.
 * Kernel: Documentation/filesystems/proc.rst (stat, meminfo, loadavg), accounting/psi.rst.
 */
import { join } from 'node:path'
import type { MemoryUse, PressureResource } from '../model/index.ts'
import { fieldNumber, keyBytes, numberAt, sameBytes } from './bytes.ts'
import { FileSlots, type HeldFiles } from './held-files.ts'

const STAT = 0
const MEMINFO = 1
const ONLINE = 5
const LOADAVG = 6
const PRESSURE_SLOT: Readonly<Record<PressureResource, number>> = { cpu: 2, memory: 3, io: 4 }

const MEM_TOTAL = keyBytes('MemTotal:')
const MEM_AVAILABLE = keyBytes('MemAvailable:')
const SOME_TOTAL = keyBytes('total=')
const CPU_TOTAL = keyBytes('cpu ')
const SPACE = 0x20
const SLASH = 0x2f

/** Kernel: USER_HZ is 100 on every architecture that Node runs on; /proc/stat counts in it. */
const US_PER_TICK = 10_000
/** Columns of /proc/stat that are work of this node: user nice system – – irq softirq. Idle, iowait and steal are not. */
const BUSY_COLUMNS: readonly boolean[] = [true, true, true, false, false, true, true]

export class NodeReader {
  readonly #files: HeldFiles
  readonly #slots: FileSlots

  constructor(files: HeldFiles, paths: { readonly proc: string; readonly sys: string }) {
    this.#files = files
    const names = [
      join(paths.proc, 'stat'),
      join(paths.proc, 'meminfo'),
      join(paths.proc, 'pressure/cpu'),
      join(paths.proc, 'pressure/memory'),
      join(paths.proc, 'pressure/io'),
      join(paths.sys, 'devices/system/cpu/online'),
      join(paths.proc, 'loadavg'),
    ]
    this.#slots = new FileSlots(names.length, (slot) => names[slot])
  }

  /** Busy time of all CPUs in µs, counted in ticks of 10 ms per CPU. */
  busyUs(): number | undefined {
    const length = this.#files.read(this.#slots, STAT)
    if (length < 0) return undefined
    const { buffer } = this.#files
    if (length < CPU_TOTAL.length || !sameBytes(buffer, CPU_TOTAL, CPU_TOTAL.length)) return undefined
    let at = CPU_TOTAL.length
    let ticks = 0
    for (const busy of BUSY_COLUMNS) {
      while (at < length && buffer[at] === SPACE) at += 1
      const value = numberAt(buffer, at, length)
      if (value === undefined) return undefined
      if (busy) ticks += value
      while (at < length && buffer[at] !== SPACE) at += 1
    }
    return ticks * US_PER_TICK
  }

  memory(): MemoryUse | undefined {
    const length = this.#files.read(this.#slots, MEMINFO)
    if (length < 0) return undefined
    const total = fieldNumber(this.#files.buffer, length, MEM_TOTAL)
    const available = fieldNumber(this.#files.buffer, length, MEM_AVAILABLE)
    if (total === undefined || available === undefined) return undefined
    return { totalBytes: total * 1024, availableBytes: available * 1024 }
  }

  /** The `some` stall total in µs. */
  pressureUs(resource: PressureResource): number | undefined {
    const length = this.#files.read(this.#slots, PRESSURE_SLOT[resource])
    return length < 0 ? undefined : someTotalUs(this.#files.buffer, length)
  }

  /**
   * Tasks that are ready to run or running, the reader among them: the `3` of `0.20 0.18 0.12 3/345 6789`. Kernel: nr_running(), as in
   * procs_running of /proc/stat, which stands behind the counts of every interrupt there and costs a hundred times as much on a large
   * machine. Tasks of a throttled group are not among them.
   */
  runnable(): number | undefined {
    const length = this.#files.read(this.#slots, LOADAVG)
    if (length < 0) return undefined
    const { buffer } = this.#files
    const slash = buffer.indexOf(SLASH)
    if (slash < 0 || slash >= length) return undefined
    const start = buffer.lastIndexOf(SPACE, slash) + 1
    const count = numberAt(buffer, start, slash)
    return start === 0 || count === undefined || count < 0 ? undefined : count
  }

  onlineText(): string {
    const length = this.#files.read(this.#slots, ONLINE)
    return length < 0 ? '' : this.#files.buffer.toString('latin1', 0, length).trim()
  }
}

/** The stall total of the line `some`, the first of a pressure file, in µs. */
export function someTotalUs(buffer: Buffer, length: number): number | undefined {
  const at = buffer.indexOf(SOME_TOTAL)
  return at < 0 || at >= length ? undefined : numberAt(buffer, at + SOME_TOTAL.length, length)
}
