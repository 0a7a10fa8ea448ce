/**
 * What is new in a tick. Journal and log show changes only, never the same line on every tick, so they share this one comparison
 * of a tick with those before it. Changes are plain data with the model's own objects in them; text is made by renderChange,
 * late.
 */
import type {
  Abstention,
  ClassifiedPod,
  Decision,
  DriftNews,
  GroupPath,
  NodeSignals,
  Offer,
  OfflineResource,
  Outcome,
  PodFinding,
  QosClass,
  ReadonlyKnobTable,
  RuleName,
  StepResult,
  SuppressionState,
  TickRecord,
} from '../model/index.ts'
import { isSuccess, KnobTable, onlyObserves, parentGroup, podKey, sameValue } from '../model/index.ts'
import { type LadderChange, LadderTracker } from './ladder-changes.ts'

export type Change =
  | { readonly kind: 'write' | 'refused'; readonly result: StepResult; readonly pod: string | undefined }
  | {
      readonly kind: 'allowance'
      readonly state: SuppressionState
      readonly was: SuppressionState | undefined
      /** The rule only observes. */
      readonly observed?: RuleName
    }
  | { readonly kind: 'offer'; readonly offer: Offer; readonly was: Offer | undefined }
  | { readonly kind: 'abstain'; readonly abstention: Abstention; readonly began: boolean }
  | {
      readonly kind: 'pod'
      readonly pod: ClassifiedPod
      readonly event: 'came' | 'went' | 'reclassified'
      readonly was?: QosClass
    }
  | { readonly kind: 'finding'; readonly finding: PodFinding }
  | { readonly kind: 'signal'; readonly signals: NodeSignals }
  | { readonly kind: 'error'; readonly text: string }
  /** `kube-agent release` has been asked for. */
  | { readonly kind: 'released'; readonly atWallMs: number }
  /** `passedOver` is how much news of this kind was not told since the entry before. */
  | { readonly kind: 'drift'; readonly news: DriftNews; readonly passedOver: number }
  | LadderChange

/** Rules whose values follow the use of the node, and so change many times a minute. */
const FREQUENT_RULES: ReadonlySet<RuleName> = new Set(['suppressCpu', 'suppressIo'])

/** Whether changes like this one may come many times a second: moves of the allowance, and the writes that follow from them. */
export function isFrequent(change: Change): boolean {
  if (change.kind === 'allowance') return true
  if (change.kind !== 'write') return false
  const { because } = change.result.step
  const innermost = because.code === 'clipped' ? because.wanted : because
  return innermost?.code === 'claim' && FREQUENT_RULES.has(innermost.rule)
}

/** The last attempt to write a knob. */
export interface LastWrite {
  readonly result: StepResult
  readonly atMs: number
}

/** Somebody who undoes a write makes the agent repeat it; the repetition is told again only after so long a quiet. */
const REPEAT_QUIET_MS = 60_000
/** Problems of the pod source that are compared and told. */
const MAX_PROBLEMS = 64
/** Findings that are compared and told; a kubelet runs some hundred pods. */
const MAX_FINDINGS = 256

/** Entries about drift in any minute, at most: somebody may write every knob of the node at once. Concessions come first. */
export const DRIFT_PER_MINUTE = 12

export class ChangeTracker {
  readonly #writes = new KnobTable<LastWrite>()
  readonly #pods = new Map<string, ClassifiedPod>()
  readonly #podOfGroup = new Map<GroupPath, string>()
  /** As of the last calm tick. */
  #listed: readonly ClassifiedPod[] = []
  readonly #ladders = new LadderTracker()
  readonly #offers = new Map<OfflineResource, Offer>()
  #abstentions: ReadonlyMap<string, Abstention> = new Map()
  #problems: ReadonlySet<string> = new Set()
  #journalProblem: string | undefined
  #findings: ReadonlySet<string> = new Set()
  #suppression: SuppressionState | undefined
  readonly #driftToldMs: number[] = []
  #driftUntold = 0
  #hot = false
  #released = false

