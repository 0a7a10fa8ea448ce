/** What is said of a restore journal that could not be read in full, for as long as the damaged file is kept. Nothing here throws but where said. */
import type { GroupPath } from '../model/index.ts'
import { AgentError, messageOf } from '../model/index.ts'
import type { JournalContents } from './journal-text.ts'
import { keepDamaged, keptJournals } from './kept-journals.ts'

/** Knobs that are named; the file that is kept tells of the others. */
const NAMED = 5

interface Judging {
  /** Knobs whose original could be read, of groups that are there. */
  readonly restorable: number
  readonly isThere: (group: GroupPath) => boolean
}

export class JournalDamage {
  readonly #path: string
  readonly #bootId: string
  #text: string | undefined
  /** The text is true for as long as one of these is there; none where nothing could be kept. */
  #kept: readonly string[] = []

  constructor(path: string, bootId: string) {
    this.#path = path
    this.#bootId = bootId
  }

  /** In words that name the files; undefined where nothing is damaged, or what was damaged has been removed. */
  get text(): string | undefined {
    return this.#text
  }

  /**
   * Keeps a file that was found to be damaged. Throws E_STATE_DIR where it can't be kept and nothing of it could be read: it would be lost with the
   * file that takes its place.
   */
  found(contents: JournalContents, judging: Judging): void {
    const isUnknown = contents.boot === 'unknown'
    if (isUnknown || (contents.boot === 'this' && contents.isDamaged)) {
      this.#text = `${whatIsLost(this.#path, contents, judging)}; ${this.#keep(isUnknown)}`
      return
    }
    this.#kept = this.#list()
    if (this.#kept.length > 0)
      this.#text = `a damaged one of this boot is kept as ${this.#kept.join(' and ')}: what it alone told of is not put back`
  }

  /** Whether the files are still there: removing them is how a person says that it has been seen to. */
  lookAgain(): void {
    if (this.#kept.length === 0) return
    const there = this.#list()
    if (there.length === 0) [this.#text, this.#kept] = [undefined, []]
  }

  #keep(isUnknown: boolean): string {
    try {
      const kept = keepDamaged(this.#path, this.#bootId)
      if (kept === undefined) return 'it was not kept, since enough of this boot are: see the damaged ones beside it'
      this.#kept = [kept]
      return `it is kept as ${kept}`
    } catch (thrown) {
      const why = `it can't be kept: ${messageOf(thrown)}`
      if (isUnknown) {
        throw new AgentError('E_STATE_DIR', `${this.#path} is damaged, and ${why}`, {
          hint: 'Move it away by hand, or remove it to give its originals up; then start again.',
          cause: thrown,
        })
      }
      return why
    }
  }

  #list(): readonly string[] {
    try {
      return keptJournals(this.#path, this.#bootId)
    } catch {
      return this.#kept
    }
  }
}

function whatIsLost(path: string, { boot, damagedLines, lost }: JournalContents, { restorable, isThere }: Judging): string {
  const lines = `${damagedLines} ${damagedLines === 1 ? 'line' : 'lines'}`
  if (boot === 'unknown')
    return `${path}: no line says of which boot it is (${lines} can't be read), so nothing of it is put back`
  const knobs = [...lost.entries()].flatMap(([group, kind]) => (isThere(group) ? [`${kind} of ${group}`] : []))
  const named = knobs.slice(0, NAMED).join(', ') + (knobs.length > NAMED ? ` and ${knobs.length - NAMED} more` : '')
  const originals = knobs.length === 0 ? '' : `; gone is the original of ${named}`
  return `${path}: ${lines} can't be read, ${restorable} ${restorable === 1 ? 'knob' : 'knobs'} can be put back${originals}`
}
