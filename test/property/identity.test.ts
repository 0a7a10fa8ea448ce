/**
 * What always holds of classes and of who yields to whom, by the numbers of src/decide/SPEC.md, over kernels that have any of the backends,
 * any settings, and pods of every kind; and what becomes of it when it is carried out and taken back on the model kernel.
 */
import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { decide, EMPTY_MEMORY } from '../../src/decide/index.ts'
import type { ClassifiedPod, Decision, KnobKind, NodeSnapshot } from '../../src/model/index.ts'
import { IDENTITY_BACKENDS, isOffline, isSuccess, KnobTable, QOS_CLASSES, type Resolved } from '../../src/model/index.ts'
import { ModelKernel, SimNode } from '../../src/sim/index.ts'
import { configOf } from '../support/config.ts'
import { JournaledNode, withDirectory } from '../support/journaled-node.ts'
import { OFFLINE_ROOT, type PodLiteral, snapshotOf, specOf, topologyOf } from '../support/snapshots.ts'
import { textOf } from '../support/trees.ts'

const QOS_ROOTS = ['/kubepods', '/kubepods/burstable', OFFLINE_ROOT]
const HIGHEST = { v1: 262_144, v2: 10_000 } as const
const KINDS: readonly KnobKind[] = ['bvt', 'qosLevel', 'offline', 'btShares', 'idle', 'weight']

const names = fc.constantFrom(...QOS_CLASSES, 'P0', 'P1', 'P4', 'LSE', 'nonsense', 'constructor')
const labels = fc.dictionary(
  fc.constantFrom('kube-agent.io/qos-class', 'kube-agent.io/level', 'koordinator.sh/qosClass'),
  names,
  { maxKeys: 3 },
)
const pod: fc.Arbitrary<Omit<PodLiteral, 'uid'>> = fc.record(
  {
    qos: fc.constantFrom('BestEffort', 'BestEffort', 'Burstable', 'Guaranteed'),
    labels,
    namespace: fc.constantFrom('default', 'batch', 'kube-system'),
    priorityClassName: fc.constantFrom('gold', 'spare', 'unknown'),
    asks: fc.oneof(fc.constant({}), fc.record({ 'be-cpu': fc.nat(40) }), fc.record({ 'ot-cpu': fc.nat(40) })),
    containers: fc.constantFrom(['main'], ['main', 'side']),
    present: fc.constantFrom(true, true, true, false),
  },
  { requiredKeys: ['qos', 'labels', 'asks'] },
)

const settings = fc.record({
  identity: fc.record({
    enabled: fc.constantFrom(true, true, true, false),
    backend: fc.constantFrom('auto', 'auto', 'none', ...IDENTITY_BACKENDS),
    rootIdle: fc.boolean(),
    coreScheduling: fc.boolean(),
  }),
  classes: fc.record({
    koordinatorLabel: fc.boolean(),
    namespaces: fc.constantFrom({}, { batch: 'BE', 'kube-system': 'SYSTEM' }),
    priorityClasses: fc.constantFrom({}, { gold: 'LSX', spare: 'OT' }),
    levels: fc.constantFrom({}, { P4: 'BE' }),
    besteffort: fc.constantFrom('UNTAGGED', 'BE'),
  }),
})

const world = fc.record({
  settings,
  dialect: fc.constantFrom('v1' as const, 'v2' as const),
  vendor: fc.subarray<KnobKind>(['bvt', 'coreCookie', 'qosLevel', 'offline', 'btShares']),
  // Every kernel with idle has weights.
  missing: fc.constantFrom<readonly KnobKind[]>([], [], ['idle'], ['idle', 'weight']),
  pods: fc.array(pod, { maxLength: 6 }),
})
type World = typeof world extends fc.Arbitrary<infer T> ? T : never

const configFor = ({ settings: { identity, classes } }: World) =>
  configOf({
    identity,
    classes,
    onExit: 'release',
    placement: { enabled: false },
    limits: { enabled: false },
    suppressCpu: { enabled: false },
  })

function decided(given: World): { decision: Decision; snapshot: NodeSnapshot } {
  const { pods, dialect, vendor, missing } = given
  const snapshot = snapshotOf({ dialect, vendor, missing, pods: pods.map((one, index) => ({ ...one, uid: `p${index}` })) })
  return { snapshot, decision: decide(snapshot, EMPTY_MEMORY, configFor(given)).decision }
}

const valueOf = (decision: Decision, group: string, kind: KnobKind) => decision.desired.get(group, kind)?.setting.value
const forAll = (check: (given: World) => void, numRuns = 1000) => fc.assert(fc.property(world, check), { numRuns })

/** Below 0 yields, above 0 goes first, 0 is as everybody. */
function standing(decision: Decision, { reading: { group } }: ClassifiedPod): number {
  const [bvt, level, offline, idle] = (['bvt', 'qosLevel', 'offline', 'idle'] as const).map((kind) =>
    Number(valueOf(decision, group, kind) ?? 0),
  )
  return (bvt ?? 0) + (level ?? 0) - (offline ?? 0) - (idle ?? 0)
}

/** It lives where offline pods do, is there, and runs. */
const isBeside = ({ reading: { spec, present } }: ClassifiedPod): boolean =>
  spec.kubeletQos === 'BestEffort' && present && spec.phase === 'Running'

