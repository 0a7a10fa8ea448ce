/**
 * Random histories of a node for properties of decide/: any load, sensors that are silent, old or lying, spells of heat and of waiting, pods
 * that come and go, CPUs that go, long pauses, restarts with nothing remembered. Every decision is carried out before the next.
 */
import * as fc from 'fast-check'
import { CpuSet } from '../../src/cpu/index.ts'
import { decide, EMPTY_MEMORY, type Memory } from '../../src/decide/index.ts'
import type { Decision, EvictionRecord, EvictionsView, KnobKind, KnobSetting, NodeSnapshot } from '../../src/model/index.ts'
import { EVICTION_OUTCOMES, OFFLINE_RESOURCES } from '../../src/model/index.ts'
import { type Config } from '../../src/config/index.ts'
import { configOf } from './config.ts'
import { deepFreeze, OFFLINE_ROOT, type PodLiteral, snapshotOf, type SnapshotLiteral, topologyOf } from './snapshots.ts'

const milli = fc.oneof(
  { weight: 12, arbitrary: fc.double({ min: 0, max: 9000, noNaN: true }) },
  { weight: 2, arbitrary: fc.nat(9000) },
  { weight: 1, arbitrary: fc.constantFrom(Number.NaN, -1, -5000, 1e9, Infinity) },
)

const pod: fc.Arbitrary<Omit<PodLiteral, 'uid'>> = fc.record(
  {
    qos: fc.constantFrom('BestEffort', 'BestEffort', 'BestEffort', 'Burstable', 'Guaranteed'),
    labels: fc.oneof(
      { weight: 3, arbitrary: fc.constant({}) },
      {
        weight: 1,
        arbitrary: fc
          .constantFrom('LS', 'LSX', 'BE', 'BE', 'OT', 'SYSTEM', 'UNTAGGED', 'nonsense')
          .map((value) => ({ 'kube-agent.io/qos-class': value })),
      },
    ),
    asks: fc.oneof(
      fc.constant({}),
      fc.record({ 'be-cpu': fc.nat(40), 'be-memory': fc.nat(16) }),
      fc.record({ 'ot-cpu': fc.nat(40), 'ot-memory': fc.nat(16) }),
      fc.record(
        { 'be-cpu': fc.nat(9), 'be-memory': fc.nat(9), 'ot-cpu': fc.nat(9), 'ot-memory': fc.nat(9) },
        { requiredKeys: [] },
      ),
    ),
    kinds: fc.array(fc.constantFrom('main', 'init', 'sidecar'), { minLength: 1, maxLength: 3 }),
    requestsMilli: fc.nat(4000),
    present: fc.boolean(),
    phase: fc.constantFrom('Running', 'Running', 'Pending', 'Succeeded', 'Failed'),
    usesMilli: milli,
    workingSetBytes: fc.nat(2 ** 31),
  },
  { requiredKeys: ['qos', 'labels', 'asks', 'phase'] },
)

const moment = fc.record({
  dtMs: fc.constantFrom(1, 10, 50, 50, 50, 1000, 1000, 7000, 3_600_000),
  hot: fc.boolean(),
  nodeMilli: fc.option(milli, { freq: 8 }),
  offlineMilli: fc.option(milli, { freq: 8 }),
  /** Most readings of offline work agree with those of the node, of which they are a part: this one. Null for what `offlineMilli` says. */
  offlinePart: fc.option(
    fc.double({ min: 0, max: 1, noNaN: true }).map((part) => 1 - part ** 4),
    { freq: 6 },
  ),
  ageMs: fc.oneof(
    { weight: 6, arbitrary: fc.constant(0) },
    { weight: 1, arbitrary: fc.constantFrom(500, 3000, 60_000, Number.NaN) },
  ),
  availableBytes: fc.option(fc.nat(2 ** 35), { freq: 8 }),
  pods: fc.array(pod, { maxLength: 6 }),
  inFlight: fc.dictionary(fc.constantFrom(...OFFLINE_RESOURCES), fc.nat(50), { maxKeys: 2 }),
  restart: fc.nat(4).map((one) => one === 0),
  /** Share of time in which online groups wait; null where the kernel does not count it, or did not answer. */
  cpuPressurePermyriad: fc.option(fc.oneof(fc.nat(10_000), fc.constantFrom(0, 999, 1000, 2000, 2001, Number.NaN)), { freq: 6 }),
  runnable: fc.option(fc.nat(500), { freq: 2 }),
  pressureAgeMs: fc.constantFrom(0, 0, 0, 0, 0, 500, 3000),
  answer: fc.constantFrom(...EVICTION_OUTCOMES),
})

