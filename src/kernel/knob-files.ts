/**
 * Reading and writing knobs: the text of dialect.ts to and from the bytes of group-files.ts, with what takes more than one file or one
 * write under one of the dialects. Readings are decoded anew only when their bytes have changed.
 */
import {
  type GroupPath,
  type KnobKind,
  type KnobSetting,
  type KnobValue,
  micros,
  MIN_QUOTA_US,
  type Outcome,
  type Quota,
  SLOW_KINDS,
} from '../model/index.ts'
import { numberAt, sameBytes } from './bytes.ts'
import type { CoreCookies } from './core-cookies.ts'
import { type GroupFiles, type HeldGroup, KNOB_SLOT, READING_SLOT } from './group-files.ts'
import type { InheritedSets } from './inherited-sets.ts'
import { IoLimitFiles } from './io-limits.ts'

/** The longest text of a knob is a cpuset of 1024 CPUs with every second one set, below 5 KiB; longer ones are just not cached. */
const CACHED_BYTES = 128
/** A value is decoded anew after so many equal reads: under v1 somebody may have changed the period and left the quota as it was. */
const CACHED_READS = 15

export class KnobFiles {
  readonly #files: GroupFiles
  readonly #inherited: InheritedSets
  readonly #cookies: CoreCookies
  readonly #io: IoLimitFiles

  constructor(files: GroupFiles, inherited: InheritedSets, cookies: CoreCookies) {
    this.#files = files
    this.#inherited = inherited
    this.#cookies = cookies
    this.#io = new IoLimitFiles(files)
  }

  read(group: GroupPath, kind: KnobKind): KnobValue | undefined {
    if (kind === 'coreCookie') return this.#cookies.read(group)
    if (kind === 'ioMax' && this.#files.dialect === 'v1') return this.#io.read(group)
    const slot = KNOB_SLOT[kind]
    const length = this.#files.read(group, slot)
    if (length < 0) return undefined
    const { buffer } = this.#files.held
    const held = this.#files.group(group)
    const { generation } = held.slots
    const cached = held.cache[slot]
    if (
      cached !== undefined &&
      cached.generation === generation &&
      cached.raw.length === length &&
      sameBytes(cached.raw, buffer, length) &&
      cached.left > 0
    ) {
      cached.left -= 1
      return cached.value
    }
    const raw = Uint8Array.prototype.slice.call(buffer, 0, length)
    const decoded = this.#files.knob(kind)?.decode(buffer.toString('latin1', 0, length).trim())
    const value = kind === 'quota' ? this.#withPeriod(held, decoded) : this.#inherited.asRead(group, decoded)
    if (length <= CACHED_BYTES) held.cache[slot] = { raw, value, generation, left: CACHED_READS }
    return value
  }

  /** Under v1 the period is a file of its own. */
  #withPeriod(group: HeldGroup, value: KnobValue | undefined): KnobValue | undefined {
    if (this.#files.dialect === 'v2' || typeof value !== 'object' || value === null || !('periodUs' in value)) return value
    const { held } = this.#files
    const length = held.read(group.slots, READING_SLOT.cpuPeriod)
    if (length < 0) return value
    const periodUs = numberAt(held.buffer, 0, length)
    // Without a period that makes sense nothing can be said of the quota either.
    if (periodUs === undefined || periodUs === 0) return undefined
    return periodUs === value.periodUs ? value : { quotaUs: value.quotaUs, periodUs: micros(periodUs) }
  }

  write(group: GroupPath, setting: KnobSetting): Outcome {
    if (setting.kind === 'coreCookie') return this.#cookies.write(group, setting.value)
    if (setting.kind === 'ioMax') return this.#io.write(group, setting.value, this.read(group, 'ioMax'))
    const outcome = this.#writeText(group, setting)
    if (setting.kind !== 'cpuset' || this.#files.dialect === 'v1') return outcome
    const instead = this.#inherited.instead(setting, outcome)
    const second = instead === undefined ? outcome : this.#writeText(group, instead)
    if (instead !== undefined && second.is === 'applied') this.#inherited.note(group, instead.value)
    else if (second.is === 'applied') this.#inherited.forget(group)
    // The same bytes may mean another value now.
    const held = this.#files.peek(group)
    if (held !== undefined) held.cache[KNOB_SLOT.cpuset] = undefined
    return second
  }

  /**
   * A write that may reclaim memory, on a thread of its own. Kernel: memory_high_write() and memory_max_write() in mm/memcontrol.c set the
   * limit first, and then reclaim in the calling thread until the group is below it or 16 rounds have brought nothing.
   * One at a time: libuv's pool has four threads, and files, names and compression wait for them too, as does process.exit().
   */
  async writeSlowly(group: GroupPath, setting: KnobSetting): Promise<Outcome> {
    if (!SLOW_KINDS.includes(setting.kind)) return this.write(group, setting)
    return this.#files.writeSlowly(group, this.#files.knob(setting.kind), this.#encode(group, setting))
  }

  #writeText(group: GroupPath, setting: KnobSetting): Outcome {
    return this.#files.write(group, this.#files.knob(setting.kind), this.#encode(group, setting))
  }

  #encode(group: GroupPath, setting: KnobSetting): string {
    if (setting.kind === 'quota' && this.#files.dialect === 'v1') return this.#encodeV1Quota(group, setting.value)
    return this.#files.knob(setting.kind)?.encode(setting.value) ?? ''
  }

  /**
   * Under v1 quota and period can't change in one write, and either order may be illegal or briefly unlimited. So the group's own
   * period stays, and the quota is scaled to it, rounded down so that it can't exceed the parent's share.
   */
  #encodeV1Quota(group: GroupPath, value: Quota): string {
    if (value.quotaUs === null) return '-1'
    const length = this.#files.read(group, READING_SLOT.cpuPeriod)
    const periodUs = (length < 0 ? 0 : numberAt(this.#files.held.buffer, 0, length)) || value.periodUs
    return String(Math.max(MIN_QUOTA_US, Math.floor((value.quotaUs * periodUs) / value.periodUs)))
  }
}
