/**
 * Which backend a node gets, class by class, on kernels that have some of them; what is refused and why; and which knobs that comes to.
 * That the kernel does with them what is said here, where it has them, is shown in test/cgroup/identity.test.ts.
 */
import { describe, expect, it } from 'vitest'
import { identityState } from '../../../src/decide/identity.ts'
import { hazardOf } from '../../../src/decide/identity-hazards.ts'
import { decide, EMPTY_MEMORY } from '../../../src/decide/index.ts'
import { IDENTITY_BACKENDS, type Capabilities, type KnobKind, QOS_CLASSES } from '../../../src/model/index.ts'
import { renderClassIdentity, renderIdentity } from '../../../src/record/render-identity.ts'
import { configOf } from '../../support/config.ts'
import {
  capabilitiesOf,
  OFFLINE_ROOT,
  type PodLiteral,
  snapshotOf,
  type SnapshotLiteral,
  topologyOf,
} from '../../support/snapshots.ts'

const VENDOR = ['bvt', 'qosLevel', 'offline', 'btShares'] as const satisfies readonly KnobKind[]
const SMT = { smt: true }

const PODS: readonly PodLiteral[] = [
  { uid: 'web', qos: 'Burstable' },
  { uid: 'db', qos: 'Guaranteed', labels: { 'kube-agent.io/qos-class': 'LSR' } },
  { uid: 'log', qos: 'Burstable', labels: { 'kube-agent.io/qos-class': 'SYSTEM' } },
  { uid: 'loose' },
  { uid: 'flink', asks: { 'be-cpu': 20 } },
  { uid: 'train', asks: { 'ot-cpu': 20 } },
]

const settings = (identity: Readonly<Record<string, unknown>>) => ({
  identity,
  suppressCpu: { enabled: false },
  limits: { enabled: false },
  ...(identity['rootIdle'] === true ? { onExit: 'release' } : {}),
})

/** Every claim of the rule, as `group knob value`. */
function claims(literal: SnapshotLiteral, identity: Readonly<Record<string, unknown>> = {}): string[] {
  const { decision } = decide(snapshotOf({ pods: PODS, ...literal }), EMPTY_MEMORY, configOf(settings(identity)))
  return [...decision.desired.entries()]
    .filter(([, , { winner }]) => winner.rule === 'identity')
    .map(([group, kind, { setting }]) => `${group.replace('/kubepods', '')} ${kind} ${JSON.stringify(setting.value)}`)
    .sort()
}

describe('the backend in force', () => {
  const inForce = (capabilities: Capabilities, identity: Readonly<Record<string, unknown>> = {}): string => {
    const { backends } = identityState(capabilities, configOf(settings(identity)), SMT)
    return QOS_CLASSES.map((qosClass) => backends[qosClass]).join(' ')
  }

  it.each<[string, readonly KnobKind[], readonly KnobKind[], string]>([
    ['everything', VENDOR, [], 'bvt bvt bvt bvt bvt none none'],
    ['no bvt', ['qosLevel', 'offline', 'btShares'], [], 'none none none qosLevel qosLevel none none'],
    ['mainline from 5.15', [], [], 'none none none weight idle none none'],
    ['mainline before 5.15', [], ['idle'], 'none none none weight weight none none'],
    ['nothing', [], ['idle', 'weight'], 'none none none none none none none'],
  ])('on a kernel with %s', (_, vendor, missing, expected) => {
    for (const dialect of ['v1', 'v2'] as const) expect(inForce(capabilitiesOf(dialect, missing, vendor))).toBe(expected)
  })

  it('is none where the rule is off or told so', () => {
    const all = capabilitiesOf('v2', [], VENDOR)
    const none = QOS_CLASSES.map(() => 'none').join(' ')
    expect([inForce(all, { enabled: false }), inForce(all, { backend: 'none' })]).toEqual([none, none])
  })

  it.each([
    ['bvt', 'bvt bvt bvt bvt bvt none none'],
    ['qosLevel', 'none none none qosLevel qosLevel none none'],
    ['offline', 'none none none offline offline none none'],
    ['idle', 'none none none weight idle none none'],
    ['weight', 'none none none weight weight none none'],
  ])('is the one that was named: %s', (backend, expected) => {
    expect(inForce(capabilitiesOf('v2', [], VENDOR), { backend })).toBe(expected)
  })

  it('is weight in the place of one that was named and is not there, and says so', () => {
    const state = identityState(capabilitiesOf('v2'), configOf({ identity: { backend: 'qosLevel' } }), SMT)
    expect([state.backends.BE, state.backends.OT]).toEqual(['weight', 'weight'])
    expect(renderIdentity(state)).toContain("qosLevel can't be used: see capabilities")
  })
})

