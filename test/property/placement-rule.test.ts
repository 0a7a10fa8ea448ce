/**
 * What always holds of the rule placement (SPEC.md I20 to I28), over random lives of a node: pods of every class that come, appear, resize,
 * end and go; CPUs that are switched off and on; settings that are reloaded; agents that start anew with what the kernel holds.
 */
import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { Config } from '../../src/config/index.ts'
import { CpuSet, siblingsClosure } from '../../src/cpu/index.ts'
import { decide, EMPTY_MEMORY, type Memory } from '../../src/decide/index.ts'
import type { ClassifiedPod, Decision, KnobSetting, NodeSnapshot } from '../../src/model/index.ts'
import { hasEnded, isExclusive, isOffline } from '../../src/model/index.ts'
import { configOf } from '../support/config.ts'
import { deepFreeze, type PodLiteral, snapshotOf, topologyOf } from '../support/snapshots.ts'

const LABEL = 'kube-agent.io/qos-class'
type Kind = 'LSX' | 'LSR' | 'LS' | 'SYSTEM' | 'UNTAGGED' | 'BE' | 'OT'

const action = fc.oneof(
  {
    weight: 8,
    arbitrary: fc.record({
      do: fc.constant('add' as const),
      pod: fc.nat(9),
      kind: fc.constantFrom<Kind>('LSX', 'LSX', 'LSR', 'LSR', 'LSR', 'LS', 'SYSTEM', 'UNTAGGED', 'BE', 'BE', 'OT'),
      milli: fc.constantFrom(0, 300, 1000, 1000, 1500, 2000, 2000, 3000, 4000, 5000, 7000),
      present: fc.constantFrom(true, true, true, false),
    }),
  },
  { weight: 3, arbitrary: fc.record({ do: fc.constant('remove' as const), pod: fc.nat(9) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('appear' as const), pod: fc.nat(9) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('end' as const), pod: fc.nat(9) }) },
  {
    weight: 1,
    arbitrary: fc.record({ do: fc.constant('resize' as const), pod: fc.nat(9), milli: fc.constantFrom(1000, 2000, 4000) }),
  },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('plug' as const), half: fc.boolean() }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('reload' as const), settings: fc.nat(3) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('restart' as const) }) },
)
type Action = typeof action extends fc.Arbitrary<infer T> ? T : never

const rawSettings = fc.record({
  reservedCpus: fc.constantFrom('', '', '0', '0-1', '5'),
  dedicatedCpus: fc.constantFrom('', '', '3', '6-7'),
  lsSharePermyriad: fc.constantFrom(10_000, 5000, 1, 0),
  lsrSharePermyriad: fc.constantFrom(5000, 0, 10_000),
  bePinning: fc.constantFrom('shared', 'exclusive'),
  strategy: fc.constantFrom('pack', 'spread'),
  poolMinCpus: fc.constantFrom(1, 1, 2, 3),
})
/** Without dedicated CPUs offline pods need a share of the pool. */
const settings = rawSettings.map((one) =>
  one.dedicatedCpus === '' ? { ...one, lsSharePermyriad: one.lsSharePermyriad || 1 } : one,
)

/** A machine, and the same with some CPUs switched off. */
const MACHINES = [
  ['desktop', 'smtOff'],
  ['desktop', 'desktop'],
  ['twoCpuVm', 'single'],
  ['ragged', 'ragged'],
  ['hybrid', 'desktop'],
] as const

const histories = fc.record({
  machine: fc.constantFrom(...MACHINES),
  settings: fc.array(settings, { minLength: 4, maxLength: 4 }),
  actions: fc.array(action, { minLength: 1, maxLength: 30 }),
})
type History = typeof histories extends fc.Arbitrary<infer T> ? T : never

interface Moment {
  readonly snapshot: NodeSnapshot
  readonly decision: Decision
  readonly before: Memory
  readonly memory: Memory
  readonly config: Config
  readonly pods: readonly PodLiteral[]
  /** What the groups hold once the decision was carried out. */
  readonly actual: readonly (KnobSetting & { group: string })[]
}

function literal(uid: string, { kind, milli, present }: Action & { do: 'add' }): PodLiteral {
  const offline = kind === 'BE' || kind === 'OT'
  if (offline)
    return { uid, present, asks: { [kind === 'BE' ? 'be-cpu' : 'ot-cpu']: Math.ceil(milli / 100) }, labels: { [LABEL]: kind } }
  if (kind === 'UNTAGGED') return { uid, present }
  return { uid, present, qos: milli === 0 ? 'BestEffort' : 'Guaranteed', requestsMilli: milli, labels: { [LABEL]: kind } }
}

