/**
 * Standing down: somebody asks a running agent to release the node. It is taken up on a beat of the loop, so never within a tick. From then on the
 * agent decides as in the mode observe and writes nothing more until it is started anew; else the next tick would write again what was
 * put back.
 *
 *   asked ──beat──▶ stands down ──slow writes have ended, or GRACE_MS──▶ released ──asked again──▶ released
 */
import type { Actuator, ReleaseReport } from '../actuate/index.ts'
import type { Instant } from '../model/index.ts'

/** How long a write that reclaims memory may go on: what is released before it ends may be undone by it. */
const GRACE_MS = 2000

/** Somebody asks for a release. */
export interface ReleaseAsk {
  /** Whether somebody still waits for it: nothing is done for one who has left. */
  readonly isWanted: boolean
  /** It has begun, and will be finished whoever leaves. */
  begin(): void
  /** `underWay` is how many slow writes go on: what they write is not put back. */
  done(report: ReleaseReport, underWay: number): void
  failed(thrown: unknown): void
}

/** What there is to do. */
export interface Releasing {
  readonly actuator: Actuator
  readonly release: () => ReleaseReport
}

export class StandDown {
  #asked: ReleaseAsk[] = []
  #begun: ReleaseAsk[] = []
  #begunMs = -Infinity
  #sinceWallMs: number | undefined

  /** When the agent stood down, by the wall clock; undefined while it has not. */
  get sinceWallMs(): number | undefined {
    return this.#sinceWallMs
  }

  /** Whether a beat has something to do here. */
  get isAsked(): boolean {
    return this.#asked.length > 0 || this.#begun.length > 0
  }

  ask(ask: ReleaseAsk): void {
    this.#asked.push(ask)
  }

  /** Takes up what was asked, and finishes what can be. Never throws. */
  beat({ nowMs, wallMs }: Instant, { actuator, release }: Releasing): void {
    const wanted = this.#asked.splice(0).filter(({ isWanted }) => isWanted)
    if (wanted.length > 0) {
      if (this.#begun.length === 0) this.#begunMs = nowMs
      this.#sinceWallMs ??= wallMs
      for (const ask of wanted) ask.begin()
      this.#begun.push(...wanted)
    }
    if (this.#begun.length === 0) return
    try {
      // What waits is wanted no more; what runs can't be stopped.
      actuator.apply([], { limited: false })
      const { underWay } = actuator
      if (underWay > 0 && nowMs - this.#begunMs < GRACE_MS) return
      const report = release()
      for (const ask of this.#begun.splice(0)) ask.done(report, underWay)
    } catch (thrown) {
      for (const ask of this.#begun.splice(0)) ask.failed(thrown)
    }
  }
}
