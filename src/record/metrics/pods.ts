/**
 * Series of single pods: off unless somebody asks for them (metrics.perPod), and of `most` pods at the most, since every pod that comes
 * and goes leaves its series behind in the database. Offline pods go first: it is for them that people ask. Filled on calm ticks.
 */
import type { ClassifiedPod, ReadonlyKnobTable } from '../../model/index.ts'
import { hasEnded } from '../../model/index.ts'
import type { KnobKind, KnobValues, NodeSnapshot } from '../../model/index.ts'
import type { Families } from './families.ts'

interface PodLabels {
  readonly namespace: string
  readonly pod: string
  readonly uid: string
  readonly class: string
}

export class PodMetrics {
  readonly #families: Families
  readonly #most: number
  /** By UID, of the pods that have series now. */
  readonly #labels = new Map<string, PodLabels>()

  /** `most` is how many pods get series; 0 is none. */
  constructor(families: Families, most: number) {
    this.#families = families
    this.#most = most
  }

  tick(pods: readonly ClassifiedPod[], actual: NodeSnapshot['actual']): void {
    if (this.#most === 0) return
    const running = pods.filter(({ reading }) => reading.present && !hasEnded(reading.spec))
    const chosen = running.length <= this.#most ? running : running.toSorted(byInterest).slice(0, this.#most)
    this.#families.pods.omitted.set(running.length - chosen.length)
    this.#forgetAllBut(chosen)
    for (const pod of chosen) this.#set(pod, actual)
  }

  #forgetAllBut(chosen: readonly ClassifiedPod[]): void {
    const classes = new Map(chosen.map(({ reading, qosClass }) => [reading.spec.uid, qosClass]))
    for (const [uid, labels] of this.#labels) {
      // A pod whose class has changed has another series.
      if (classes.get(uid) === labels.class) continue
      for (const gauge of this.#gauges()) gauge.remove({ ...labels })
      this.#labels.delete(uid)
    }
  }

  #set(pod: ClassifiedPod, actual: NodeSnapshot['actual']): void {
    const { reading, qosClass } = pod
    const { uid, namespace, name } = reading.spec
    const known = this.#labels.get(uid)
    const labels = known ?? { namespace, pod: name, uid, class: qosClass }
    if (known === undefined) this.#labels.set(uid, labels)
    const { cpuUsed, throttled, memory, cpuQuota, cpus } = this.#families.pods
    const use = reading.use?.value
    const isOffline = qosClass === 'BE' || qosClass === 'OT'
    const quota = valueOf(actual, reading.group, 'quota')
    const quotaCores = quota?.quotaUs === undefined || quota.quotaUs === null ? undefined : quota.quotaUs / quota.periodUs
    set(cpuUsed, labels, use === undefined ? undefined : use.cpuMilli / 1000)
    set(throttled, labels, use === undefined ? undefined : use.throttledPermyriad / 10_000)
    set(memory, labels, isOffline ? use?.workingSetBytes : undefined)
    set(cpuQuota, labels, quotaCores)
    set(cpus, labels, valueOf(actual, reading.group, 'cpuset')?.size)
  }

  #gauges(): readonly Families['pods']['cpuUsed'][] {
    const { cpuUsed, throttled, memory, cpuQuota, cpus } = this.#families.pods
    return [cpuUsed, throttled, memory, cpuQuota, cpus]
  }
}

const INTEREST: Readonly<Record<string, number>> = { OT: 0, BE: 1, LSX: 2, LSR: 3, LS: 4, UNTAGGED: 5, SYSTEM: 6 }

/** A total order that does not move while pods stay: a series that comes and goes is worth little. */
function byInterest(a: ClassifiedPod, b: ClassifiedPod): number {
  const byClass = (INTEREST[a.qosClass] ?? 9) - (INTEREST[b.qosClass] ?? 9)
  if (byClass !== 0) return byClass
  const [left, right] = [a.reading.spec.uid, b.reading.spec.uid]
  return left === right ? 0 : left < right ? -1 : 1
}

function valueOf<Kind extends KnobKind>(
  actual: ReadonlyKnobTable<{ readonly value: unknown }>,
  group: string,
  kind: Kind,
): KnobValues[Kind] | undefined {
  return actual.get(group, kind)?.value as KnobValues[Kind] | undefined
}

function set(gauge: Families['pods']['cpuUsed'], labels: PodLabels, value: number | undefined): void {
  if (value === undefined) gauge.remove({ ...labels })
  else gauge.set({ ...labels }, value)
}
