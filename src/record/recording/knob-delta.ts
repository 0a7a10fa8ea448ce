/**
 * What the knobs hold, tick after tick, as the difference to the tick before: the table of a large node has thousands of readings, of which a
 * calm tick renews most and changes few, and a hot one hardly touches any. The order of the table is kept too, since rules may walk it.
 *
 *   same                 nothing was read at all
 *   readings             every knob at its place: how many to skip, how many were renewed with the value they had, or one that is another
 *   places, readings     knobs came, went or moved: runs of the old places and new knobs between them, then the readings
 */
import { CpuSet } from '../../cpu/index.ts'
import {
  type GroupPath,
  IoLimits,
  isQuota,
  type KnobKind,
  KnobTable,
  type KnobValue,
  type Reading,
  type ReadonlyKnobTable,
} from '../../model/index.ts'
import type { ByteReader } from './bytes.ts'
import type { ValueDecoder } from './decode.ts'
import type { ValueEncoder } from './encode.ts'

type KnobReading = Reading<KnobValue>
type Actual = ReadonlyKnobTable<KnobReading>

const SAME = 0
const READINGS = 1
const PLACES = 2
/** Of a run of readings. */
const RENEWED = 0
const OTHER = 1
const END = 2
/** Of a run of places. */
const OLD = 0
const NEW = 1

interface Place {
  readonly group: GroupPath
  readonly kind: KnobKind
  /** Undefined until it has been written. */
  reading: KnobReading | undefined
}

export class KnobDeltaEncoder {
  readonly #values: ValueEncoder
  #places: Place[] = []

  constructor(values: ValueEncoder) {
    this.#values = values
  }

  /** Writes how the table differs from the one written before. */
  write(table: Actual): void {
    const { bytes } = this.#values
    const found = this.#compare(table)
    if (found === 'same') {
      bytes.byte(SAME)
      return
    }
    bytes.byte(found === 'moved' ? PLACES : READINGS)
    if (found === 'moved') this.#move(table)
    this.#readings(table)
  }

  /** One walk, which on most hot ticks is all there is to do. */
  #compare(table: Actual): 'same' | 'read' | 'moved' {
    let index = 0
    let moved = false
    let read = false
    table.forEach((group, kind, reading) => {
      const place = this.#places[index++]
      if (place === undefined || place.kind !== kind || place.group !== group) moved = true
      else if (place.reading !== reading) read = true
    })
    return moved || index !== this.#places.length ? 'moved' : read ? 'read' : 'same'
  }

  /** Runs of places that were there, in the order of the table, and the new ones between them. */
  #move(table: Actual): void {
    const { bytes } = this.#values
    const known = new KnobTable<number>()
    for (const [index, { group, kind }] of this.#places.entries()) known.set(group, kind, index)
    const places: Place[] = []
    const runs: ({ from: number; length: number } | Place)[] = []
    table.forEach((group, kind) => {
      const from = known.get(group, kind)
      const old = from === undefined ? undefined : this.#places[from]
      const place = old ?? { group, kind, reading: undefined }
      places.push(place)
      const last = runs.at(-1)
      if (from === undefined) runs.push(place)
      else if (last !== undefined && 'from' in last && last.from + last.length === from) last.length += 1
      else runs.push({ from, length: 1 })
    })
    bytes.varint(runs.length)
    for (const run of runs) {
      if ('from' in run) {
        bytes.byte(OLD)
        bytes.varint(run.from)
        bytes.varint(run.length)
      } else {
        bytes.byte(NEW)
        this.#values.value(run.group)
        this.#values.value(run.kind)
      }
    }
    this.#places = places
  }

  #readings(table: Actual): void {
    const { bytes, nowMs } = this.#values
    let index = 0
    let skipped = 0
    let renewed = 0
    const flush = (): void => {
      if (renewed === 0) return
      bytes.byte(RENEWED)
      bytes.varint(skipped)
      bytes.varint(renewed)
      skipped = 0
      renewed = 0
    }
    table.forEach((_group, _kind, reading) => {
      const place = this.#places[index++]
      const before = place?.reading
      if (place === undefined || before === reading) {
        flush()
        skipped += 1
        return
      }
      place.reading = reading
      if (isRenewed(before, reading, nowMs)) {
        renewed += 1
        return
      }
      flush()
      bytes.byte(OTHER)
      bytes.varint(skipped)
      skipped = 0
      this.#values.value(reading.source)
      this.#values.value(reading.atMs)
      this.#values.value(reading.value)
    })
    flush()
    bytes.byte(END)
  }
}