describe('the words for it', () => {
  it('tell what is given, what is not, and what was passed over', () => {
    const mainline = identityState(capabilitiesOf('v2'), configOf({}), SMT)
    expect(renderIdentity(mainline)).toBe(
      'BE weight, OT idle; none for LSX, LSR, LS, SYSTEM, UNTAGGED; the highest weight for online pods below the best-effort root; ' +
        "bvt, qosLevel, offline can't be used: see capabilities",
    )
    expect(renderClassIdentity(mainline, 'OT', { isBeside: false })).toBe('idle')
  })

  it('tell of an online pod beside offline ones what it has, on top of what its class has', () => {
    const [mainline, anolis, bare] = [
      capabilitiesOf('v2'),
      capabilitiesOf('v1', [], VENDOR),
      capabilitiesOf('v1', ['idle', 'weight']),
    ].map((capabilities) => identityState(capabilities, configOf({}), SMT))
    if (mainline === undefined || anolis === undefined || bare === undefined) return expect.unreachable()
    const raised = 'the highest weight beside offline pods, while there are any'
    expect(renderClassIdentity(mainline, 'UNTAGGED', { isBeside: true })).toBe(raised)
    expect(renderClassIdentity(mainline, 'UNTAGGED', { isBeside: false })).toMatch(/^none: /)
    expect(renderClassIdentity(anolis, 'LS', { isBeside: true })).toBe(`bvt, and ${raised}`)
    expect(renderClassIdentity(bare, 'UNTAGGED', { isBeside: true })).toMatch(/^none: /)
  })

  it('say plainly that there is none', () => {
    const bare = identityState(capabilitiesOf('v1', ['idle', 'weight']), configOf({}), SMT)
    expect(renderIdentity(bare)).toMatch(/^none; /)
    expect(renderClassIdentity(bare, 'BE', { isBeside: false })).toMatch(/^none: /)
  })

  it('tell of core scheduling only where it is asked for', () => {
    const config = configOf({ identity: { coreScheduling: true } })
    const has = capabilitiesOf('v2', [], ['coreCookie'])
    expect(renderIdentity(identityState(has, config, SMT))).toContain('core scheduling: BE and OT pods carry one cookie')
    expect(renderIdentity(identityState(has, config, { smt: false }))).toContain(
      'core scheduling: no core has more than one thread',
    )
    expect(renderIdentity(identityState(capabilitiesOf('v2'), config, SMT))).toContain(
      'core scheduling: the simulated kernel has no coreCookie',
    )
    expect(renderIdentity(identityState(has, configOf({}), SMT))).not.toContain('core scheduling')
  })
})

describe('hazards', () => {
  const DEFAULTS = configOf({})

  it('keep bvt off where core scheduling is in use', () => {
    const state = identityState(capabilitiesOf('v2', [], ['bvt']), configOf({ identity: { coreScheduling: true } }), SMT)
    expect(state.backends.OT).toBe('idle')
    expect(renderIdentity(state)).toContain('not bvt: identity.coreScheduling is on')
    const named = identityState(
      capabilitiesOf('v2', [], ['bvt']),
      configOf({ identity: { coreScheduling: true, backend: 'bvt' } }),
      SMT,
    )
    expect(named.backends.OT).toBe('weight')
  })

  it('take offline only by name', () => {
    const state = identityState(capabilitiesOf('v1', [], ['offline', 'btShares']), DEFAULTS, SMT)
    expect(state.backends.OT).toBe('idle')
    expect(renderIdentity(state)).toContain('not offline: it is taken only by name')
  })

  it('allow nothing but bvt on a QoS root unless it is asked for', () => {
    const allowed = IDENTITY_BACKENDS.filter(
      (backend) => hazardOf({ backend, on: 'qosRoot', named: true }, DEFAULTS) === undefined,
    )
    expect(allowed).toEqual(['bvt', 'offline'])
    const asked = configOf({ identity: { rootIdle: true }, onExit: 'release' })
    expect(hazardOf({ backend: 'idle', on: 'qosRoot', named: true }, asked)).toBeUndefined()
  })
})