/** Lives through a history; every decision is carried out before the next. */
function live({ machine, settings: all, actions }: History): Moment[] {
  const configs = all.map((placement) => deepFreeze(configOf({ placement })))
  const pods = new Map<string, PodLiteral>()
  const lived: Moment[] = []
  let [topology, config, memory] = [topologyOf(machine[0]), configs[0], EMPTY_MEMORY]
  let actual: Moment['actual'] = []
  let nowMs = 100_000
  for (const one of actions) {
    const uid = 'pod' in one ? `p${one.pod}` : ''
    const known = pods.get(uid)
    if (one.do === 'add' && known === undefined) pods.set(uid, literal(uid, one))
    else if (one.do === 'remove') pods.delete(uid)
    else if (one.do === 'appear' && known !== undefined) pods.set(uid, { ...known, present: true })
    else if (one.do === 'end' && known !== undefined) pods.set(uid, { ...known, phase: 'Succeeded' })
    else if (one.do === 'resize' && known?.requestsMilli !== undefined) pods.set(uid, { ...known, requestsMilli: one.milli })
    else if (one.do === 'plug') topology = topologyOf(machine[one.half ? 1 : 0])
    else if (one.do === 'reload') config = configs[one.settings]
    else if (one.do === 'restart') memory = EMPTY_MEMORY
    if (config === undefined) throw new Error('no settings')
    nowMs += 1000
    const listed = [...pods.values()]
    const snapshot = deepFreeze(snapshotOf({ nowMs, topology, pods: listed, actual }))
    const before = memory
    const decided = decide(snapshot, before, config)
    memory = decided.memory
    actual = carriedOut(decided.decision)
    lived.push({ snapshot, decision: decided.decision, before, memory, config, pods: listed, actual })
  }
  return lived
}

/** A pod that is pinned to all CPUs there are for BE, and those that run there since they found no room, look the same to an agent that starts. */
const tellableOf = ({ placement: { pinned, ...rest } }: Decision) => ({
  ...rest,
  pinned: pinned.map(({ uid, cpus }) => (cpus.equals(rest.bestEffort) ? { cpus } : { uid, cpus })),
})

const carriedOut = (decision: Decision): Moment['actual'] =>
  [...decision.desired.entries()].map(([group, , { setting }]) => ({ ...setting, group }))

function forAllLives(check: (lived: readonly Moment[]) => void, numRuns = 200): void {
  const legal = histories.filter(({ settings: all }) =>
    all.every(({ reservedCpus, dedicatedCpus }) => !CpuSet.parse(reservedCpus).overlaps(CpuSet.parse(dedicatedCpus))),
  )
  fc.assert(
    fc.property(legal, (history) => check(live(history))),
    { numRuns },
  )
}

/** What LSX and LSR pods may be given: neither reserved nor dedicated. */
function free({ snapshot: { topology }, config: { placement } }: Moment): CpuSet {
  return topology.online.minus(placement.reservedCpus).minus(placement.dedicatedCpus)
}

function union(sets: readonly CpuSet[]): CpuSet {
  return sets.reduce((all, set) => all.union(set), CpuSet.EMPTY)
}

/** The CPUs that the pod may run on once the decision is carried out. */
function cpusOf({ reading }: ClassifiedPod, { decision, snapshot }: Pick<Moment, 'decision' | 'snapshot'>): CpuSet {
  const set = decision.desired.get(reading.group, 'cpuset')?.setting.value
  return set instanceof CpuSet ? set : snapshot.topology.online
}

const countOf = ({ reading }: ClassifiedPod): number => Math.ceil(reading.spec.requests.cpuMilli / 1000)
const byUid = (decision: Decision): Map<string, ClassifiedPod> => new Map(decision.pods.map((pod) => [pod.reading.spec.uid, pod]))