/** Read on this tick, and exactly what it was. */
function isRenewed(before: KnobReading | undefined, reading: KnobReading, nowMs: number): boolean {
  if (before === undefined || reading.atMs !== nowMs || reading.source !== before.source) return false
  const [was, is] = [before.value, reading.value]
  if (Object.is(was, is)) return true
  if (is instanceof CpuSet) return was instanceof CpuSet && is.equals(was)
  if (is instanceof IoLimits) return was instanceof IoLimits && is.toString() === was.toString()
  return isQuota(is) && isQuota(was) && is.quotaUs === was.quotaUs && is.periodUs === was.periodUs
}

export class KnobDeltaDecoder {
  readonly #values: ValueDecoder
  #places: Place[] = []
  #table = new KnobTable<KnobReading>()

  constructor(values: ValueDecoder) {
    this.#values = values
  }

  /** The table of the next tick. It is the same object as long as no knob comes, goes or moves: read it before the next one. */
  read(bytes: ByteReader): Actual {
    const mode = bytes.byte()
    if (mode === SAME) return this.#table
    if (mode === PLACES) this.#move(bytes)
    else if (mode !== READINGS) throw new RangeError(`no table of knobs begins with ${mode}`)
    this.#readings(bytes)
    if (mode === PLACES) this.#table = new KnobTable()
    for (const { group, kind, reading } of this.#places) {
      if (reading === undefined) throw new RangeError(`a knob without a reading: ${kind} of ${group}`)
      if (mode === PLACES) this.#table.set(group, kind, reading)
    }
    return this.#table
  }

  #move(bytes: ByteReader): void {
    const places: Place[] = []
    for (let left = bytes.varint(); left > 0; left -= 1) {
      if (bytes.byte() === NEW) {
        const [group, kind] = [this.#values.value(), this.#values.value()]
        if (typeof group !== 'string' || typeof kind !== 'string') throw new RangeError('a knob without a name')
        places.push({ group, kind: kind as KnobKind, reading: undefined })
        continue
      }
      const from = bytes.varint()
      const end = from + bytes.varint()
      if (end > this.#places.length) throw new RangeError('a knob that was never told')
      places.push(...this.#places.slice(from, end))
    }
    this.#places = places
  }

  #readings(bytes: ByteReader): void {
    let index = 0
    for (let is = bytes.byte(); is !== END; is = bytes.byte()) {
      index += bytes.varint()
      if (is === RENEWED) {
        for (let left = bytes.varint(); left > 0; left -= 1) {
          const before = this.#place(index).reading
          if (before === undefined) throw new RangeError('a reading renewed that was never told')
          this.#put(index++, { value: before.value, atMs: this.#values.nowMs, source: before.source })
        }
      } else if (is === OTHER) {
        const [source, atMs, value] = [this.#values.value(), this.#values.value(), this.#values.value()]
        if (typeof source !== 'string' || typeof atMs !== 'number') throw new RangeError('a reading without source or time')
        this.#put(index++, { value: value as KnobValue, atMs, source })
      } else throw new RangeError(`no reading begins with ${is}`)
    }
  }

  #place(index: number): Place {
    const place = this.#places[index]
    if (place === undefined) throw new RangeError('a reading without a knob')
    return place
  }

  #put(index: number, reading: KnobReading): void {
    const place = this.#place(index)
    place.reading = reading
    // Of a table that is made anew this is one entry too many, which nobody sees.
    this.#table.set(place.group, place.kind, reading)
  }
}