describe('claims', () => {
  it('with bvt: every class against every other, on the roots that the kernel compares too', () => {
    expect(claims({ dialect: 'v1', vendor: VENDOR })).toEqual([
      '/besteffort bvt -1',
      '/besteffort/podflink bvt -1',
      '/besteffort/podflink weight 2048',
      '/besteffort/podloose weight 262144',
      '/besteffort/podtrain bvt -1',
      '/besteffort/podtrain weight 2',
      '/burstable bvt 2',
      '/burstable/podweb bvt 2',
      '/poddb bvt 2',
    ])
  })

  it('with qosLevel: offline pods and their containers', () => {
    expect(claims({ dialect: 'v2', vendor: ['qosLevel'] })).toEqual([
      '/besteffort/podflink qosLevel -1',
      '/besteffort/podflink weight 79',
      '/besteffort/podflink/main qosLevel -1',
      '/besteffort/podloose weight 10000',
      '/besteffort/podtrain qosLevel -1',
      '/besteffort/podtrain weight 1',
      '/besteffort/podtrain/main qosLevel -1',
    ])
  })

  it('with offline: shares of its own, in the scale of cpu.shares', () => {
    expect(claims({ dialect: 'v2', vendor: ['offline', 'btShares'] }, { backend: 'offline' })).toEqual([
      '/besteffort/podflink btShares 2048',
      '/besteffort/podflink offline 1',
      '/besteffort/podflink/main offline 1',
      '/besteffort/podloose weight 10000',
      '/besteffort/podtrain btShares 2',
      '/besteffort/podtrain offline 1',
      '/besteffort/podtrain/main offline 1',
    ])
  })

  it('with idle: OT alone, and no weight on what is idle', () => {
    expect(claims({ dialect: 'v1' })).toEqual([
      '/besteffort/podflink weight 2048',
      '/besteffort/podloose weight 262144',
      '/besteffort/podtrain idle 1',
    ])
  })

  it('with idle on the root, where that is asked for', () => {
    expect(claims({}, { rootIdle: true })).toContain('/besteffort idle 1')
    expect(claims({ vendor: ['bvt'] }, { rootIdle: true })).not.toContain('/besteffort idle 1')
    expect(claims({ missing: ['idle'] }, { rootIdle: true })).not.toContain('/besteffort idle 1')
  })

  it('are none on a node without offline pods: there is nobody to yield', () => {
    const online = PODS.filter(({ asks }) => asks === undefined)
    expect(claims({ pods: online, vendor: VENDOR })).toEqual([])
    expect(claims({ pods: online }, { rootIdle: true })).toEqual([])
  })

  it.each(['UNTAGGED', 'LS', 'SYSTEM', 'LSX'])(
    'put an online pod of class %s first that lives below the best-effort root, and none that does not, is not there, or has ended',
    (qosClass) => {
      const labels = { 'kube-agent.io/qos-class': qosClass }
      const raised = (more: Partial<PodLiteral>): string[] =>
        claims({
          dialect: 'v1',
          pods: [
            { uid: 'flink', asks: { 'be-cpu': 20 } },
            { uid: 'one', labels, ...more },
          ],
        }).filter((claim) => claim.includes('podone'))
      expect(raised({})).toEqual(['/besteffort/podone weight 262144'])
      expect([raised({ qos: 'Burstable' }), raised({ present: false }), raised({ phase: 'Succeeded' })]).toEqual([[], [], []])
    },
  )

  it('put nobody first where the rule is off, told so, or the kernel has no weights', () => {
    for (const identity of [{ enabled: false }, { backend: 'none' }]) expect(claims({}, identity)).toEqual([])
    expect(claims({ missing: ['idle', 'weight'] })).toEqual([])
  })

  it('are never a weight where the same tick makes idle', () => {
    for (const backend of ['auto', 'idle']) {
      const all = claims({}, { backend })
      const idle = all.filter((claim) => claim.includes(' idle 1')).map((claim) => claim.split(' ')[0] ?? '')
      for (const group of idle) expect(all.filter((claim) => claim.startsWith(`${group} weight`))).toEqual([])
    }
  })

  it('with core scheduling: the cookie on offline pods, beside the backend, and on nobody else', () => {
    const here: SnapshotLiteral = { vendor: ['bvt', 'coreCookie'] }
    expect(claims(here, { coreScheduling: true })).toEqual([
      '/besteffort/podflink coreCookie 1',
      '/besteffort/podflink weight 79',
      '/besteffort/podloose weight 10000',
      '/besteffort/podtrain coreCookie 1',
      '/besteffort/podtrain idle 1',
    ])
    expect(claims(here, { coreScheduling: true, backend: 'none' })).toEqual([
      '/besteffort/podflink coreCookie 1',
      '/besteffort/podtrain coreCookie 1',
    ])
    const cookies = (literal: SnapshotLiteral, identity: Readonly<Record<string, unknown>>): string[] =>
      claims(literal, identity).filter((claim) => claim.includes('coreCookie'))
    expect(cookies(here, {})).toEqual([])
    expect(cookies(here, { coreScheduling: true, enabled: false })).toEqual([])
    expect(cookies({}, { coreScheduling: true })).toEqual([])
    expect(cookies({ ...here, topology: topologyOf('smtOff') }, { coreScheduling: true })).toEqual([])
    expect(cookies({ ...here, pods: PODS.map((pod) => ({ ...pod, present: false })) }, { coreScheduling: true })).toEqual([])
  })

  it('say why, for the root too', () => {
    const { decision } = decide(snapshotOf({ pods: PODS, vendor: VENDOR }), EMPTY_MEMORY, configOf(settings({})))
    expect(decision.desired.get(OFFLINE_ROOT, 'bvt')?.winner.because).toEqual({
      code: 'identity.root',
      backend: 'bvt',
      holds: 'offline',
    })
  })
})