describe('identity', () => {
  it('gives an offline class only to pods that lie below the offline root (I29)', () => {
    forAll((given) => {
      for (const { qosClass, reading } of decided(given).decision.pods)
        if (isOffline(qosClass)) expect(reading.spec.kubeletQos).toBe('BestEffort')
    })
  })

  it('never has an online pod yield, nor an offline one go first (I30)', () => {
    forAll((given) => {
      const { decision } = decided(given)
      for (const one of decision.pods) {
        if (isOffline(one.qosClass)) expect(standing(decision, one)).toBeLessThanOrEqual(0)
        else expect(standing(decision, one)).toBeGreaterThanOrEqual(0)
        if (isOffline(one.qosClass)) continue
        expect(valueOf(decision, one.reading.group, 'coreCookie')).toBeUndefined()
      }
    })
  })

  it('puts online pods first that run beside offline ones, by more weight than any of those has, and no others (I30)', () => {
    let raised = 0
    forAll((given) => {
      const { decision, snapshot } = decided(given)
      const { pods, identity } = decision
      const offline = pods.filter(({ qosClass, reading }) => isOffline(qosClass) && reading.present)
      for (const one of pods) {
        if (isOffline(one.qosClass)) continue
        const weight = valueOf(decision, one.reading.group, 'weight')
        const wants = isBeside(one) && offline.length > 0 && identity?.raisesOnline === true
        expect(weight).toBe(wants ? HIGHEST[given.dialect] : undefined)
        if (!wants) continue
        raised += 1
        for (const { reading } of offline) expect(valueOf(decision, reading.group, 'weight') ?? 0).toBeLessThan(Number(weight))
      }
      const { identity: settings } = given.settings
      const able = settings.enabled && settings.backend !== 'none' && snapshot.capabilities.knobs.weight.usable
      expect(identity?.raisesOnline).toBe(able)
    })
    expect(raised).toBeGreaterThan(30)
  })

  it('makes one flag of one kind on a group, and no weight beside idle (I31)', () => {
    forAll((given) => {
      const { decision } = decided(given)
      for (const group of decision.desired.groups()) {
        const flags = (['bvt', 'qosLevel', 'offline', 'idle'] as const).filter(
          (kind) => decision.desired.get(group, kind) !== undefined,
        )
        expect(flags.length).toBeLessThanOrEqual(1)
        if (flags[0] === 'idle') expect(decision.desired.get(group, 'weight')).toBeUndefined()
      }
    })
  })

  it('uses only what the kernel has and the hazards allow (I31)', () => {
    forAll((given) => {
      const { decision, snapshot } = decided(given)
      const { identity } = given.settings
      for (const [group, kind] of decision.desired.entries()) {
        expect(snapshot.capabilities.knobs[kind].usable).toBe(true)
        if (kind === 'bvt') expect(identity.coreScheduling).toBe(false)
        if (kind === 'coreCookie') expect(identity.coreScheduling).toBe(true)
        if (kind === 'offline') expect(identity.backend).toBe('offline')
        if (!QOS_ROOTS.includes(group)) continue
        expect(['bvt', 'idle']).toContain(kind)
        if (kind === 'idle') expect([identity.rootIdle, group]).toEqual([true, OFFLINE_ROOT])
      }
    })
  })

  it('says of each class what it does for it: a backend where it claims one, none where it claims nothing (I32)', () => {
    forAll((given) => {
      const { decision } = decided(given)
      const somebodyYields = decision.pods.some(({ qosClass, reading }) => isOffline(qosClass) && reading.present)
      for (const { qosClass, reading } of decision.pods) {
        const backend = decision.identity?.backends[qosClass] ?? 'none'
        // What an online pod beside offline ones gets on top of its class is told for all classes at once.
        const kinds = isOffline(qosClass) ? KINDS : KINDS.filter((kind) => kind !== 'weight')
        const claimed = kinds.filter((kind) => decision.desired.get(reading.group, kind) !== undefined)
        if (backend === 'none' || !reading.present || !somebodyYields) expect(claimed).toEqual([])
        else expect(claimed).toContain(backend)
      }
    })
  })

  it('is taken by the kernel write by write, and goes back, but for what no kernel takes back (I12, I14)', () => {
    fc.assert(
      fc.property(world, (given) =>
        withDirectory((directory) => {
          const kernel = new ModelKernel({ ...given, topology: topologyOf('desktop') })
          const node = new SimNode(kernel)
          for (const [index, one] of given.pods.entries())
            if (one.present !== false) node.addPod(specOf({ ...one, uid: `p${index}` }))
          const before = textOf(kernel)
          const writing = new JournaledNode(kernel, { directory })
          const { decision } = decided(given)
          const desired = new KnobTable<Resolved>()
          for (const [group, kind, resolved] of decision.desired.entries()) desired.set(group, kind, resolved)
          const results = writing.reach(desired)
          expect(results.filter(({ outcome }) => !isSuccess(outcome))).toEqual([])
          expect(writing.plan(desired)).toEqual([])
          const report = writing.release()
          expect([report.failed, report.foreign]).toEqual([[], []])
          const levels = results.filter(({ step }) => step.kind === 'qosLevel').map(({ step }) => `${step.group} qosLevel`)
          expect(report.oneWay.map(({ group, kind }) => `${group} ${kind}`).sort()).toEqual([...levels].sort())
          const after = textOf(kernel)
          for (const key of levels) delete before[key]
          for (const key of levels) delete after[key]
          expect(after).toEqual(before)
        }),
      ),
      { numRuns: 150 },
    )
  })
})
