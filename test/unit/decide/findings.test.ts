/**
 * Every way in which a pod asks for something odd: which finding it gets, the class it runs as all the same, and that a pod which asks
 * sensibly gets none. The table is total over the codes, so a new code without a case does not compile.
 */
import { describe, expect, it } from 'vitest'
import { decide, EMPTY_MEMORY } from '../../../src/decide/index.ts'
import { type FindingCode, podFromObject, type PodFinding, type QosClass } from '../../../src/model/index.ts'
import { DEFAULTS } from '../../support/config.ts'
import { type PodLiteral, snapshotOf } from '../../support/snapshots.ts'

type Pod = Omit<PodLiteral, 'uid'>

const KEY = 'kube-agent.io/qos-class'
const label = (value: string): Readonly<Record<string, string>> => ({ [KEY]: value })
const full = (resource: string): string => `kube-agent.io/${resource}`
const BE = { 'be-cpu': 4, 'be-memory': 2 } as const
const OT = { 'ot-cpu': 4, 'ot-memory': 2 } as const
const GPU = { 'nvidia.com/gpu': '500m' }

function findingsOf(...pods: readonly Pod[]): {
  readonly findings: readonly PodFinding[]
  readonly classes: readonly QosClass[]
} {
  const snapshot = snapshotOf({ pods: pods.map((pod, index) => ({ ...pod, uid: `p${index}` })) })
  const { decision } = decide(snapshot, EMPTY_MEMORY, DEFAULTS)
  return { findings: decision.findings, classes: decision.pods.map(({ qosClass }) => qosClass) }
}

type Cases = readonly (readonly [name: string, pod: Pod, taken: QosClass, details: Readonly<Record<string, string | number>>])[]

const CASES: Readonly<Record<FindingCode, Cases>> = {
  halfAsked: [
    ['BE-CPU without BE-memory', { asks: { 'be-cpu': 1 } }, 'BE', { has: full('be-cpu'), lacks: full('be-memory') }],
    ['BE-memory without BE-CPU', { asks: { 'be-memory': 1 } }, 'BE', { has: full('be-memory'), lacks: full('be-cpu') }],
    ['OT-CPU without OT-memory', { asks: { 'ot-cpu': 1 } }, 'OT', { has: full('ot-cpu'), lacks: full('ot-memory') }],
    ['OT-memory, and 0 of OT-CPU', { asks: { 'ot-memory': 1, 'ot-cpu': 0 } }, 'OT', { lacks: full('ot-cpu') }],
  ],
  initContainer: [
    ['BE-CPU on an init container', { asks: BE, kinds: ['main', 'init'] }, 'BE', { resource: full('be-cpu'), container: 'c1' }],
    [
      'also on a pod with requests',
      { qos: 'Burstable', kinds: ['main', 'init'], asks: BE },
      'LS',
      { resource: full('be-cpu'), container: 'c1' },
    ],
  ],
  labelContradicts: [
    ['LS with BE resources', { labels: label('LS'), asks: BE }, 'BE', { value: 'LS', resource: full('be-cpu'), taken: 'BE' }],
    ['LSX with OT resources', { labels: label('LSX'), asks: OT }, 'OT', { value: 'LSX', resource: full('ot-cpu') }],
    ['SYSTEM with BE resources', { labels: label('SYSTEM'), asks: BE }, 'BE', { value: 'SYSTEM' }],
    ['BE with OT resources', { labels: label('BE'), asks: OT }, 'OT', { resource: full('ot-cpu'), taken: 'OT' }],
    ['OT with BE resources', { labels: label('OT'), asks: BE }, 'OT', { resource: full('be-cpu'), taken: 'OT' }],
  ],
  labelIgnored: [
    ['BE on a Burstable pod', { qos: 'Burstable', labels: label('BE') }, 'LS', { value: 'BE', kubeletQos: 'Burstable' }],
    ['OT on a Guaranteed pod', { qos: 'Guaranteed', labels: label('OT') }, 'LS', { kubeletQos: 'Guaranteed' }],
  ],
  labelUnknown: [
    ['a slip', { labels: label('be'), asks: BE }, 'BE', { key: KEY, value: 'be', taken: 'BE' }],
    ['nothing', { labels: label('') }, 'UNTAGGED', { value: '', taken: 'UNTAGGED' }],
    ['on an online pod', { qos: 'Guaranteed', labels: label('P0') }, 'LS', { value: 'P0', taken: 'LS' }],
  ],
  twoKinds: [
    ['both pairs', { asks: { ...BE, ...OT } }, 'OT', { first: full('be-cpu'), second: full('ot-cpu'), taken: 'OT' }],
    [
      'a pair of two halves',
      { asks: { 'be-cpu': 1, 'ot-memory': 1 } },
      'OT',
      { first: full('be-cpu'), second: full('ot-memory') },
    ],
    ['both, labelled BE', { labels: label('BE'), asks: { ...BE, ...OT } }, 'OT', { taken: 'OT' }],
  ],
  requestsToo: [
    ['BE resources', { qos: 'Burstable', asks: BE }, 'LS', { resource: full('be-cpu'), kubeletQos: 'Burstable' }],
    ['half of them', { qos: 'Guaranteed', asks: { 'ot-memory': 1 } }, 'LS', { resource: full('ot-memory') }],
    ['with an offline label, told once', { qos: 'Burstable', labels: label('BE'), asks: BE }, 'LS', {}],
    ['with an online label', { qos: 'Burstable', labels: label('LSR'), requestsMilli: 1000, asks: BE }, 'LSR', {}],
  ],
  fraction: [
    ['a part of a unit of CPU', { asks: BE, fractions: { 'be-cpu': '3500m' } }, 'BE', { asked: '3500m', taken: 4 }],
    ['on an online pod', { qos: 'Burstable', asks: OT, fractions: { 'ot-memory': '1.5' } }, 'LS', { asked: '1.5', taken: 2 }],
  ],
  // Not by what it asks for: unfollowed.test.ts.
  unfollowed: [],
  noExclusiveCpus: [
    [
      'more than the node has',
      { qos: 'Guaranteed', requestsMilli: 9000, labels: label('LSR') },
      'LSR',
      { wantedCpus: 9, freeCpus: 7 },
    ],
    ['all of it, in whole cores', { qos: 'Guaranteed', requestsMilli: 7000, labels: label('LSX') }, 'LSX', { freeCpus: 6 }],
  ],
  noCpuRequest: [
    ['LSX without a request', { labels: label('LSX') }, 'LSX', { qosClass: 'LSX' }],
    ['LSR with memory only', { qos: 'Burstable', labels: label('LSR') }, 'LSR', { qosClass: 'LSR' }],
  ],
}

