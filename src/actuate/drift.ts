/**
 * Notices what others write to the agent's knobs. The plan repairs it anyway, since it is made against the files; this counts it, and past
 * drift.maxPerMinute takes the knob off the agent's hands for drift.concedeMs. A conceded knob is treated like one that no rule wants and
 * that somebody else has written: it leaves the restore journal, so his value stays, also on a release; and when it is taken up again, his
 * value is the original. Only a parent that shrinks still clips it, where the kernel would refuse the parent otherwise.
 *
 * A write that was taken and reads back otherwise at once is not drift: nobody was seen to write, and the kernel may make of it what it likes. But
 * a knob that does so again and again, for the kernel's sake or for that of a writer who is faster than the read, is left alone past the same bound;
 * its original stays on record then, since what it holds may be the agent's doing.
 *
 * Two knobs are never conceded, only called contested: the quota of the best-effort root, and freezing. They are the suppression itself.
 * Fighting for one costs a write of some µs a tick; conceding it would leave online work without protection for minutes, and whoever
 * writes there could not know.
 */
import { CpuSet } from '../cpu/index.ts'
import type {
  DriftNews,
  DriftView,
  GroupPath,
  KernelPort,
  KnobChange,
  KnobDrift,
  KnobKind,
  KnobValue,
  Reading,
  ReadonlyKnobTable,
  Step,
  StepResult,
} from '../model/index.ts'
import { isHeld, isOursByNature, KnobTable } from '../model/index.ts'
import type { Actuator } from './actuator.ts'
import type { RestoreJournal } from './restore-journal.ts'

const MINUTE_MS = 60_000
/** Writes that do not last are tried many times a second on a hot node: one in so long counts. */
const UNHELD_MS = 1000
/** Drift of a knob that was quiet for so long is news again. */
const QUIET_MS = 600_000
/** A node runs some hundred pods with a handful of knobs each; of more the one that drifted longest ago is forgotten. */
const MAX_KNOBS = 1000

export interface DriftWatchOptions {
  readonly journal: RestoreJournal
  readonly actuator: Pick<Actuator, 'isWriting'>
  readonly kernel: Pick<KernelPort, 'groupId'>
}

/** What a tick knows of the node when it looks for drift. */
export interface DriftContext {
  readonly nowMs: number
  readonly online: CpuSet
  /** The group that holds all offline pods. */
  readonly bestEffort: GroupPath
  readonly actual: ReadonlyKnobTable<Reading<KnobValue>>
  readonly settings: { readonly enabled: boolean; readonly maxPerMinute: number; readonly concedeMs: number }
}

interface Known {
  readonly groupId: number | undefined
  /** When it drifted in the last minute, at most as often as the bound asks about. */
  readonly recentMs: readonly number[]
}

/** Writes of the last minute that did not last, at most as many as the bound asks about. */
interface Unheld {
  readonly step: Step
  readonly recentMs: readonly number[]
}

export class DriftWatch {
  readonly #options: DriftWatchOptions
  readonly #knobs = new KnobTable<KnobDrift>()
  readonly #known = new KnobTable<Known>()
  readonly #unheld = new KnobTable<Unheld>()
  #isFirst = true

  constructor(options: DriftWatchOptions) {
    this.#options = options
  }

  /** Whether the knob is left to somebody else now. */
  isConceded(group: GroupPath, kind: KnobKind): boolean {
    return this.#knobs.get(group, kind)?.concededUntilMs !== undefined
  }

  /** Whether it is left alone because it does not keep what is written: what it holds is not put back either. */
  isLeft(group: GroupPath, kind: KnobKind): boolean {
    const drift = this.#knobs.get(group, kind)
    return drift?.unheld === true && drift.concededUntilMs !== undefined
  }

