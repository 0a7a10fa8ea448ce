/**
 * Every code of the unions has its sentence. The tables are typed by the union's own discriminant, so a new code without a case here
 * does not compile.
 */
import { describe, expect, it } from 'vitest'
import type {
  AllowanceBound,
  Because,
  ClassBecause,
  OfferBecause,
  Outcome,
  OutcomeKind,
  StepBecause,
} from '../../../src/model/index.ts'
import {
  renderBecause,
  renderClassBecause,
  renderFinding,
  renderOutcome,
  renderSignals,
  renderStep,
  renderStepBecause,
} from '../../../src/record/render.ts'
import { renderSuppression } from '../../../src/record/render-squeeze.ts'
import { renderOffer, renderOfferBecause } from '../../../src/record/render-offer.ts'
import { CPUS_STEP, GIB, INPUTS, MEMORY_OFFER, OFFER, ROOT_STEP, SIGNALS, SUPPRESSION } from './fixtures.ts'

type Cases<Union, Key extends keyof Union> = {
  [Code in Union[Key] & string]: readonly [Extract<Union, Record<Key, Code>>, string]
}

const SUM =
  'watermark 65 % of 8000m is 5200m, less 4400m that online services and the system use (peak over the dwell time) and 200m margin'

const BECAUSE: Cases<Because, 'code'> = {
  'limits.quota': [{ code: 'limits.quota', qosClass: 'BE', units: 12, unitMilli: 100 }, 'the BE pod asked for 12 units of 100m'],
  'limits.memory': [
    { code: 'limits.memory', qosClass: 'OT', units: 1, unitBytes: GIB / 2 },
    'the OT pod asked for 1 unit of 512 MiB',
  ],
  'identity.weight': [
    { code: 'identity.weight', qosClass: 'BE', askedMilli: 1200 },
    'BE pods share CPU in proportion to what they asked for: 1200m',
  ],
  'identity.unasked': [
    { code: 'identity.unasked', qosClass: 'BE' },
    'the BE pod asked for no CPU: it gets the least weight there is, and what other pods leave',
  ],
  'identity.idle': [
    { code: 'identity.idle', qosClass: 'OT' },
    'OT yields to everything beside it: the group is scheduled as idle',
  ],
  'identity.least': [
    { code: 'identity.least', qosClass: 'OT', missing: 'the kernel has no cpu.idle' },
    "OT gets the least weight there is, as cpu.idle can't be used: the kernel has no cpu.idle",
  ],
  'identity.raise': [
    { code: 'identity.raise', qosClass: 'UNTAGGED' },
    'the UNTAGGED pod is online, but lives beside offline pods: it goes before them by the highest weight there is',
  ],
  'identity.class': [{ code: 'identity.class', qosClass: 'LS', backend: 'bvt' }, 'what LS pods are to this kernel (backend bvt)'],
  'identity.cookie': [
    { code: 'identity.cookie', qosClass: 'BE' },
    'BE pods are tagged with the cookie of offline work, so that they never share a core at the same time with online work',
  ],
  'identity.root': [
    { code: 'identity.root', backend: 'bvt', holds: 'offline' },
    'all offline pods lie below, and the kernel compares siblings: so their root yields too (backend bvt)',
  ],
  burst: [
    { code: 'burst', qosClass: 'LS', sharePermyriad: 5000, quotaUs: 20_000, throttledPermyriad: 1250 },
    'the LS pod may save up 50 % of a quota of 20000 us in quiet periods: it is throttled in 12.5 % of periods',
  ],
  'placement.besteffort': [
    { code: 'placement.besteffort', qosClass: 'BE', dedicated: '3,7', shared: '2,6' },
    'BE may run on CPUs 3,7, dedicated to offline pods, and CPUs 2,6, shared with online pods',
  ],
  'placement.exclusive': [
    { code: 'placement.exclusive', qosClass: 'LSX', requestedMilli: 1500 },
    'the LSX pod requests 1500m and has whole cores for itself: nobody else runs on them',
  ],
  'placement.beExclusive': [
    { code: 'placement.beExclusive', askedMilli: 1500, bestEffort: '0-5' },
    'the BE pod asked for 1500m and has CPUs of its own among the best-effort CPUs 0-5: no other BE pod runs there, OT does',
  ],
  'placement.pool': [
    { code: 'placement.pool', qosClass: 'LS', reserved: '0,4', dedicated: '3,7', exclusive: '' },
    'LS keeps off CPUs 0,4, reserved for the system, and CPUs 3,7, dedicated to offline pods',
  ],
  'suppress.root': [{ code: 'suppress.root', bound: 'watermark', inputs: INPUTS, untaggedMilli: 0 }, SUM],
  'suppress.beside': [
    { code: 'suppress.beside', allowanceMilli: 600, capacityMilli: 8000, untaggedMilli: 300 },
    'online pods live below the same root (they use 300m), so BE and OT pods are held to their allowance of 600m one by one, and all ' +
      '8000m of the node come on top here',
  ],
  'suppress.be': [
    { code: 'suppress.be', bound: 'watermark', allowanceMilli: 600, beMilli: 520, wantsMilli: 150 },
    'BE pods together get 520m of the allowance of 600m, split by what they asked for; this one by its use wants no more than 150m, the rest ' +
      "is others' first",
  ],
  'suppress.ot': [
    { code: 'suppress.ot', bound: 'watermark', allowanceMilli: 600, beDemandMilli: 520, otAllowanceMilli: 80 },
    'OT pods together get 80m, split by what they asked for: allowance 600m, of which BE demands 520m',
  ],
  'suppress.narrow': [
    { code: 'suppress.narrow', dedicated: '3,7', nodePermyriad: 9250, enterPermyriad: 9000 },
    'the node uses 92.5 % of its CPU (rung cpuNarrow, from 90 % or while online work waits for CPU): offline pods keep to CPUs 3,7, ' +
      'on which no online pod runs',
  ],
  'suppress.freeze': [
    { code: 'suppress.freeze', nodePermyriad: 9700, enterPermyriad: 9500 },
    'the node uses 97 % of its CPU (rung cpuFreeze, from 95 % or while online work waits for CPU): OT pods stand still until that is over',
  ],
  'suppress.unfollowed': [
    { code: 'suppress.unfollowed' },
    'the pod has more CPU quotas in groups of its own than can be followed, and on their account the kernel refuses the quota of all offline ' +
      'pods, or of this one: it stands still until the kernel takes them',
  ],
  'memory.high': [
    {
      code: 'memory.high',
      rung: 'memoryHighOt',
      qosClass: 'OT',
      availablePermyriad: 1150,
      enterPermyriad: 1200,
      workingSetBytes: 3 * GIB,
    },
    '11.5 % of the memory is available (rung memoryHighOt, from 12 % or while tasks wait for memory): OT pods give some back, this one ' +
      'of a working set of 3 GiB',
  ],
  'memory.protect': [
    { code: 'memory.protect', sharePermyriad: 3000, ofBytes: 4 * GIB },
    '30 % of the 4 GiB that online pods request here is kept from reclaim',
  ],
  'io.weight': [
    { code: 'io.weight', qosClass: 'BE', pressed: true },
    'BE yields to online work on block devices whose IO scheduler heeds weights, and has the least there is while that waits for IO',
  ],
  'io.limits': [
    { code: 'io.limits', sharePermyriad: 2500, groups: 3, reservedDevices: ['sdb'] },
    'offline pods together may use 25 % of their configured IO limits, in 3 equal parts; of that, OT pods at most ' +
      'suppressIo.otSharePermyriad; on sdb, kept for online work, suppressIo.onlineBps',
  ],
  'own.weight': [
    { code: 'own.weight' },
    'the agent itself: it must get its turn in time on a full node, so its group goes before others beside it',
  ],
}