const FLAT = Object.entries(CASES).flatMap(([code, cases]) => cases.map(([name, ...rest]) => [code, name, rest] as const))

describe('findings', () => {
  it.each(FLAT)('%s: %s', (code, _, [pod, taken, details]) => {
    const { findings, classes } = findingsOf(pod)
    expect(classes).toEqual([taken])
    expect(findings.find((finding) => finding.code === code)).toMatchObject({
      namespace: 'default',
      name: 'p0',
      uid: 'p0',
      ...details,
    })
    const others = findings.filter((finding) => finding.code !== code).map((finding) => finding.code)
    expect(others).toEqual(pod.qos === 'Burstable' && (code === 'initContainer' || code === 'fraction') ? ['requestsToo'] : [])
  })

  it.each<[string, Pod]>([
    ['BE with both halves', { asks: BE }],
    ['OT with both halves, and its label', { labels: label('OT'), asks: OT }],
    ['a BE label alone', { labels: label('BE') }],
    ['an online label on a pod that asks for nothing', { labels: label('LS') }],
    ['an online pod', { qos: 'Guaranteed', requestsMilli: 1500, labels: label('LSX') }],
    ['amounts of zero beside requests', { qos: 'Burstable', asks: { 'be-cpu': 0 } }],
    ['a sidecar, which runs as main containers do', { asks: BE, kinds: ['main', 'sidecar'] }],
  ])('none about %s', (_, pod) => {
    expect(findingsOf(pod).findings).toEqual([])
  })

  it.each(['Succeeded', 'Failed'] as const)('none about a pod that has %s', (phase) => {
    expect(findingsOf({ phase, asks: { 'be-cpu': 1 }, labels: label('x') }).findings).toEqual([])
  })

  it('tell of a fraction of the agent’s own resources only', () => {
    const foreign = podFromObject(
      { kind: 'Pod', metadata: { name: 'g', uid: 'g' }, spec: { containers: [{ name: 'a', resources: { limits: GPU } }] } },
      'test',
    )
    const [pod] = snapshotOf({ pods: [{ uid: 'g' }] }).pods.pods
    if (foreign === undefined || pod === undefined) throw new Error('no pod')
    const { pods, ...rest } = snapshotOf()
    const snapshot = { ...rest, pods: { ...pods, pods: [{ ...pod, spec: foreign }] } }
    expect(foreign.fractions).toEqual(GPU)
    expect(decide(snapshot, EMPTY_MEMORY, DEFAULTS).decision.findings).toEqual([])
  })

  it('name a static pod by the UID that the API server knows', () => {
    expect(findingsOf({ asks: { 'be-cpu': 1 }, objectUid: 'mirror' }).findings).not.toMatchObject([{ uid: 'mirror' }])
  })

  it('come in the order of the pods, several of one pod together', () => {
    const odd: Pod = { asks: { 'be-cpu': 1 }, kinds: ['main', 'init'], labels: label('x') }
    expect(findingsOf(odd, { asks: BE }, odd).findings.map(({ name, code }) => `${name} ${code}`)).toEqual([
      'p0 labelUnknown',
      'p0 halfAsked',
      'p0 initContainer',
      'p2 labelUnknown',
      'p2 halfAsked',
      'p2 initContainer',
    ])
  })
})
