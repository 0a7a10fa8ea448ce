/**
 * How each rule is doing: whether it could decide, and on calm ticks how long it took. The rules themselves are pure and know no clock; they
 * say which of them begins, and the time is taken here.
 */
import type { Config } from '../config/index.ts'
import type { DecideWatch } from '../decide/index.ts'
import { type Abstention, type Decision, RULES, type Run, RunClock, type RuleName } from '../model/index.ts'

/** Whether a rule is switched on. Total, so that a new rule without a switch does not compile. */
const IS_ON: Readonly<Record<RuleName, (config: Config) => boolean>> = {
  placement: ({ placement }) => placement.enabled,
  identity: ({ identity }) => identity.enabled,
  limits: ({ limits }) => limits.enabled,
  suppressCpu: ({ suppressCpu }) => suppressCpu.enabled,
  suppressMemory: ({ suppressMemory }) => suppressMemory.enabled,
  suppressIo: ({ suppressIo }) => suppressIo.enabled,
  evict: ({ evict }) => evict.enabled,
  capacity: ({ capacity }) => capacity.enabled,
  nodeSignals: ({ nodeSignals }) => nodeSignals.enabled,
  burst: ({ burst }) => burst.enabled,
  own: () => true,
}

const SILENT = 'abstains: a reading that it needs is missing or too old'

export class RuleRuns {
  readonly #clock: RunClock<RuleName>
  readonly #watch: DecideWatch

  /** `stopwatch` gives monotonic ms. */
  constructor(stopwatch: () => number) {
    const clock = new RunClock(RULES, stopwatch)
    this.#clock = clock
    this.#watch = { begins: (rule) => clock.enter(rule) }
  }

  get runs(): Iterable<Run> {
    return this.#clock.runs
  }

  /** Lets the rules decide; each is timed when `isTimed`. */
  run<T>(isTimed: boolean, decide: (watch: DecideWatch) => T): T {
    this.#clock.begin(isTimed)
    const decided = decide(this.#watch)
    this.#clock.end()
    return decided
  }

  /** Takes how the rules fared on a tick that was decided. */
  judge({ abstentions }: Pick<Decision, 'abstentions'>, config: Config, nowMs: number): void {
    for (const rule of RULES) {
      const run = this.#clock.of(rule)
      const is = (code: Abstention['code']): boolean => abstentions.some((one) => one.rule === rule && one.code === code)
      if (!IS_ON[rule](config)) run.off()
      else if (is('silent')) run.failed(SILENT, nowMs)
      // Neither well nor failing: it is too early to tell.
      else if (!is('starting')) run.ok(nowMs)
    }
  }

  /** The tick has thrown: the rule that had begun is to blame. False when it was none. */
  threw(why: string, nowMs: number): boolean {
    return this.#clock.threw(why, nowMs)
  }
}