describe('placement', () => {
  it('gives disjoint sets out of what is neither reserved nor dedicated nor the pool (I20)', () => {
    forAllLives((lived) => {
      for (const moment of lived) {
        const { exclusive, pool } = moment.decision.placement
        const sets = exclusive.map(({ cpus }) => cpus)
        expect(union(sets).size).toBe(sets.reduce((sum, set) => sum + set.size, 0))
        for (const set of sets) {
          expect(set.isSubsetOf(free(moment))).toBe(true)
          expect(set.overlaps(pool)).toBe(false)
        }
        for (const pod of moment.decision.pods) {
          if (!pod.reading.present || isOffline(pod.qosClass)) continue
          const others = exclusive.filter(({ uid }) => uid !== pod.reading.spec.uid).map(({ cpus }) => cpus)
          expect(cpusOf(pod, moment).overlaps(union(others)), pod.reading.spec.uid).toBe(false)
        }
      }
    })
  })

  it('gives LSX pods whole cores that hold their request, and LSR pods as many CPUs as theirs (I21)', () => {
    forAllLives((lived) => {
      for (const { decision, snapshot } of lived) {
        const pods = byUid(decision)
        for (const { uid, qosClass, cpus, shared } of decision.placement.exclusive) {
          const pod = pods.get(uid)
          if (pod === undefined) throw new Error(`no pod ${uid}`)
          expect(pod.qosClass).toBe(qosClass)
          if (qosClass === 'LSR') expect(cpus.size).toBe(countOf(pod))
          else {
            expect(cpus.size).toBeGreaterThanOrEqual(countOf(pod))
            expect(siblingsClosure(snapshot.topology, cpus).equals(cpus)).toBe(true)
            expect(shared.isEmpty).toBe(true)
          }
        }
      }
    })
  })

  it('keeps offline pods off the cores of LSX pods, and off their part of those of LSR pods (I4, I22)', () => {
    forAllLives((lived) => {
      for (const moment of lived) {
        const { decision, snapshot, config } = moment
        const { reservedCpus, lsrSharePermyriad } = config.placement
        const { exclusive, bestEffort } = decision.placement
        const cores = union(exclusive.filter(({ qosClass }) => qosClass === 'LSX').map(({ cpus }) => cpus))
        for (const set of [bestEffort, ...decision.pods.flatMap(offlineSet(moment))]) {
          expect(set.overlaps(siblingsClosure(snapshot.topology, cores))).toBe(false)
          if (!snapshot.topology.online.isSubsetOf(reservedCpus)) expect(set.overlaps(reservedCpus)).toBe(false)
          for (const { qosClass, cpus } of exclusive) {
            if (qosClass === 'LSR') expect(set.overlapSize(cpus)).toBeLessThanOrEqual((cpus.size * lsrSharePermyriad) / 10_000)
          }
        }
      }
    })
  })

  it('leaves the pool its least (I23)', () => {
    forAllLives((lived) => {
      for (const moment of lived) {
        const { decision, config, snapshot } = moment
        const { pool, exclusive } = decision.placement
        expect(pool.size).toBeGreaterThanOrEqual(Math.min(config.placement.poolMinCpus, Math.max(1, free(moment).size)))
        if (free(moment).size <= config.placement.poolMinCpus) expect(exclusive).toEqual([])
        expect(pool.isSubsetOf(snapshot.topology.online)).toBe(true)
      }
    })
  })

  it('moves no pod without a cause (I24)', () => {
    forAllLives((lived) => {
      for (const [index, moment] of lived.entries()) {
        const last = lived[index - 1]
        if (last === undefined || moment.before === EMPTY_MEMORY) continue
        const [was, is] = [byUid(last.decision), byUid(moment.decision)]
        // Which threads make a core may change too, as sysfs is told anew: what an LSX pod has is then another pod's no more.
        const grown = (uid: string): CpuSet =>
          union(
            last.decision.placement.exclusive
              .filter((one) => one.qosClass === 'LSX' && one.uid !== uid)
              .map(({ cpus }) => siblingsClosure(moment.snapshot.topology, cpus)),
          )
        const stays = last.decision.placement.exclusive.filter(({ uid, qosClass, cpus }) => {
          const [then, now] = [was.get(uid), is.get(uid)]
          if (then === undefined || now === undefined || hasEnded(now.reading.spec)) return false
          const same = now.qosClass === qosClass && countOf(now) === countOf(then)
          const whole = qosClass !== 'LSX' || siblingsClosure(moment.snapshot.topology, cpus).equals(cpus)
          const torn = !whole || cpus.overlaps(grown(uid))
          return same && !torn && cpus.isSubsetOf(free(moment))
        })
        const lacking = free(moment).size - union(stays.map(({ cpus }) => cpus)).size < moment.config.placement.poolMinCpus
        for (const { uid, cpus } of stays) {
          const now = moment.decision.placement.exclusive.find((one) => one.uid === uid)?.cpus
          if (now === undefined) expect(lacking, `${uid} has lost its CPUs`).toBe(true)
          else expect(now.toString(), uid).toBe(cpus.toString())
        }
      }
    })
  })

  it('moves nothing when the agent starts anew (I25)', () => {
    forAllLives((lived) => {
      for (const moment of lived) {
        if (moment.pods.some(({ present }) => present === false)) continue
        const { snapshot, decision, config, pods, actual } = moment
        const again = snapshotOf({ nowMs: snapshot.nowMs, topology: snapshot.topology, pods, actual })
        const anew = { snapshot: again, decision: decide(again, EMPTY_MEMORY, config).decision }
        // The one pod without room, on a pool that nobody else runs on, can't be told from one that has the pool for itself.
        const tellable = decision.pods.some(({ qosClass }) => !isOffline(qosClass) && !isExclusive(qosClass))
        const noRoom = decision.findings.some(({ code }) => code === 'noExclusiveCpus')
        for (const pod of decision.pods) {
          if (isOffline(pod.qosClass) && noRoom && !tellable) continue
          expect(cpusOf(pod, anew).toString(), pod.reading.spec.uid).toBe(cpusOf(pod, moment).toString())
        }
        if (tellable || !noRoom) expect(tellableOf(anew.decision)).toEqual(tellableOf(decision))
      }
    })
  })

  it('tells of every LSX and LSR pod without CPUs of its own, and of no other (I26)', () => {
    forAllLives((lived) => {
      for (const { decision } of lived) {
        const own = new Set(decision.placement.exclusive.map(({ uid }) => uid))
        for (const { reading, qosClass } of decision.pods) {
          const { uid } = reading.spec
          const codes = decision.findings.filter((one) => one.uid === uid).map(({ code }) => code)
          const said = codes.filter((code) => code === 'noExclusiveCpus' || code === 'noCpuRequest')
          expect(said).toHaveLength(isExclusive(qosClass) && !hasEnded(reading.spec) && !own.has(uid) ? 1 : 0)
        }
        for (const one of decision.findings) if (one.code === 'noExclusiveCpus') expect(one.freeCpus).toBeLessThan(one.wantedCpus)
      }
    })
  })

  it('pins BE pods to disjoint parts of the best-effort set, and gives OT pods all of it (I27)', () => {
    forAllLives((lived) => {
      for (const moment of lived) {
        const { bestEffort, pinned } = moment.decision.placement
        expect(union(pinned.map(({ cpus }) => cpus)).size).toBe(pinned.reduce((sum, { cpus }) => sum + cpus.size, 0))
        for (const pod of moment.decision.pods) {
          if (!isOffline(pod.qosClass) || !pod.reading.present) continue
          const set = cpusOf(pod, moment)
          expect(set.isSubsetOf(bestEffort)).toBe(true)
          const own = pinned.find(({ uid }) => uid === pod.reading.spec.uid)
          if (pod.qosClass === 'OT') expect(set.equals(bestEffort)).toBe(true)
          else if (own !== undefined) {
            expect(set.equals(own.cpus)).toBe(true)
            expect(set.size).toBe(Math.ceil(pod.askedMilli / 1000))
          } else if (moment.config.placement.bePinning === 'shared') expect(set.equals(bestEffort)).toBe(true)
        }
      }
    })
  })

  it('claims no empty set, and decides the same whatever the order of the pods (I3, I28)', () => {
    forAllLives((lived) => {
      for (const { decision, snapshot, before, config, pods } of lived) {
        for (const [, kind, { setting }] of decision.desired.entries()) {
          if (kind === 'cpuset' && setting.value instanceof CpuSet) expect(setting.value.isEmpty).toBe(false)
        }
        const actual = [...snapshot.actual.entries()].map(
          ([group, kind, { value }]) => ({ group, kind, value }) as Moment['actual'][0],
        )
        const { nowMs, topology } = snapshot
        const turned = decide(snapshotOf({ nowMs, topology, actual, pods: [...pods].reverse() }), before, config).decision
        expect(turned.placement).toEqual(decision.placement)
      }
    })
  })

  it('decides nothing anew while nothing changes, and moves little of the shared part when a pod comes', () => {
    forAllLives((lived) => {
      for (const [index, moment] of lived.entries()) {
        const { snapshot, memory, config, decision } = moment
        const last = lived[index - 1]
        if (last !== undefined && last.config === config && last.snapshot.topology === snapshot.topology) {
          const [was, is] = [last.decision.placement, decision.placement]
          const before = union(was.exclusive.map(({ cpus }) => cpus))
          const after = union(is.exclusive.map(({ cpus }) => cpus))
          const changed = after.minus(before).union(before.minus(after))
          const shared = (state: typeof was): CpuSet => state.bestEffort.intersect(state.pool)
          const moved = shared(is).minus(shared(was))
          // A core that an LSR pod takes a thread of is no whole core any more; and cores of unequal size are made to fit the number.
          const most =
            siblingsClosure(snapshot.topology, changed).size + Math.max(...snapshot.topology.cores.map(({ cpus }) => cpus.size))
          expect(moved.size, `${moved.toString()} for ${changed.toString()}`).toBeLessThanOrEqual(changed.isEmpty ? 0 : most)
        }
        expect(decide(snapshot, memory, config).memory.placement).toBe(memory.placement)
        expect(decide(snapshot, memory, config).decision.placement).toBe(decision.placement)
      }
    }, 100)
  })
})

const offlineSet =
  (moment: Moment) =>
  (pod: ClassifiedPod): CpuSet[] =>
    isOffline(pod.qosClass) && pod.reading.present ? [cpusOf(pod, moment)] : []
