/**
 * Any value that a snapshot, a configuration or the memory of the rules can hold, as bytes: exact, and total over plain data, Map, Set, CpuSet,
 * IoLimits, KnobTable and CpuTopology. A value of any other class throws, rather than being recorded as something else. What it writes,
 * decode.ts reads.
 */
import { type CpuTopology, CpuSet, type RawTopology } from '../../cpu/index.ts'
import { IoLimits, KnobLayers, KnobTable } from '../../model/index.ts'
import { ByteWriter } from './bytes.ts'
import { SeenThings } from './seen.ts'
import { MAX_DEPTH, SMALL_NUMBERS, TAG } from './tags.ts'

/** Keys of objects in their order, as a tree: finding the number of a shape makes nothing. */
interface ShapeNode {
  readonly next: Map<string, ShapeNode>
  /** Number of the shape that ends here, with and without a prototype. */
  plain: number | undefined
  bare: number | undefined
}

export class ValueEncoder {
  readonly bytes = new ByteWriter()
  readonly seen = new SeenThings()
  /** Time of the tick that is written, in monotonic ms. */
  nowMs = Number.NaN
  readonly #shapes: ShapeNode = { next: new Map(), plain: undefined, bare: undefined }
  #shapeCount = 0
  #depth = 0

  /** Writes a value. Throws TypeError for one that can't be recorded. */
  value(value: unknown): void {
    switch (typeof value) {
      case 'undefined':
        return this.bytes.byte(TAG.undefined)
      case 'boolean':
        return this.bytes.byte(value ? TAG.true : TAG.false)
      case 'number':
        return this.#number(value)
      case 'bigint':
        this.bytes.byte(TAG.bigint)
        return this.bytes.text(value.toString())
      case 'string':
        return this.#text(value)
      case 'object':
        return value === null ? this.bytes.byte(TAG.null) : this.#object(value)
      case 'function':
      case 'symbol':
        throw new TypeError(`a ${typeof value} can't be recorded`)
    }
  }

  #number(value: number): void {
    if (value === this.nowMs) this.bytes.byte(TAG.now)
    else if (!Number.isSafeInteger(value) || Object.is(value, -0)) {
      this.bytes.byte(TAG.double)
      this.bytes.double(value)
    } else if (value >= 0 && value < SMALL_NUMBERS) this.bytes.byte(TAG.small + value)
    else {
      this.bytes.byte(value < 0 ? TAG.negative : TAG.natural)
      this.bytes.varint(value < 0 ? -1 - value : value)
    }
  }

  #text(text: string): void {
    if (this.#again(text)) return
    this.bytes.byte(TAG.text)
    this.seen.add(text)
    this.bytes.text(text)
  }

  #again(thing: unknown): boolean {
    const number = this.seen.find(thing)
    if (number === undefined) return false
    this.bytes.byte(TAG.again)
    this.bytes.varint(number)
    return true
  }

  #object(value: object): void {
    if (this.#again(value)) return
    if (this.#depth >= MAX_DEPTH) throw new TypeError('values are nested too deeply to be recorded')
    this.#depth += 1
    try {
      if (Array.isArray(value)) this.#array(value)
      else if (isPlain(value)) this.#plain(value)
      else this.#instance(value)
    } finally {
      this.#depth -= 1
    }
  }

  #array(values: readonly unknown[]): void {
    this.bytes.byte(TAG.array)
    this.seen.add(values)
    this.bytes.varint(values.length)
    for (let index = 0; index < values.length; index += 1) {
      if (!(index in values)) throw new TypeError("an array with holes can't be recorded")
      this.value(values[index])
    }
  }

  #plain(value: object): void {
    let node = this.#shapes
    let size = 0
    for (const key in value) {
      let next = node.next.get(key)
      if (next === undefined) {
        next = { next: new Map(), plain: undefined, bare: undefined }
        node.next.set(key, next)
      }
      node = next
      size += 1
    }
    const bare = Object.getPrototypeOf(value) === null
    const known = bare ? node.bare : node.plain
    if (known !== undefined) {
      this.bytes.byte(TAG.shaped)
      this.bytes.varint(known)
      this.seen.add(value)
    } else {
      if (bare) node.bare = this.#shapeCount
      else node.plain = this.#shapeCount
      this.#shapeCount += 1
      this.bytes.byte(TAG.object)
      this.bytes.varint(size * 2 + (bare ? 1 : 0))
      this.seen.add(value)
      for (const key in value) this.#text(key)
    }
    const entries = value as Readonly<Record<string, unknown>>
    for (const key in entries) this.value(entries[key])
  }

  #instance(value: object): void {
    if (value instanceof CpuSet) this.#leaf(TAG.cpuSet, value, value.toString())
    else if (value instanceof IoLimits) this.#pairs(TAG.ioLimits, value, value.devices)
    else if (value instanceof Map) this.#pairs(TAG.map, value, value)
    else if (value instanceof Set) {
      this.bytes.byte(TAG.set)
      this.seen.add(value)
      this.bytes.varint(value.size)
      for (const entry of value) this.value(entry)
    } else if (value instanceof KnobTable || value instanceof KnobLayers) this.#table(value)
    else if (isTopology(value)) {
      this.bytes.byte(TAG.topology)
      this.seen.add(value)
      this.value(rawOf(value))
    } else throw new TypeError(`a ${value.constructor.name} can't be recorded`)
  }

  #leaf(tag: number, value: object, text: string): void {
    this.bytes.byte(tag)
    this.seen.add(value)
    this.bytes.text(text)
  }

  #pairs(tag: number, value: object, pairs: ReadonlyMap<unknown, unknown>): void {
    this.bytes.byte(tag)
    this.seen.add(value)
    this.bytes.varint(pairs.size)
    for (const [key, entry] of pairs) {
      this.value(key)
      this.value(entry)
    }
  }

  /** Layers come back as the one table that they read as. */
  #table(value: Pick<KnobTable<unknown>, 'size' | 'forEach'> & object): void {
    this.bytes.byte(TAG.knobTable)
    this.seen.add(value)
    this.bytes.varint(value.size)
    value.forEach((group, kind, entry) => {
      this.value(group)
      this.value(kind)
      this.value(entry)
    })
  }
}

function isPlain(value: object): boolean {
  const prototype: unknown = Object.getPrototypeOf(value)
  return prototype === Object.prototype || prototype === null
}

function isTopology(value: object): value is CpuTopology {
  return 'siblingsOf' in value && 'caches' in value
}

/** Texts of which buildTopology makes the same topology: who shares what is told outright, so nothing is left to its fallbacks. */
function rawOf({ online, cpus, cores, caches, nodes }: CpuTopology): RawTopology {
  return {
    online: online.toString(),
    cpus: cpus.map(({ id, core, socket, cache }) => ({
      id,
      coreId: -1,
      socketId: socket,
      threadSiblings: cores[core]?.cpus.toString() ?? '',
      llcShared: caches[cache]?.cpus.toString(),
    })),
    nodes: nodes.map(({ id, cpus: members }) => ({ id, cpus: members.toString() })),
  }
}