const BOUNDS: Readonly<Record<AllowanceBound, readonly [root: string, ot: string]>> = {
  watermark: ['', ''],
  growth: ['; growing back in steps towards 600m', '; growing back in steps'],
  dwell: ['; may grow towards 600m once the dwell time is over', '; may grow once the dwell time is over'],
  deadBand: ['; kept, since 600m is too small a change to write', '; kept, since the change is too small to write'],
  unused: [
    '; kept, though 600m would be left, since offline work uses less than half of it',
    '; kept, since offline work uses less than half of it',
  ],
  floor: ['; that leaves 600m, so the floor of 160m holds', '; the floor of OT holds'],
  cpuset: ['; that leaves 600m, more than the best-effort CPUs can give', ''],
  stale: ['; held or lowered, since the CPU readings are missing or old', '; held, since the CPU readings are missing or old'],
  pressure: [
    '; that leaves 600m, but it is cut further, since online work waits for CPU',
    '; cut, since online work waits for CPU',
  ],
  pressureHold: ['; may grow towards 600m once online work waits less for CPU', '; may grow once online work waits less for CPU'],
}

const STEP: Cases<StepBecause, 'code'> = {
  claim: [
    { code: 'claim', rule: 'identity', because: { code: 'identity.idle', qosClass: 'OT' } },
    'OT yields to everything beside it: the group is scheduled as idle (rule identity)',
  ],
  clipped: [
    { code: 'clipped', parent: '/kubepods/besteffort' },
    'the parent /kubepods/besteffort allows no more; nobody claims this group, and it follows when the parent grows again',
  ],
  restore: [{ code: 'restore' }, 'no rule wants it any more: back to what it was before the agent'],
}

