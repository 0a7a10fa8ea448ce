/**
 * The entries of a recording, in the order in which they are written:
 *   configuration   at the start of a segment, and whenever another one came into force
 *   memory          of the rules, once, at the start of a segment
 *   tick            what was read, right before it was decided on
 *   digest          what was decided and done; a tick without one failed, and the rules remember nothing of it
 * A segment begins with a calm tick. The encoder's side runs in the loop, so it makes little and writes to memory only.
 */
import type { NodeSnapshot } from '../../model/index.ts'
import { ByteReader } from './bytes.ts'
import { type KnownTopologies, ValueDecoder } from './decode.ts'
import type { TickDigest } from './digest.ts'
import { ValueEncoder } from './encode.ts'
import { KnobDeltaDecoder, KnobDeltaEncoder } from './knob-delta.ts'

const ENTRY = { configuration: 1, memory: 2, tick: 3, digest: 4 } as const

/** A configuration as the program holds it: settings by block. This room knows nothing else of it. */
export type ConfigObject = Readonly<Record<string, unknown>>

/**
 * Makes the configuration that some settings stand for. What the rules take for unchanged is the same object: `anew` says that another one came
 * into force, even if its settings are the same.
 */
export type ConfigMaker = (settings: unknown, anew: boolean) => ConfigObject

export type Entry =
  /** `settings` as a file would have them. */
  | { readonly is: 'configuration'; readonly config: ConfigObject; readonly settings: unknown }
  | { readonly is: 'memory'; readonly memory: unknown }
  /** The snapshot is good until the next entry is read. */
  | { readonly is: 'tick'; readonly snapshot: NodeSnapshot }
  | { readonly is: 'digest'; readonly digest: TickDigest }

export class EntryEncoder {
  readonly #values = new ValueEncoder()
  readonly #knobs = new KnobDeltaEncoder(this.#values)

  /** Bytes that `take` would give. */
  get length(): number {
    return this.#values.bytes.length
  }

  /** What was written since the last call. */
  take(): Buffer {
    return this.#values.bytes.take()
  }

  configuration(config: ConfigObject, settings: unknown): void {
    const { bytes, seen } = this.#values
    const blocks = Object.keys(config).filter((name) => typeof config[name] === 'object')
    bytes.byte(ENTRY.configuration)
    this.#values.value(settings)
    this.#values.value(blocks)
    // A memory refers to the configuration that it was made under, and to blocks of it.
    for (const thing of [config, ...blocks.map((name) => config[name])]) seen.add(thing)
  }

  memory(memory: unknown): void {
    this.#values.bytes.byte(ENTRY.memory)
    this.#values.value(memory)
  }

  tick(snapshot: NodeSnapshot): void {
    const { actual, nowMs, ...rest } = snapshot
    const { bytes, seen } = this.#values
    bytes.byte(ENTRY.tick)
    bytes.byte(snapshot.pace === 'calm' ? 1 : 0)
    bytes.double(nowMs)
    // A hot tick comes within a calm pause, and holds what the calm one before it read.
    if (snapshot.pace === 'calm') seen.rotate()
    this.#values.nowMs = nowMs
    this.#values.value(rest)
    this.#knobs.write(actual)
  }

  digest(digest: TickDigest): void {
    this.#values.bytes.byte(ENTRY.digest)
    this.#values.value(digest)
  }
}

export interface EntryDecoderOptions {
  readonly configOf: ConfigMaker
  readonly topologies: KnownTopologies
}

export class EntryDecoder {
  readonly #values: ValueDecoder
  readonly #knobs: KnobDeltaDecoder
  readonly #configOf: ConfigMaker
  #isConfigured = false

  constructor({ configOf, topologies }: EntryDecoderOptions) {
    this.#values = new ValueDecoder(topologies)
    this.#knobs = new KnobDeltaDecoder(this.#values)
    this.#configOf = configOf
  }

  /** The entries of a block. Throws RangeError for bytes that are none, and what `configOf` throws. */
  *read(block: Buffer): Generator<Entry> {
    const bytes = new ByteReader(block)
    this.#values.feed(bytes)
    while (!bytes.atEnd) yield this.#entry(bytes)
  }

  #entry(bytes: ByteReader): Entry {
    const is = bytes.byte()
    switch (is) {
      case ENTRY.configuration:
        return this.#configuration()
      case ENTRY.memory:
        return { is: 'memory', memory: this.#values.value() }
      case ENTRY.tick:
        return { is: 'tick', snapshot: this.#tick(bytes) }
      case ENTRY.digest:
        return { is: 'digest', digest: this.#values.value() as TickDigest }
      default:
        throw new RangeError(`no entry begins with ${is}`)
    }
  }

  #configuration(): Entry {
    const settings = this.#values.value()
    const blocks = this.#values.value()
    if (!Array.isArray(blocks)) throw new RangeError('a configuration without blocks')
    const config = this.#configOf(settings, this.#isConfigured)
    this.#isConfigured = true
    const { seen } = this.#values
    for (const thing of [config, ...(blocks as string[]).map((name) => config[name])]) seen.tell(seen.reserve(), thing)
    return { is: 'configuration', config, settings }
  }

  #tick(bytes: ByteReader): NodeSnapshot {
    const calm = bytes.byte() === 1
    const nowMs = bytes.double()
    if (calm) this.#values.seen.rotate()
    this.#values.nowMs = nowMs
    const rest = this.#values.value() as Omit<NodeSnapshot, 'actual' | 'nowMs'>
    const actual = this.#knobs.read(bytes)
    return { ...rest, nowMs, actual }
  }
}