const rung = fc.record({
  enabled: fc.constantFrom(true, true, true, false),
  enterPermyriad: fc.constant(9000),
  exitPermyriad: fc.constant(8000),
  enterMs: fc.constantFrom(0, 0, 50, 1000),
  exitMs: fc.constantFrom(0, 1000),
  coolDownMs: fc.constantFrom(0, 1000),
})

const settings = fc.record({
  placement: fc.record({
    reservedCpus: fc.constantFrom('', '0', '0-1', '0-7'),
    dedicatedCpus: fc.constantFrom('', '2', '3-5'),
    lsSharePermyriad: fc.constantFrom(10_000, 5000, 1),
    enabled: fc.constantFrom(true, true, false),
  }),
  suppressCpu: fc.record({
    dwellMs: fc.constantFrom(1000, 1000, 100, 3000),
    growthPermyriad: fc.constantFrom(1000, 100, 5000),
    deadBandPermyriad: fc.constantFrom(100, 0, 500),
    floorPermyriad: fc.constantFrom(200, 1000),
  }),
  nodeSignals: fc.record({ enterMs: fc.constantFrom(0, 50, 2000), exitMs: fc.constantFrom(0, 100, 5000) }),
  capacity: fc.record({ maxUnits: fc.constantFrom(2048, 20), warmupMs: fc.constantFrom(0, 30_000) }),
  pressure: fc.record({
    enabled: fc.constantFrom(true, true, false),
    cutMs: fc.constantFrom(200, 1000),
    futileMs: fc.constant(2000),
  }),
  steady: fc.record({ turns: fc.constantFrom(2, 2, 6), windowMs: fc.constantFrom(10_000, 30_000) }),
  cpuNarrow: rung,
  cpuFreeze: rung,
  cpuEvict: rung,
  evict: fc.record({ enabled: fc.boolean(), holdMs: fc.constantFrom(0, 100), intervalMs: fc.constant(1000) }),
})

const legal = settings.filter(
  ({ placement }) => !CpuSet.parse(placement.reservedCpus).overlaps(CpuSet.parse(placement.dedicatedCpus)),
)

const historiesOf = (moments: fc.ArrayConstraints) =>
  fc.record({
    settings: legal,
    dialect: fc.constantFrom('v1', 'v2'),
    topology: fc.constantFrom('desktop', 'twoCpuVm', 'smtOff'),
    moments: fc.array(moment, moments),
    /** From a moment on, the node is full, or its load swings, or online work waits, where it can be read: what single moments at random hardly ever keep up. */
    spell: fc.record({ is: fc.constantFrom('none', 'full', 'waits', 'swings'), from: fc.nat(12), length: fc.nat(25) }),
    missing: fc.constantFrom<KnobKind[]>([], [], ['freeze'], ['cpuset']),
    evictable: fc.boolean(),
  })

/** Short ones of all lengths, as they shrink best. */
const SHORT = historiesOf({ minLength: 1, maxLength: 25 })
/** Long enough for rungs to be climbed and left, and for swings. */
const LONG = historiesOf({ minLength: 20, maxLength: 40 })
export type History = typeof SHORT extends fc.Arbitrary<infer T> ? T : never

/** One tick of a history. */
export interface Lived {
  readonly snapshot: NodeSnapshot
  readonly decision: Decision
  readonly memory: Memory
  /** What decide was given, to ask again. */
  readonly literal: SnapshotLiteral
  readonly before: Memory
  /** The offline root had no quota when nothing was remembered. */
  readonly unbounded: boolean
}

