/** Who is told which rule begins: to take the time, and to know which one a tick has failed in. Nothing comes back from it. */
import type { RuleName } from '../model/index.ts'

export interface DecideWatch {
  /** The rule before it has ended. A rule may begin more than once in a tick, and the merge of all claims counts as the last one's. */
  readonly begins: (rule: RuleName) => void
}

export const UNWATCHED: DecideWatch = { begins: () => undefined }
