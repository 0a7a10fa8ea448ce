/**
 * Where a running agent takes requests of `kube-agent release`, which come over the socket of its lock: they are handed to the loop, and answered with
 * the report that the verb prints. What comes while the agent starts waits for it.
 */
import type { ReleaseHandler, ReleaseReport, ReleaseRequest } from '../actuate/index.ts'
import type { Agent, Loop, Writing } from '../agent/index.ts'
import { messageOf } from '../model/index.ts'
import { count, type Logger } from '../record/index.ts'
import { type ReleaseOutcome, releaseOutcome } from './release-report.ts'

export interface ReleaseParts {
  readonly agent: Pick<Agent, 'askRelease'>
  readonly loop: Pick<Loop, 'wantTick'>
  readonly writing: Writing
  readonly logger: Pick<Logger, 'info' | 'warn'>
  /** Takes back what the cluster was told of the node; resolves with why that failed. */
  readonly withdraw: () => Promise<string | undefined>
}

export class ReleaseDesk {
  #parts: ReleaseParts | undefined
  #early: ReleaseRequest[] = []

  readonly take: ReleaseHandler = (request) => {
    if (this.#parts === undefined) this.#early.push(request)
    else hand(request, this.#parts)
  }

  /** From now on there is somebody who can do it. */
  open(parts: ReleaseParts): void {
    this.#parts = parts
    for (const request of this.#early.splice(0)) hand(request, parts)
  }
}

function hand(request: ReleaseRequest, parts: ReleaseParts): void {
  const answer = (outcome: ReleaseOutcome): void => request.answer(JSON.stringify(outcome))
  parts.agent.askRelease({
    get isWanted() {
      return request.isWanted
    },
    begin: () => request.begin(),
    done: (report, underWay) => void conclude(report, underWay, parts).then(answer),
    failed: (thrown) => {
      parts.logger.warn({ problem: messageOf(thrown) }, 'release failed: nothing more is written until the agent is restarted')
      answer({ isWhole: false, text: `not released: ${messageOf(thrown)}`, data: { problem: messageOf(thrown) } })
    },
  })
  // Beats may come seldom just now.
  parts.loop.wantTick()
}

/** Never rejects. */
async function conclude(report: ReleaseReport, underWay: number, parts: ReleaseParts): Promise<ReleaseOutcome> {
  const { writing, logger } = parts
  const { restored, foreign, failed } = report
  const counts = { restored, failed: failed.length, foreign: foreign.length }
  logger.warn(counts, 'released by kube-agent release: nothing more is written until the agent is restarted')
  const inCluster = await parts.withdraw().catch(messageOf)
  const { marks, health } = writing.journal
  return releaseOutcome(report, {
    inCluster,
    onGroups: marks.left,
    damage: health.damage,
    underWay: underWay === 0 ? undefined : `${count(underWay, 'write')} of limits may take effect yet; run it again`,
  })
}
