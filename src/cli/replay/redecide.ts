/**
 * Decides a recording again. Each tick is decided with the settings that were in force, which has to give what the agent decided then, and with
 * others where there are any. The other decisions are not carried out, so the node goes on as it was recorded: open loop.
 */
import type { Config } from '../../config/index.ts'
import { decide, type Memory } from '../../decide/index.ts'
import { type Decision, messageOf, type NodeSnapshot } from '../../model/index.ts'
import { type ConfigMaker, differencesOf, digestOf, type RecordedSegment, type TickDigest } from '../../record/index.ts'

export interface RedecideOptions {
  /** The configuration to decide with, of the recorded settings; undefined to decide with the recorded ones only. */
  readonly variantOf?: (settings: unknown) => Config
  /** Ticks before or after are decided on, since what comes later depends on them, and not told. Milliseconds since the epoch. */
  readonly fromMs: number
  readonly toMs: number
}

/** One tick, decided again. */
export interface Redecided {
  readonly snapshot: NodeSnapshot
  /** As this version decides with the recorded settings. */
  readonly recorded: Decision
  /** With the other settings; the same as `recorded` where there are none. */
  readonly replayed: Decision
  readonly config: Config
  readonly variant: Config
  /** What the agent said that it had decided, and did. */
  readonly digest: TickDigest
  /** What `recorded` differs in from what the agent decided; empty when it does not. */
  readonly unlike: readonly string[]
}

/** What can't be told tick by tick; filled in while the ticks come. */
export interface RedecideNotes {
  /** Ticks that failed when they were recorded, and so decided nothing. */
  failedTicks: number
  /** Times that ticks are missing between two segments, or the agent was started anew: the other settings then begin with the agent's memory again. */
  gaps: number
  /** Why a tick could not be decided with the other settings, the first time. */
  variantFailure?: string
  variantFailures: number
}

export function emptyNotes(): RedecideNotes {
  return { failedTicks: 0, gaps: 0, variantFailures: 0 }
}

/** Two lines of decisions through one recording. */
class Redecider {
  readonly #options: RedecideOptions
  readonly #notes: RedecideNotes
  #config: Config | undefined
  #variant: Config | undefined
  /** Undefined before a segment has told one. */
  #memory: Memory | undefined
  #variantMemory: Memory | undefined
  #session = ''
  #lastSeq: number | undefined

  constructor(options: RedecideOptions, notes: RedecideNotes) {
    this.#options = options
    this.#notes = notes
  }

  *segment({ header, entries }: RecordedSegment): Generator<Redecided> {
    let carried = this.#session === header.session
    this.#session = header.session
    let pending: NodeSnapshot | undefined
    for (const entry of entries) {
      if (entry.is === 'configuration') this.#configure(entry.config as Config, entry.settings)
      else if (entry.is === 'memory') this.#memory = entry.memory as Memory
      else if (entry.is === 'tick') {
        if (pending !== undefined) this.#notes.failedTicks += 1
        pending = entry.snapshot
        carried &&= this.#lastSeq === undefined || pending.seq === this.#lastSeq + 1
        if (!carried) this.#begin()
        carried = true
        this.#lastSeq = pending.seq
        // Decided when the digest tells that the agent did; what follows reads over it.
      } else if (pending !== undefined) {
        const decided = this.#decide(pending, entry.digest)
        pending = undefined
        if (decided !== undefined) yield decided
      }
    }
    if (pending !== undefined) this.#lastSeq = undefined
  }

  #configure(config: Config, settings: unknown): void {
    const { variantOf } = this.#options
    // What stays the same object is what the rules take for unchanged.
    if (config !== this.#config) this.#variant = variantOf === undefined ? config : variantOf(settings)
    this.#config = config
  }

  /** The other line begins where the recorded one stands. */
  #begin(): void {
    if (this.#variantMemory !== undefined) this.#notes.gaps += 1
    this.#variantMemory = this.#memory
  }

  #decide(snapshot: NodeSnapshot, digest: TickDigest): Redecided | undefined {
    const [config, variant, before] = [this.#config, this.#variant, this.#memory]
    if (config === undefined || variant === undefined || before === undefined) return undefined
    const { decision: recorded, memory } = decide(snapshot, before, config)
    this.#memory = memory
    const replayed = this.#options.variantOf === undefined ? recorded : this.#decideVariant(snapshot, variant)
    const { fromMs, toMs } = this.#options
    if (replayed === undefined || snapshot.wallMs < fromMs || snapshot.wallMs > toMs) return undefined
    return { snapshot, recorded, replayed, config, variant, digest, unlike: differencesOf(digest, digestOf(recorded)) }
  }

  /** A tick that breaks an invariant with the other settings decides nothing, as it would in an agent. */
  #decideVariant(snapshot: NodeSnapshot, variant: Config): Decision | undefined {
    if (this.#variantMemory === undefined) return undefined
    try {
      const { decision, memory } = decide(snapshot, this.#variantMemory, variant)
      this.#variantMemory = memory
      return decision
    } catch (thrown) {
      this.#notes.variantFailures += 1
      this.#notes.variantFailure ??= messageOf(thrown)
      return undefined
    }
  }
}

/** Decides every tick of a recording again, in order. Throws E_BUG when this version can't decide what was recorded, and what reading throws. */
export function* redecide(
  segments: Iterable<RecordedSegment>,
  options: RedecideOptions,
  notes: RedecideNotes,
): Generator<Redecided> {
  const redecider = new Redecider(options, notes)
  for (const segment of segments) yield* redecider.segment(segment)
}

/** Makes configurations of recorded settings: the same object while they stay the same, also from one segment to the next. */
export function configsOf(load: (settings: unknown) => Config): ConfigMaker {
  let text = ''
  let config: Config | undefined
  return (settings, anew) => {
    const next = JSON.stringify(settings)
    if (config === undefined || anew || next !== text) config = load(settings)
    text = next
    return config
  }
}
