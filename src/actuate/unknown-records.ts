/**
 * Knobs on record of kinds that this agent does not know: one after it has put them there, on the same boot and in the same format. Nothing of
 * them can be read or written here, so their lines are kept as they are, for whichever agent can put them back.
 */
import type { GroupPath } from '../model/index.ts'
import type { UnknownRecord } from './records.ts'

/** Lines about values that are kept of one knob: as many as an agent of this version keeps of its own. */
const KEPT_LINES = 3

export interface UnknownKnob {
  readonly group: GroupPath
  /** As in the record. */
  readonly kind: string
}

interface Kept extends UnknownKnob {
  readonly groupId: number
  readonly original: string
  /** About values that were written, the last one at the end. */
  readonly wrote: readonly string[]
}

export class UnknownRecords {
  readonly #kept = new Map<string, Kept>()

  /** Takes the next line of the file. `isOfThis` tells whether an original is of this boot. */
  take(record: UnknownRecord, isOfThis: boolean): void {
    const { of, group, kind, line } = record
    const key = `${kind} ${group}`
    const kept = this.#kept.get(key)
    if (of === 'original') {
      if (isOfThis) this.#kept.set(key, { group, kind, groupId: record.groupId, original: line, wrote: [] })
    } else if (of === 'closed') this.#kept.delete(key)
    else if (kept !== undefined) this.#kept.set(key, { ...kept, wrote: [...kept.wrote, line].slice(-KEPT_LINES) })
  }

  /** Drops those of groups that are gone or were made anew. A group that nothing can be said of just now keeps its own. */
  prune(identityOf: (group: GroupPath) => number | 'unknown' | undefined): void {
    for (const [key, { group, groupId }] of this.#kept) {
      const now = identityOf(group)
      if (now !== 'unknown' && now !== groupId) this.#kept.delete(key)
    }
  }

  get knobs(): readonly UnknownKnob[] {
    return [...this.#kept.values()].map(({ group, kind }) => ({ group, kind }))
  }

  /** Their lines as they were found, each with its line feed. */
  get text(): string {
    return [...this.#kept.values()].flatMap(({ original, wrote }) => [original, ...wrote].map((line) => `${line}\n`)).join('')
  }
}