  /** Takes in what became of the writes of a tick. */
  wrote(results: readonly StepResult[], nowMs: number): void {
    for (const { step, outcome } of results) {
      const { group, kind } = step
      const known = this.#unheld.get(group, kind)
      if (outcome.is !== 'mismatch') {
        // A write that lasts is the end of it; one that was not made says nothing.
        if (known !== undefined && outcome.is === 'applied') this.#unheld.delete(group, kind)
        continue
      }
      const recentMs = known?.recentMs.filter((atMs) => nowMs - atMs < MINUTE_MS) ?? []
      const counts = nowMs - (recentMs.at(-1) ?? -Infinity) >= UNHELD_MS
      if (known !== undefined || this.#unheld.size < MAX_KNOBS)
        this.#unheld.set(group, kind, { step, recentMs: counts ? [...recentMs, nowMs] : recentMs })
    }
  }

  /** Judges the readings that changed since the last tick. To be called before the plan is made. */
  notice(changes: readonly KnobChange[], context: DriftContext): DriftView {
    const news: DriftNews[] = []
    const found: Partial<Record<KnobKind, number>> = {}
    const isFirst = this.#isFirst
    this.#isFirst = false
    if (!context.settings.enabled) {
      for (const group of this.#knobs.groups()) this.#forget(group)
      for (const group of this.#unheld.groups()) this.#unheld.delete(group)
      return { knobs: this.#knobs, found, news }
    }
    this.#expire(context, news)
    // Of a group that was made anew nothing was written yet.
    if (changes.length > 0) this.#options.journal.dropRemade(new Set(changes.map(({ group }) => group)))
    for (const change of isFirst ? [...this.#writtenMeanwhile(context), ...changes] : changes) {
      const ours = this.#options.journal.entries.get(change.group, change.kind)?.ours[0]
      if (ours === undefined || !this.#isForeign(change, ours, context)) continue
      found[change.kind] = (found[change.kind] ?? 0) + 1
      this.#count(change, ours, { context, news })
    }
    this.#leaveUnheld({ context, news })
    return { knobs: this.#knobs, found, news }
  }

  /** Knobs that have not kept what was written for more than the bound in a minute. */
  #leaveUnheld({ context, news }: { readonly context: DriftContext; readonly news: DriftNews[] }): void {
    const { nowMs, actual, settings } = context
    for (const [group, kind, { step, recentMs }] of this.#unheld.entries()) {
      const recent = recentMs.filter((atMs) => nowMs - atMs < MINUTE_MS)
      const found = actual.get(group, kind)?.value
      if (recent.length === 0 || found === undefined) this.#unheld.delete(group, kind)
      if (recent.length <= settings.maxPerMinute || found === undefined) continue
      this.#unheld.delete(group, kind)
      const drift = { group, kind, count: recent.length, lastMs: nowMs, found, ours: step.value, unheld: true } as const
      this.#putPastBound(drift, { context, news })
    }
  }

  /** A knob past the bound is left alone for a while; one that is suppression itself is only told of. */
  #putPastBound(drift: KnobDrift, { context, news }: { readonly context: DriftContext; readonly news: DriftNews[] }): void {
    const { group, kind } = drift
    const { nowMs, bestEffort, settings } = context
    const before = this.#knobs.get(group, kind)
    if (before === undefined) this.#makeRoom()
    const isKept = isSuppression(group, kind, bestEffort)
    const told: KnobDrift = isKept ? { ...drift, contested: true } : { ...drift, concededUntilMs: nowMs + settings.concedeMs }
    this.#knobs.set(group, kind, told)
    this.#known.set(group, kind, { groupId: this.#idOf(group), recentMs: [] })
    if (!isKept) news.push({ is: 'conceded', drift: told })
    else if (before?.contested !== true) news.push({ is: 'contested', drift: told })
  }

  /** Written by somebody else while no agent ran: a restarted one finds neither what it had written nor what was there before. */
  #writtenMeanwhile({ actual }: DriftContext): readonly KnobChange[] {
    const changes: KnobChange[] = []
    const { journal } = this.#options
    journal.entries.forEach((group, kind, { ours: [newest] }) => {
      const value = actual.get(group, kind)?.value
      // Limits of devices are compared device by device, which the plan does.
      if (value === undefined || newest === undefined || kind === 'ioMax' || journal.knows(group, kind, value)) return
      changes.push({ group, kind, was: newest, value })
    })
    return changes
  }

  /** Whether the knob held what the agent wrote last, and what it holds now is neither that nor what the kernel makes of it. */
  #isForeign({ group, kind, was, value }: KnobChange, ours: KnobValue, { online, actual }: DriftContext): boolean {
    // It follows the processes of the group, which come and go: nobody need have written it.
    if (kind === 'coreCookie' || isOursByNature(kind, value)) return false
    if (!isHeld(was, ours) || isHeld(value, ours) || this.#options.actuator.isWriting(group, kind)) return false
    // Kernel: under v1 a CPU that goes offline leaves every set (cpuset_hotplug_update_tasks).
    if (was instanceof CpuSet && value instanceof CpuSet && was.intersect(online).equals(value)) return false
    // Kernel: while idle is set the weight reads the same for all.
    return kind !== 'weight' || actual.get(group, 'idle')?.value !== 1
  }

  #count(
    { group, kind, value }: KnobChange,
    ours: KnobValue,
    { context, news }: { readonly context: DriftContext; readonly news: DriftNews[] },
  ): void {
    const { nowMs, bestEffort, settings } = context
    const before = this.#knobs.get(group, kind)
    if (before === undefined) this.#makeRoom()
    const earlier = this.#known.get(group, kind)?.recentMs.filter((atMs) => nowMs - atMs < MINUTE_MS) ?? []
    const recentMs = [...earlier, nowMs].slice(-settings.maxPerMinute - 1)
    const isPast = recentMs.length > settings.maxPerMinute
    const isKept = isSuppression(group, kind, bestEffort)
    const isConceded = isPast && !isKept
    const drift: KnobDrift = {
      group,
      kind,
      count: (before?.count ?? 0) + 1,
      lastMs: nowMs,
      found: value,
      ours,
      ...(isConceded ? { concededUntilMs: nowMs + settings.concedeMs } : {}),
      ...(isPast && isKept ? { contested: true } : {}),
    }
    this.#knobs.set(group, kind, drift)
    this.#known.set(group, kind, { groupId: this.#idOf(group), recentMs: isConceded ? [] : recentMs })
    if (isConceded) this.#options.journal.close(group, kind)
    if (isConceded) news.push({ is: 'conceded', drift })
    else if (drift.contested === true && before?.contested !== true) news.push({ is: 'contested', drift })
    else if (before === undefined || nowMs - before.lastMs >= QUIET_MS) news.push({ is: 'first', drift })
  }

  /** Concessions end, and what is over is forgotten. */
  #expire({ nowMs }: DriftContext, news: DriftNews[]): void {
    for (const [group, kind, drift] of this.#knobs.entries()) {
      const { concededUntilMs, contested, lastMs } = drift
      const { concededUntilMs: _until, contested: _contested, ...rest } = drift
      if (concededUntilMs !== undefined) {
        if (this.#idOf(group) !== this.#known.get(group, kind)?.groupId) this.#forget(group)
        else if (nowMs >= concededUntilMs) {
          this.#knobs.set(group, kind, rest)
          news.push({ is: 'retried', drift: rest })
        }
      } else if (nowMs - lastMs >= 2 * QUIET_MS) {
        this.#knobs.delete(group, kind)
        this.#known.delete(group, kind)
      } else if (contested === true && nowMs - lastMs >= MINUTE_MS) this.#knobs.set(group, kind, rest)
    }
  }

  #makeRoom(): void {
    if (this.#knobs.size < MAX_KNOBS) return
    let oldest: KnobDrift | undefined
    this.#knobs.forEach((_group, _kind, drift) => {
      if (oldest === undefined || drift.lastMs < oldest.lastMs) oldest = drift
    })
    if (oldest === undefined) return
    this.#knobs.delete(oldest.group, oldest.kind)
    this.#known.delete(oldest.group, oldest.kind)
  }

  /** Undefined for a group that is gone; a kernel that does not answer leaves what was known. */
  #idOf(group: GroupPath): number | undefined {
    try {
      return this.#options.kernel.groupId(group)
    } catch {
      return this.#known.ofGroup(group)?.values().next().value?.groupId
    }
  }

  #forget(group: GroupPath): void {
    this.#knobs.delete(group)
    this.#known.delete(group)
  }
}

/**
 * What fighting for costs some µs a tick, and conceding would leave online work without protection: freezing, and the quotas of all offline
 * pods, of which the ones below the root hold them where online pods live there too.
 */
function isSuppression(group: GroupPath, kind: KnobKind, bestEffort: GroupPath): boolean {
  return kind === 'freeze' || (kind === 'quota' && (group === bestEffort || group.startsWith(`${bestEffort}/`)))
}