const ABLE = { impossible: undefined } as unknown as Partial<EvictionsView>

/** Offline use as a part of what the node uses, where both can be read and the moment wants them to agree. */
function agreed(history: History, index: number): Partial<SnapshotLiteral> {
  const { offlinePart = null, offlineMilli = null } = history.moments[index] ?? {}
  const spelled = { nodeMilli: history.moments[index]?.nodeMilli ?? null, ...spellAt(history, index) }
  if (offlinePart === null || offlineMilli === null || spelled.nodeMilli === null) return spelled
  return { offlineMilli: spelled.nodeMilli * offlinePart, ...spelled }
}

/** What the spell makes of a moment; a sensor that is silent stays so. */
function spellAt({ spell, moments, topology }: History, index: number): Partial<SnapshotLiteral> {
  const moment = moments[index]
  if (spell.is === 'none' || index < spell.from || index >= spell.from + spell.length || moment === undefined) return {}
  const capacityMilli = topologyOf(topology).online.size * 1000
  if (spell.is === 'swings') return moment.nodeMilli === null ? {} : { nodeMilli: capacityMilli * (index % 4 < 2 ? 0.1 : 0.6) }
  if (spell.is === 'full') return moment.nodeMilli === null ? {} : { nodeMilli: capacityMilli * 0.98, offlineMilli: 100 }
  return moment.cpuPressurePermyriad === null ? {} : { cpuPressurePermyriad: 9000 }
}

/** Lives through a history; every decision is carried out before the next. */
function live(history: History): Lived[] {
  const config = configFor(history)
  const lived: Lived[] = []
  let nowMs = 1_000_000
  let memory: Memory = EMPTY_MEMORY
  let actual: readonly (KnobSetting & { group: string })[] = []
  let recent: readonly EvictionRecord[] = []
  for (const [index, { dtMs, hot, pods, availableBytes, restart, answer, ...rest }] of history.moments.entries()) {
    nowMs += dtMs
    if (restart) memory = EMPTY_MEMORY
    const literal: SnapshotLiteral = {
      ...rest,
      ...agreed(history, index),
      missing: history.missing,
      evictions: { ...(history.evictable ? ABLE : {}), recent },
      nowMs,
      dialect: history.dialect,
      topology: topologyOf(history.topology),
      pace: hot ? 'hot' : 'calm',
      pods: pods.map((one, index) => ({ ...one, uid: `p${index}` })),
      memory: availableBytes === null ? null : { totalBytes: 2 ** 36, availableBytes },
      actual,
    }
    const snapshot = deepFreeze(snapshotOf(literal))
    const before = deepFreeze(memory)
    const { decision, memory: after } = decide(snapshot, before, config)
    const unbounded = !actual.some(({ group, kind }) => group === OFFLINE_ROOT && kind === 'quota')
    lived.push({ snapshot, decision, memory: after, literal, before, unbounded })
    memory = after
    recent = [...decision.evictions.map((wish) => ({ wish, is: answer, atMs: nowMs })), ...recent].slice(0, 64)
    // What a rule can't decide on yet stays as it is.
    const kept = decision.complete ? [] : actual.filter(({ group, kind }) => decision.desired.get(group, kind) === undefined)
    actual = [...kept, ...[...decision.desired.entries()].map(([group, , { setting }]) => ({ ...setting, group }))]
  }
  return lived
}

const configs = new WeakMap<History['settings'], Config>()

/** The configuration of a history, read once. */
export function configFor({ settings }: History): Config {
  const known = configs.get(settings) ?? deepFreeze(configOf(settings))
  configs.set(settings, known)
  return known
}

type Check = (lived: readonly Lived[], history: History) => void

/** Checks many histories; the seed is that of test/support/seed.ts. */
export function forAllHistories(check: Check, numRuns = 150): void {
  fc.assert(
    fc.property(SHORT, (history) => check(live(history), history)),
    { numRuns },
  )
}

/** Checks fewer, longer ones. */
export function forLongHistories(check: Check, numRuns = 100): void {
  fc.assert(
    fc.property(LONG, (history) => check(live(history), history)),
    { numRuns },
  )
}