  /** The last attempt on each knob of the groups that are still there. */
  get writes(): ReadonlyKnobTable<LastWrite> {
    return this.#writes
  }

  /** What changed since the tick before. Pods are compared on calm ticks only, since only those read them. */
  next(record: TickRecord): readonly Change[] {
    const changes: Change[] = []
    const { snapshot, decision } = record
    if (snapshot.pace === 'calm') {
      this.#comparePods(decision.pods, changes)
      this.#compareProblems(snapshot.pods.problems, changes)
      this.#compareFindings(decision.findings, changes)
      this.#forgetGone(snapshot.actual)
    }
    this.#compareReleased(record.releasedWallMs, changes)
    this.#compareSuppression(decision, changes)
    this.#ladders.next(record, changes)
    this.#compareSignals(decision.signals, changes)
    for (const offer of decision.offers) this.#compareOffer(offer, changes)
    this.#compareAbstentions(decision.abstentions, changes)
    this.#compareJournal(record.journalHealth?.problem, changes)
    if (record.drift !== undefined) this.#compareDrift(record.drift.news, snapshot.nowMs, changes)
    for (const result of record.results) this.#compareResult(result, snapshot.nowMs, changes)
    return changes
  }

  #compareReleased(atWallMs: number | undefined, changes: Change[]): void {
    if (atWallMs === undefined || this.#released) return
    this.#released = true
    changes.push({ kind: 'released', atWallMs })
  }

