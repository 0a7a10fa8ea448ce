/** Asking the agent that runs on this node to release it, and what becomes of that. */
import { askHolder, lockOwner, named } from '../actuate/index.ts'
import { AgentError } from '../model/index.ts'
import { formatDuration } from '../record/index.ts'
import { isReleaseOutcome, type ReleaseOutcome } from './release-report.ts'

/** A loop turns every second at the least; a release takes a few, with a cluster that does not answer. */
const PATIENCE = { beginMs: 10_000, finishMs: 30_000 }

export interface AgentRelease {
  readonly pid: number
  readonly outcome: ReleaseOutcome
}

/**
 * What the running agent has put back; undefined where none runs that may write. Throws E_LOCKED for one that can't be asked, one that did not take
 * the request in time and won't take it later, and one whose report did not come.
 */
export async function askAgent(stateDirectory: string, patience = PATIENCE): Promise<AgentRelease | undefined> {
  const pid = (await lockOwner(stateDirectory)) ?? 0
  const asked = await askHolder(stateDirectory, patience)
  const agent = `the agent on this node (${named(pid)})`
  switch (asked.is) {
    case 'nobody':
      return undefined
    case 'deaf':
      throw new AgentError('E_LOCKED', `an agent runs on this node (${named(pid)}) and would suppress again`)
    case 'silent':
      throw new AgentError(
        'E_LOCKED',
        `${agent} has not taken the request within ${formatDuration(patience.beginMs)}: nothing was done`,
        { hint: `See kube-agent status. If it hangs, end it${pid === 0 ? '' : ` (kill -KILL ${pid})`} and run this again.` },
      )
    case 'unfinished':
      throw new AgentError('E_LOCKED', `${agent} has begun, and not finished within ${formatDuration(patience.finishMs)}`, {
        hint: 'It goes on, and writes nothing else any more. Run this again for its report.',
      })
    case 'ended':
      throw new AgentError('E_LOCKED', `${agent} has begun, and its report did not come`, {
        hint: 'It may have ended meanwhile. Run this again: what was put back stays, the rest is on record.',
      })
    case 'released':
      return { pid, outcome: outcomeOf(asked.report, agent) }
  }
}

function outcomeOf(report: string, agent: string): ReleaseOutcome {
  try {
    const outcome: unknown = JSON.parse(report)
    if (isReleaseOutcome(outcome)) return outcome
  } catch {
    // Told below.
  }
  throw new AgentError('E_LOCKED', `${agent} has answered with what is no report`, {
    hint: 'Is it of another version? Stop it, and run this again.',
  })
}
