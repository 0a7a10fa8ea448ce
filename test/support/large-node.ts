/**
 * A node of 512 CPUs and 250 pods that never was: real decisions over a made-up load that rises and falls, and every knob written as
 * decided. For what has to be looked at, and to cost little, at that size.
 */
import { decide, EMPTY_MEMORY, type Memory } from '../../src/decide/index.ts'
import type { KnobSetting, TickRecord } from '../../src/model/index.ts'
import { APPLIED, KnobTable } from '../../src/model/index.ts'
import { diff } from '../../src/plan/index.ts'
import { configOf } from './config.ts'
import { type PodLiteral, snapshotOf, topologyOf } from './snapshots.ts'

const GIB = 2 ** 30
const CONFIG = configOf({ placement: { reservedCpus: '0-3,256-259' }, capacity: { warmupMs: 0 } })

/** 4 LSX, 12 LSR, 110 LS, 90 BE, 30 OT and 4 system pods. */
function podsAt(share: number): PodLiteral[] {
  const pods: PodLiteral[] = []
  const add = (count: number, make: (index: number) => PodLiteral): void => {
    for (let index = 0; index < count; index += 1) pods.push(make(index))
  }
  const label = (qosClass: string) => ({ 'kube-agent.io/qos-class': qosClass })
  add(4, (index) => ({
    uid: `matching-${index}`,
    namespace: 'trade',
    labels: label('LSX'),
    qos: 'Guaranteed',
    requestsMilli: 8000,
    usesMilli: 6000 * share,
  }))
  add(12, (index) => ({
    uid: `db-${index}`,
    namespace: 'shop',
    labels: label('LSR'),
    qos: 'Guaranteed',
    requestsMilli: 8000,
    usesMilli: 5000 * share,
  }))
  add(110, (index) => ({
    uid: `web-${index}`,
    namespace: 'shop',
    qos: 'Burstable',
    requestsMilli: 2000,
    usesMilli: (1500 + index * 10) * share,
  }))
  add(90, (index) => ({
    uid: `flink-${index}`,
    namespace: 'batch',
    asks: index % 9 === 0 ? { 'be-cpu': 20 } : { 'be-cpu': 20, 'be-memory': 8 },
    usesMilli: 1200 - 400 * share,
    workingSetBytes: (2 + (index % 3)) * GIB,
  }))
  add(30, (index) => ({
    uid: `train-${index}`,
    namespace: 'ml',
    asks: { 'ot-cpu': 10, 'ot-memory': 4 },
    usesMilli: 600,
    workingSetBytes: GIB,
  }))
  add(4, (index) => ({ uid: `daemon-${index}`, namespace: 'kube-system', qos: 'Burstable', requestsMilli: 100, usesMilli: 80 }))
  return pods
}

/** A pod whose name is markup, and one with a name as long as names may be: both have to stay text, and inside the page. */
const ODD_PODS: readonly PodLiteral[] = [
  { uid: 'odd-1', namespace: '<img src=x onerror=alert(1)>', asks: { 'be-cpu': 1 }, usesMilli: 1 },
  { uid: 'odd-2', namespace: 'x'.repeat(253), qos: 'Burstable', usesMilli: 1 },
]

export class LargeNode {
  #memory: Memory = EMPTY_MEMORY
  #inForce = new KnobTable<KnobSetting>()
  #seq = 0

  /** The tick at `nowMs`; `share` (0 to 1) is how busy the online services are. */
  tick(nowMs: number, share: number): TickRecord {
    this.#seq += 1
    const pods = [...podsAt(share), ...ODD_PODS]
    const offlineMilli = 90 * (1200 - 400 * share) + 30 * 600
    const onlineMilli = pods.reduce((sum, { usesMilli = 0, qos }) => sum + (qos === undefined ? 0 : usesMilli), 4000)
    const actual = [...this.#inForce.entries()].map(([group, , setting]) => ({ ...setting, group }))
    const literal = {
      nowMs,
      topology: topologyOf('turin'),
      pods,
      actual,
      nodeMilli: onlineMilli + offlineMilli,
      offlineMilli,
      cpuPressurePermyriad: Math.round(1800 * share),
      memory: { totalBytes: 2048 * GIB, availableBytes: (900 - 300 * share) * GIB },
    }
    const snapshot = { ...snapshotOf(literal), seq: this.#seq, wallMs: Date.UTC(2026, 10, 21, 3) + nowMs }
    const { decision, memory } = decide(snapshot, this.#memory, CONFIG)
    const { capabilities, topology } = snapshot
    const plan = diff({
      desired: decision.desired,
      actual: snapshot.actual,
      journaled: new KnobTable(),
      capabilities,
      online: topology.online,
    })
    this.#memory = memory
    decision.desired.forEach((group, kind, { setting }) => this.#inForce.set(group, kind, setting))
    const results = plan.map((step) => ({ step, outcome: APPLIED }))
    return { mode: 'enforce', snapshot, decision, plan, results, journaled: new KnobTable(), tookMs: 6.2, lateMs: 0.3 }
  }
}

/** How busy online services are at a time: calm, a spike every two minutes, and a slow swell. */
export function shareAt(nowMs: number): number {
  const swell = 0.35 + 0.15 * Math.sin(nowMs / 60_000)
  return nowMs % 120_000 > 90_000 ? Math.min(1, swell + 0.5) : swell
}
