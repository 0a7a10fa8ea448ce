/** What keeps the restore journal small and true between ticks. */
import type { RestoreJournal } from '../actuate/index.ts'
import type { Decision, GroupPath, KnobKind, NodeSnapshot } from '../model/index.ts'
import { isOurs } from '../plan/index.ts'

/** Drops records of groups that are gone, gives up knobs that others have taken over, and rewrites the file when it has grown large. */
export function keepJournal(journal: RestoreJournal, decision: Decision, actual: NodeSnapshot['actual']): void {
  journal.prune()
  if (decision.complete) concede(journal, decision, actual)
  journal.compactIfLarge()
}

/** A knob that no rule wants and that somebody else has written is theirs: its original must not come back with a later claim. */
function concede(journal: RestoreJournal, { desired }: Decision, actual: NodeSnapshot['actual']): void {
  const theirs: [GroupPath, KnobKind][] = []
  for (const [group, kind, entry] of journal.entries.entries()) {
    const reading = actual.get(group, kind)
    // What a weight reads while idle is set is nobody's writing.
    if (kind === 'weight' || reading === undefined || desired.get(group, kind) !== undefined) continue
    if (!isOurs(kind, reading.value, entry)) theirs.push([group, kind])
  }
  for (const [group, kind] of theirs) journal.close(group, kind)
}
