/**
 * Writes that may take seconds, in a test's own time: while `hold` is set a slow write waits until the test ends it. Nothing here is timed.
 */
import type { GroupPath, KnobSetting, Outcome } from '../model/index.ts'

interface HeldWrite {
  readonly group: GroupPath
  readonly setting: KnobSetting
  readonly end: () => void
}

export class SlowWrites {
  /** Whether slow writes wait. Those that wait already go on waiting when it is cleared. */
  hold = false
  readonly #waiting: HeldWrite[] = []

  /** Those that wait, the oldest first. */
  get waiting(): readonly Pick<HeldWrite, 'group' | 'setting'>[] {
    return this.#waiting
  }

  /** `outcome` is asked for when the write ends. */
  take(group: GroupPath, setting: KnobSetting, outcome: () => Outcome): Promise<Outcome> {
    return new Promise((resolve) => this.#waiting.push({ group, setting, end: () => resolve(outcome()) }))
  }

  /** Ends the oldest; false when none waits. */
  finish(): boolean {
    const oldest = this.#waiting.shift()
    oldest?.end()
    return oldest !== undefined
  }
}
