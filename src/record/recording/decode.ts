/**
 * Values of a recording from their bytes: the other end of encode.ts. What was one object comes back as one object, so that rules that go by
 * identity decide as they did. Bytes that mean nothing throw RangeError, and no length that they claim is believed further than they last.
 */
import { buildTopology, CpuSet, type CpuTopology, type RawTopology } from '../../cpu/index.ts'
import { type DeviceLimits, IoLimits, type KnobKind, KnobTable } from '../../model/index.ts'
import { ByteReader } from './bytes.ts'
import { SeenNumbers } from './seen.ts'
import { MAX_DEPTH, TAG } from './tags.ts'

interface Shape {
  readonly keys: readonly string[]
  readonly bare: boolean
}

/** Topologies by their text, kept over the segments of a recording: a machine is one object for as long as it is the same. */
export type KnownTopologies = Map<string, CpuTopology>

export class ValueDecoder {
  readonly seen = new SeenNumbers()
  /** Time of the tick that is read, in monotonic ms. */
  nowMs = Number.NaN
  #bytes = new ByteReader(Buffer.alloc(0))
  readonly #shapes: Shape[] = []
  readonly #topologies: KnownTopologies
  #depth = 0

  constructor(topologies: KnownTopologies) {
    this.#topologies = topologies
  }

  /** Goes on with other bytes; what has passed is remembered. */
  feed(bytes: ByteReader): void {
    this.#bytes = bytes
  }

  /** Reads one value. */
  value(): unknown {
    const tag = this.#bytes.byte()
    if (tag >= TAG.small) return tag - TAG.small
    switch (tag) {
      case TAG.null:
        return null
      case TAG.undefined:
        return undefined
      case TAG.true:
        return true
      case TAG.false:
        return false
      case TAG.natural:
        return this.#bytes.varint()
      case TAG.negative:
        return -1 - this.#bytes.varint()
      case TAG.double:
        return this.#bytes.double()
      case TAG.now:
        return this.nowMs
      case TAG.bigint:
        return BigInt(this.#bytes.text())
      case TAG.again:
        return this.seen.get(this.#bytes.varint())
      default:
        return this.#thing(tag)
    }
  }

  #thing(tag: number): unknown {
    if (this.#depth >= MAX_DEPTH) throw new RangeError('values are nested too deeply')
    this.#depth += 1
    try {
      const number = this.seen.reserve()
      switch (tag) {
        case TAG.text:
          return this.#told(number, this.#bytes.text())
        case TAG.array:
          return this.#array(number)
        case TAG.shaped:
          return this.#shaped(number, this.#shapes[this.#bytes.varint()])
        case TAG.object:
          return this.#object(number)
        case TAG.map:
          return this.#map(number)
        case TAG.set:
          return this.#set(number)
        case TAG.cpuSet:
          return this.#told(number, CpuSet.parse(this.#bytes.text()))
        case TAG.ioLimits:
          return this.#told(number, IoLimits.of(this.#pairs() as [string, DeviceLimits][]))
        case TAG.knobTable:
          return this.#table(number)
        case TAG.topology:
          return this.#told(number, this.#topology())
        default:
          throw new RangeError(`no value begins with ${tag}`)
      }
    } finally {
      this.#depth -= 1
    }
  }

  #told<T>(number: number, thing: T): T {
    this.seen.tell(number, thing)
    return thing
  }

  #array(number: number): unknown[] {
    const values: unknown[] = this.#told(number, [])
    for (let left = this.#bytes.varint(); left > 0; left -= 1) values.push(this.value())
    return values
  }

  #object(number: number): unknown {
    const head = this.#bytes.varint()
    const keys: string[] = []
    for (let left = Math.floor(head / 2); left > 0; left -= 1) {
      const key = this.value()
      if (typeof key !== 'string') throw new RangeError('a key is no text')
      keys.push(key)
    }
    const shape = { keys, bare: head % 2 === 1 }
    this.#shapes.push(shape)
    return this.#shaped(number, shape)
  }

  #shaped(number: number, shape: Shape | undefined): unknown {
    if (shape === undefined) throw new RangeError('an object of a shape that was never told')
    const value = this.#told<Record<string, unknown>>(number, shape.bare ? (Object.create(null) as Record<string, unknown>) : {})
    for (const key of shape.keys) {
      // Set outright, it would be the prototype.
      if (key === '__proto__')
        Object.defineProperty(value, key, { value: this.value(), enumerable: true, writable: true, configurable: true })
      else value[key] = this.value()
    }
    return value
  }

  #map(number: number): unknown {
    const map = this.#told(number, new Map<unknown, unknown>())
    for (let left = this.#bytes.varint(); left > 0; left -= 1) map.set(this.value(), this.value())
    return map
  }

  #set(number: number): unknown {
    const set = this.#told(number, new Set<unknown>())
    for (let left = this.#bytes.varint(); left > 0; left -= 1) set.add(this.value())
    return set
  }

  #pairs(): [unknown, unknown][] {
    const pairs: [unknown, unknown][] = []
    for (let left = this.#bytes.varint(); left > 0; left -= 1) pairs.push([this.value(), this.value()])
    return pairs
  }

  #table(number: number): unknown {
    const table = this.#told(number, new KnobTable<unknown>())
    for (let left = this.#bytes.varint(); left > 0; left -= 1)
      table.set(this.value() as string, this.value() as KnobKind, this.value())
    return table
  }

  #topology(): CpuTopology {
    const raw = this.value() as RawTopology
    const text = JSON.stringify(raw)
    const known = this.#topologies.get(text) ?? buildTopology(raw)
    this.#topologies.set(text, known)
    return known
  }
}