const CLASS: Cases<ClassBecause, 'by'> = {
  label: [{ by: 'label', key: 'kube-agent.io/qos-class', value: 'BE' }, 'label kube-agent.io/qos-class=BE'],
  resources: [{ by: 'resources', resource: 'kube-agent.io/ot-cpu' }, 'it asks for kube-agent.io/ot-cpu'],
  labelContradicted: [
    { by: 'labelContradicted', key: 'k', value: 'LS', resource: 'kube-agent.io/be-cpu' },
    'it asks for kube-agent.io/be-cpu, which counts for more than its label k=LS',
  ],
  level: [{ by: 'level', key: 'kube-agent.io/level', value: 'P1' }, 'level kube-agent.io/level=P1'],
  priorityClass: [{ by: 'priorityClass', name: 'gold' }, 'the configured rule for priority class gold'],
  namespace: [{ by: 'namespace', namespace: 'batch' }, 'the configured rule for namespace batch'],
  labelIgnored: [
    { by: 'labelIgnored', key: 'k', value: 'BE', kubeletQos: 'Burstable' },
    'label k=BE is ignored: the pod is Burstable to the kubelet (it has CPU or memory requests), so its group is not under the offline root',
  ],
  kubeletQos: [
    { by: 'kubeletQos', kubeletQos: 'Guaranteed' },
    'kubelet QoS Guaranteed; no label, offline resource, level, priority class or namespace says otherwise',
  ],
}

const OUTCOME: Readonly<Record<OutcomeKind, readonly [Outcome, string]>> = {
  applied: [{ is: 'applied' }, 'written'],
  unchanged: [{ is: 'unchanged' }, 'the file already held it'],
  vanished: [{ is: 'vanished', errno: 'ENOENT' }, 'the group is gone (ENOENT), as when a pod ends'],
  refused: [{ is: 'refused', errno: 'EINVAL' }, 'the kernel refuses this value (EINVAL)'],
  forbidden: [
    { is: 'forbidden', errno: 'EROFS' },
    'this process may not write there (EROFS): check its privileges and how the cgroup tree is mounted',
  ],
  begun: [{ is: 'begun' }, 'begun: it may have to reclaim memory first, so it runs beside the loop'],
  busy: [{ is: 'busy', errno: 'EBUSY' }, 'the kernel is busy (EBUSY): tried again on the next tick'],
  mismatch: [{ is: 'mismatch', reads: '0-3' }, 'written, but the file reads 0-3'],
  failed: [{ is: 'failed', errno: 'EIO' }, 'the write failed (EIO)'],
}

const OFFER_BOUNDS: Readonly<Record<OfferBecause['bound'], string>> = {
  formula: '',
  'besteffort-cpus': '; all CPUs of the best-effort set',
  allocated: '; but 4 units are allocated, and an offer is never below that: nothing new is scheduled',
  hysteresis: '; kept as it was, since the growth is too small to advertise',
  'warm-up': '; the history is still short, so requests stand in for peaks and young BE pods give nothing',
  stale: '; kept as it was, since the readings are old',
  hold: '; but sales are stopped while memory is short or before an eviction: what is allocated is all that is offered',
}

