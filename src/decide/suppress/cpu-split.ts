/**
 * What BE pods may use one by one, where an online pod lives below the same root and a quota on that would hold the online pod with them. The
 * amount for all of them is split by what they asked for. What a pod leaves unused goes to those that use up theirs, so that little of it is
 * lost: from one look at the pods to the next, half a second or more, and back at once when the pod uses up what it was left with.
 * Pure: the parts as they stood come in, the parts as they stand go out.
 */
import type { Config } from '../../config/types.ts'
import type { ClassifiedPod, NodeSnapshot } from '../../model/index.ts'
import { DEFAULT_PERIOD_US, MIN_QUOTA_US, quotaMilliCpu } from '../../model/index.ts'
import { isObserved } from '../observed.ts'
import { reasonable } from '../peak.ts'

/** Kernel: the smallest quota there is, 1 ms in 100 ms. */
export const LEAST_POD_MILLI = quotaMilliCpu({ quotaUs: MIN_QUOTA_US, periodUs: DEFAULT_PERIOD_US })

/** A pod that uses this much of what it may is held back by it: what it would use is not known. */
const HUNGRY = 0.85
/** A pod is left so much that its use is this part of it; and that stays while its use is between LAZY and HUNGRY of it. */
const EASY = 0.7
const LAZY = 0.5
/** In ms. A pod's use is averaged over at least as long (sense/pod-readings.ts): within less it tells of a quota before the last one. */
const JUDGE_MS = 500

/** What a pod has, in milli-CPU. */
export interface PodPart {
  readonly milli: number
  /** The least that it had since it was last judged. */
  readonly leastMilli: number
  /** What it is taken to want; undefined while it is hungry, or new. */
  readonly wantsMilli?: number
}

/** The parts of all BE pods, by UID, in the order of the UIDs. */
export interface BeSplit {
  readonly parts: ReadonlyMap<string, PodPart>
  /** When pods were last judged by their use. */
  readonly judgedMs: number
}

interface Eater {
  readonly pod: ClassifiedPod
  /** What it asked for; the least where it asked for none. */
  readonly share: number
  /** More than this its own limit does not let it use; Infinity for no limit. */
  readonly mostMilli: number
  readonly wantsMilli: number | undefined
}

/** Splits `totalMilli` between these BE pods, which are there. All parts together are at most that, but for those that are the least there is. */
export function splitBe(
  { pace, nowMs }: NodeSnapshot,
  pods: readonly ClassifiedPod[],
  { totalMilli, before }: { readonly totalMilli: number; readonly before: BeSplit | undefined },
  config: Config,
): BeSplit {
  const judges = pace === 'calm' && nowMs - (before?.judgedMs ?? -Infinity) >= JUDGE_MS
  const limited = config.limits.enabled && !isObserved('limits', config)
  const table = pods.toSorted(byUid).map((pod): Eater => {
    const { reading, askedMilli } = pod
    const part = before?.parts.get(reading.spec.uid)
    return {
      pod,
      share: Math.max(1, askedMilli),
      mostMilli: limited && askedMilli > 0 ? askedMilli : Infinity,
      wantsMilli: judges ? wantOf(pod, part) : part?.wantsMilli,
    }
  })
  const amounts = amountsOf(table, totalMilli)
  const parts = new Map<string, PodPart>()
  for (const [index, { pod, wantsMilli }] of table.entries()) {
    const { uid } = pod.reading.spec
    const milli = amounts[index] ?? LEAST_POD_MILLI
    const leastMilli = judges ? milli : Math.min(milli, before?.parts.get(uid)?.leastMilli ?? milli)
    parts.set(uid, { milli, leastMilli, ...(wantsMilli === undefined ? {} : { wantsMilli }) })
  }
  return { parts, judgedMs: judges || before === undefined ? nowMs : before.judgedMs }
}

function byUid(a: ClassifiedPod, b: ClassifiedPod): number {
  return a.reading.spec.uid < b.reading.spec.uid ? -1 : 1
}

function wantOf({ reading }: ClassifiedPod, part: PodPart | undefined): number | undefined {
  const usedMilli = reasonable(reading.use?.value.cpuMilli)
  if (part === undefined || usedMilli === undefined || usedMilli >= part.leastMilli * HUNGRY) return undefined
  const known = part.wantsMilli
  if (known !== undefined && usedMilli >= known * LAZY && usedMilli <= known * HUNGRY) return known
  return Math.ceil(Math.max(LEAST_POD_MILLI, usedMilli / EASY))
}

/** First what pods want, by their shares; then what is left over, to all that their limits let have it. Whole milli-CPU. */
function amountsOf(eaters: readonly Eater[], totalMilli: number): number[] {
  const most = eaters.map(({ mostMilli }) => Math.max(0, mostMilli - LEAST_POD_MILLI))
  const wants = eaters.map(({ wantsMilli = Infinity }, index) =>
    Math.min(most[index] ?? 0, Math.max(0, wantsMilli - LEAST_POD_MILLI)),
  )
  const spareMilli = Math.max(0, totalMilli - LEAST_POD_MILLI * eaters.length)
  const first = fill(eaters, wants, spareMilli)
  const leftMilli = spareMilli - first.reduce((sum, milli) => sum + milli, 0)
  const room = most.map((milli, index) => milli - (first[index] ?? 0))
  const second = fill(eaters, room, Math.max(0, leftMilli))
  return eaters.map((_, index) => LEAST_POD_MILLI + Math.floor((first[index] ?? 0) + (second[index] ?? 0)))
}

/** Shares an amount out in proportion, nobody getting more than his cap: those soonest full first, and what they leave to the others. */
function fill(eaters: readonly Eater[], caps: readonly number[], amountMilli: number): number[] {
  const given = eaters.map(() => 0)
  const level = (index: number): number => (caps[index] ?? 0) / (eaters[index]?.share ?? 1)
  const order = eaters.map((_, index) => index).sort((a, b) => (level(a) === level(b) ? a - b : level(a) - level(b)))
  let left = amountMilli
  let shares = eaters.reduce((sum, { share }) => sum + share, 0)
  for (const index of order) {
    const share = eaters[index]?.share ?? 1
    const milli = Math.min(caps[index] ?? 0, (left * share) / shares)
    given[index] = milli
    left -= milli
    shares -= share
  }
  return given
}