  #comparePods(pods: readonly ClassifiedPod[], changes: Change[]): void {
    const known = this.#listed
    this.#listed = pods
    if (pods.length === known.length && pods.every((pod, index) => isSamePod(pod, known[index]))) return
    const listed = new Set<string>()
    this.#podOfGroup.clear()
    for (const pod of pods) {
      const { uid } = pod.reading.spec
      listed.add(uid)
      this.#podOfGroup.set(pod.reading.group, podKey(pod.reading.spec))
      const was = this.#pods.get(uid)
      this.#pods.set(uid, pod)
      if (was === undefined) changes.push({ kind: 'pod', pod, event: 'came' })
      else if (was.qosClass !== pod.qosClass) changes.push({ kind: 'pod', pod, event: 'reclassified', was: was.qosClass })
    }
    for (const [uid, pod] of this.#pods) {
      if (listed.has(uid)) continue
      this.#pods.delete(uid)
      changes.push({ kind: 'pod', pod, event: 'went' })
    }
  }

  #compareProblems(problems: readonly string[], changes: Change[]): void {
    const now = new Set(problems.slice(0, MAX_PROBLEMS))
    for (const text of now) if (!this.#problems.has(text)) changes.push({ kind: 'error', text: `pod source: ${text}` })
    this.#problems = now
  }

  /** The same trouble is told once, until it is over. */
  #compareJournal(problem: string | undefined, changes: Change[]): void {
    if (problem !== undefined && problem !== this.#journalProblem)
      changes.push({ kind: 'error', text: `restore journal: ${problem}` })
    this.#journalProblem = problem
  }

  /** That one is mended shows in the pod itself: it goes, or its class changes. */
  #compareFindings(findings: readonly PodFinding[], changes: Change[]): void {
    if (findings.length === 0 && this.#findings.size === 0) return
    const now = new Map(findings.slice(0, MAX_FINDINGS).map((finding) => [JSON.stringify(finding), finding]))
    for (const [key, finding] of now) if (!this.#findings.has(key)) changes.push({ kind: 'finding', finding })
    this.#findings = new Set(now.keys())
  }

  #compareSignals(signals: NodeSignals | undefined, changes: Change[]): void {
    if (signals === undefined || signals.hot === this.#hot) return
    this.#hot = signals.hot
    changes.push({ kind: 'signal', signals })
  }

  /** A group whose knobs are no longer read has ended; its writes are of no more interest. */
  #forgetGone(actual: TickRecord['snapshot']['actual']): void {
    const gone = [...this.#writes.groups()].filter((group) => actual.ofGroup(group) === undefined)
    for (const group of gone) this.#writes.delete(group)
  }

  #compareSuppression(decision: Decision, changes: Change[]): void {
    const { suppression: state } = decision
    const was = this.#suppression
    this.#suppression = state
    if (state === undefined) return
    if (state.allowanceMilli === was?.allowanceMilli && state.otAllowanceMilli === was.otAllowanceMilli) return
    const observed = onlyObserves(decision, 'suppressCpu') ? ({ observed: 'suppressCpu' } as const) : {}
    changes.push({ kind: 'allowance', state, was, ...observed })
  }

  #compareOffer(offer: Offer, changes: Change[]): void {
    const was = this.#offers.get(offer.resource)
    this.#offers.set(offer.resource, offer)
    if (was?.units !== offer.units) changes.push({ kind: 'offer', offer, was })
  }

  #compareAbstentions(abstentions: readonly Abstention[], changes: Change[]): void {
    if (abstentions.length === 0 && this.#abstentions.size === 0) return
    const now = new Map(abstentions.map((abstention) => [abstentionKey(abstention), abstention]))
    for (const [key, abstention] of now) {
      if (!this.#abstentions.has(key)) changes.push({ kind: 'abstain', abstention, began: true })
    }
    for (const [key, abstention] of this.#abstentions)
      if (!now.has(key)) changes.push({ kind: 'abstain', abstention, began: false })
    this.#abstentions = now
  }

  #compareDrift(news: readonly DriftNews[], nowMs: number, changes: Change[]): void {
    while (this.#driftToldMs[0] !== undefined && nowMs - this.#driftToldMs[0] >= REPEAT_QUIET_MS) this.#driftToldMs.shift()
    for (const each of news.toSorted((a, b) => Number(a.is === 'first') - Number(b.is === 'first'))) {
      if (this.#driftToldMs.length >= DRIFT_PER_MINUTE) {
        this.#driftUntold += 1
        continue
      }
      this.#driftToldMs.push(nowMs)
      changes.push({ kind: 'drift', news: each, passedOver: this.#driftUntold })
      this.#driftUntold = 0
    }
  }

  #compareResult(result: StepResult, nowMs: number, changes: Change[]): void {
    const { step, outcome } = result
    const last = this.#writes.get(step.group, step.kind)
    this.#writes.set(step.group, step.kind, { result, atMs: nowMs })
    // A pod that ended between decision and write, and a write that turned out needless, are no news. Of one that has begun the end is.
    if (outcome.is === 'vanished' || outcome.is === 'unchanged' || outcome.is === 'begun') return
    const repeated = last !== undefined && sameOutcome(last.result.outcome, outcome)
    const pod = this.#podOfGroup.get(step.group) ?? this.#podOfGroup.get(parentGroup(step.group))
    if (!isSuccess(outcome)) {
      if (!repeated) changes.push({ kind: 'refused', result, pod })
      return
    }
    const again = repeated && nowMs - last.atMs < REPEAT_QUIET_MS && sameMove(last.result, result)
    if (!again) changes.push({ kind: 'write', result, pod })
  }
}

/** Whether nothing that is told of pods, but for what they use, has changed. */
function isSamePod({ reading, qosClass }: ClassifiedPod, other: ClassifiedPod | undefined): boolean {
  return other?.qosClass === qosClass && other.reading.spec === reading.spec && other.reading.group === reading.group
}

function sameMove(a: StepResult, b: StepResult): boolean {
  return sameValue(a.step.value, b.step.value) && sameValue(a.step.from, b.step.from)
}

function sameOutcome(a: Outcome, b: Outcome): boolean {
  return a.is === b.is && errnoOfOutcome(a) === errnoOfOutcome(b)
}

function errnoOfOutcome(outcome: Outcome): string {
  return 'errno' in outcome ? outcome.errno : ''
}

/** Amounts move from tick to tick while the reason stays the same. */
function abstentionKey(abstention: Abstention): string {
  return `${abstention.rule} ${abstention.code} ${abstention.code === 'wouldKill' ? abstention.pod : ''}`
}