describe('reasons', () => {
  it.each(Object.values(BECAUSE))('renders a claim: $code', (because, expected) => {
    expect(renderBecause(because)).toBe(expected)
  })

  it.each(Object.entries(BOUNDS))('says what bound the allowance: %s', (bound, [root, ot]) => {
    const bounded = bound as AllowanceBound
    expect(renderBecause({ code: 'suppress.root', bound: bounded, inputs: INPUTS, untaggedMilli: 0 })).toBe(`${SUM}${root}`)
    expect(renderBecause({ ...BECAUSE['suppress.ot'][0], bound: bounded })).toBe(`${BECAUSE['suppress.ot'][1]}${ot}`)
    expect(renderSuppression({ ...SUPPRESSION, bound: bounded })).toBe(
      `allowance 600m for BE and OT: ${SUM}${root}; OT alone 80m`,
    )
  })

  it('tells of untagged pods under the same root', () => {
    expect(renderBecause({ ...BECAUSE['suppress.root'][0], untaggedMilli: 300 })).toContain(
      '; 300m of untagged pods under the same root',
    )
    expect(renderBecause({ ...BECAUSE['suppress.root'][0], unsure: true })).toContain('; 0m of untagged pods under the same root')
  })

  it('leaves out sets that are empty', () => {
    const none = { dedicated: '', shared: '' }
    expect(renderBecause({ code: 'placement.besteffort', qosClass: 'OT', ...none })).toBe('OT may run on all online CPUs')
    expect(renderBecause({ code: 'placement.pool', qosClass: 'LS', reserved: '', dedicated: '', exclusive: '' })).toBe(
      'LS runs on the online pool',
    )
    expect(renderBecause({ code: 'placement.pool', qosClass: 'SYSTEM', reserved: '0', dedicated: '3', exclusive: '' })).toBe(
      'SYSTEM keeps off CPUs 3, dedicated to offline pods',
    )
  })

  it.each(Object.values(STEP))('renders a step: $code', (because, expected) => {
    expect(renderStepBecause(because)).toBe(expected)
  })

  it('renders what a clipped step wanted', () => {
    const wanted: StepBecause = { code: 'claim', rule: 'limits', because: BECAUSE['limits.quota'][0] }
    expect(renderStepBecause({ code: 'clipped', parent: '/kubepods', wanted })).toBe(
      'the parent /kubepods allows no more; wanted more: the BE pod asked for 12 units of 100m (rule limits)',
    )
  })

  it('renders a step with both values', () => {
    expect(renderStep(ROOT_STEP)).toBe('quota of /kubepods/besteffort max → 600m (60000/100000 us)')
    expect(renderStep({ ...CPUS_STEP, from: undefined })).toBe('cpuset of /kubepods/besteffort/poduid-flink unknown → 2-3,6-7')
  })

  it.each(Object.values(CLASS))('renders a class: $by', (because, expected) => {
    expect(renderClassBecause(because)).toBe(expected)
  })

  it.each(Object.values(OUTCOME))('renders an outcome: $is', (outcome, expected) => {
    expect(renderOutcome(outcome)).toBe(expected)
  })
})

describe('signals', () => {
  it('say in one line how the node fares', () => {
    expect(renderSignals(SIGNALS)).toBe(
      'HOT (CpuAboveWatermark), score 0, CPU 73.75 % and memory 62.5 % used; offline pods could use 0m CPU and 4.4 GiB more',
    )
    expect(renderSignals({ ...SIGNALS, hot: false, reason: 'WithinWatermarks', score: 40 })).toMatch(/^not hot, score 40, /)
  })
})

describe('findings', () => {
  it('begin with their reason', () => {
    const problem = { code: 'labelUnknown', key: 'k', value: 'be', taken: 'UNTAGGED' } as const
    expect(renderFinding(problem)).toMatch(/^ClassLabelUnknown: The label k=be names no class/)
  })
})

describe('offers', () => {
  it('renders CPU and memory in their own units', () => {
    expect(renderOffer(OFFER)).toBe(
      'be-cpu 12 units of 100m (1200m): the formula gives 1250m (reclaimable 5200m, peak of online pods and the system 3950m, ' +
        'CPUs of the best-effort set 8000m)',
    )
    expect(renderOffer(MEMORY_OFFER)).toBe(
      'be-memory 8 units of 512 MiB (4 GiB): the formula gives 4.2 GiB (reclaimable 10 GiB, peak of online pods and the system 5.8 GiB)',
    )
  })

  it('renders terms of the second oversale, and terms it has never heard of', () => {
    const because = { ...OFFER.because, terms: { beUnusedMilli: 1500, ratio: 0.8, nights: 2 } }
    expect(renderOfferBecause('ot-cpu', because)).toBe(
      'the formula gives 1250m (asked for by BE and never used 1500m, share of it that is offered 80 %, nights 2)',
    )
  })

  it.each(Object.entries(OFFER_BOUNDS))('says what bound the offer: %s', (bound, expected) => {
    const because = { ...OFFER.because, terms: {}, bound: bound as OfferBecause['bound'] }
    expect(renderOfferBecause('be-cpu', because)).toBe(`the formula gives 1250m${expected}`)
  })
})
