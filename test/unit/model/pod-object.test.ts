/**
 * Pod objects as an API server or a kubelet gives them: static and mirror pods, what the status says of them, resources of the pod as a
 * whole, containers of every kind. Manifests that people write are in test/unit/sense/manifest.test.ts, which goes the same way.
 */
import { describe, expect, it } from 'vitest'
import type { KubeletQos, PodSpec } from '../../../src/model/index.ts'
import { hasEnded, podFromObject } from '../../../src/model/index.ts'

interface PodLiteral {
  readonly metadata?: Readonly<Record<string, unknown>>
  readonly spec?: Readonly<Record<string, unknown>>
  readonly status?: Readonly<Record<string, unknown>>
}

const object = ({ metadata, spec, status }: PodLiteral): unknown => ({
  kind: 'Pod',
  metadata: { name: 'p', uid: 'u', ...metadata },
  spec: { containers: [{ name: 'main' }], ...spec },
  status,
})

function podOf(pod: PodLiteral): PodSpec {
  const spec = podFromObject(object(pod), 'test')
  if (spec === undefined) throw new Error('no pod')
  return spec
}

const HASH = 'c0ffee'.repeat(5)
const annotated = (annotations: Readonly<Record<string, string>>): PodLiteral => ({ metadata: { annotations } })

describe('the UID that names the group', () => {
  it('is the hash in a mirror pod, which keeps its own for the API server', () => {
    const mirror = {
      'kubernetes.io/config.hash': HASH,
      'kubernetes.io/config.mirror': HASH,
      'kubernetes.io/config.source': 'file',
    }
    expect(podOf(annotated(mirror))).toMatchObject({ uid: HASH, objectUid: 'u' })
    expect(podOf(annotated({ 'kubernetes.io/config.mirror': HASH }))).toMatchObject({ uid: HASH, objectUid: 'u' })
  })

  it("is the pod's own in a static pod as the kubelet tells of it", () => {
    const own = { 'kubernetes.io/config.hash': HASH, 'kubernetes.io/config.source': 'file' }
    const pod = podOf({ metadata: { uid: HASH, annotations: own } })
    expect(pod.uid).toBe(HASH)
    expect(pod.objectUid).toBeUndefined()
  })

  it('is not what a pod says that is no mirror: it could name the group of another pod', () => {
    expect(podOf(annotated({ 'kubernetes.io/config.hash': 'another' }))).toMatchObject({ uid: 'u' })
  })

  it('is the hash where there is nothing else, as in a manifest of a static pod', () => {
    expect(podOf({ metadata: { uid: undefined, annotations: { 'kubernetes.io/config.hash': HASH } } })).toMatchObject({
      uid: HASH,
    })
  })

  it.each(['../x', 'a/b', '', '.'])('is refused where it could lead out of the cgroup root: %j', (uid) => {
    expect(() => podOf(annotated({ 'kubernetes.io/config.mirror': uid }))).toThrow(/metadata\.uid/)
  })
})

describe('the status', () => {
  it("gives the kubelet's class, whatever would be computed", () => {
    const requests = { containers: [{ name: 'main', resources: { requests: { cpu: '1' } } }] }
    expect(podOf({ spec: requests }).kubeletQos).toBe('Burstable')
    for (const qosClass of ['BestEffort', 'Guaranteed', 'Burstable'])
      expect(podOf({ spec: requests, status: { qosClass } }).kubeletQos).toBe(qosClass)
  })

  it.each([undefined, null, '', 'besteffort', 5])('leaves it to be computed where it names none: %j', (qosClass) => {
    expect(podOf({ status: { qosClass } }).kubeletQos).toBe('BestEffort')
  })

  it('gives the phase, which tells whether the pod holds anything', () => {
    const ended = ['Pending', 'Running', 'Unknown', 'Succeeded', 'Failed', 'Nonsense'].map((phase) =>
      hasEnded(podOf({ status: { phase } })),
    )
    expect(ended).toEqual([false, false, false, true, true, false])
  })
})

describe('containers', () => {
  const be = (units: number) => ({ resources: { limits: { 'kube-agent.io/be-cpu': units } } })

  it('have their kind, their units and their id, each from the list it is in', () => {
    const { containers, extended } = podOf({
      spec: {
        containers: [{ name: 'main', ...be(2) }],
        initContainers: [
          { name: 'fetch', ...be(5) },
          { name: 'proxy', restartPolicy: 'Always', ...be(1) },
        ],
      },
      status: {
        containerStatuses: [
          { name: 'main', containerID: 'containerd://aa' },
          { name: 'fetch', containerID: 'containerd://no' },
        ],
        initContainerStatuses: [
          { name: 'fetch', containerID: 'containerd://bb' },
          { name: 'proxy', containerID: '' },
        ],
      },
    })
    expect(containers).toEqual([
      { name: 'main', kind: 'main', extended: { 'kube-agent.io/be-cpu': 2 }, id: 'containerd://aa' },
      { name: 'fetch', kind: 'init', extended: { 'kube-agent.io/be-cpu': 5 }, id: 'containerd://bb' },
      { name: 'proxy', kind: 'sidecar', extended: { 'kube-agent.io/be-cpu': 1 } },
    ])
    // The neediest moment: the init container alone, for the sidecar starts after it.
    expect(extended).toEqual({ 'kube-agent.io/be-cpu': 5 })
  })

  it.each([
    ['0.5', 1],
    ['1500m', 2],
    [2.25, 3],
  ])('count a part of a unit as a whole one, and keep what was written: %j', (amount, whole) => {
    const spec = { containers: [{ name: 'main', resources: { limits: { 'kube-agent.io/be-cpu': amount } } }] }
    const { extended, containers, fractions } = podOf({ spec })
    expect(extended).toEqual({ 'kube-agent.io/be-cpu': whole })
    expect(containers[0]?.extended).toEqual(extended)
    expect(fractions).toEqual({ 'kube-agent.io/be-cpu': String(amount) })
  })

  it('that are whole are no fractions, however they are written', () => {
    const spec = { containers: [{ name: 'main', resources: { limits: { 'kube-agent.io/be-cpu': '3000m', cpu: '1500m' } } }] }
    expect(podOf({ spec })).not.toHaveProperty('fractions')
  })
})

describe('resources of the pod as a whole', () => {
  const both = { cpu: '2', memory: '2Gi' }
  const cpuOf = (requests: unknown) => ({ containers: [{ name: 'main', resources: { requests } }] })

  it.each<[string, Readonly<Record<string, unknown>>, KubeletQos, number]>([
    [
      'requests make it Burstable, and count in place of those of its containers',
      { resources: { requests: both }, ...cpuOf({ cpu: 1 }) },
      'Burstable',
      2000,
    ],
    ['limits alone are requests too', { resources: { limits: both } }, 'Guaranteed', 2000],
    ['limits equal to its requests', { resources: { limits: both, requests: both }, ...cpuOf({ cpu: 1 }) }, 'Guaranteed', 2000],
    ['limits above its requests', { resources: { limits: both, requests: { ...both, cpu: 1 } } }, 'Burstable', 1000],
    [
      'limits above what its containers request, which is then its request',
      { resources: { limits: both }, ...cpuOf({ cpu: 1 }) },
      'Burstable',
      1000,
    ],
    ['a limit of one resource', { resources: { limits: { memory: '1Gi' } } }, 'Burstable', 0],
    ['nothing in it, whatever the containers ask for', { resources: {}, ...cpuOf({ cpu: 1 }) }, 'BestEffort', 1000],
    ['null is none', { resources: null, ...cpuOf({ cpu: 1 }) }, 'Burstable', 1000],
  ])('%s', (_, spec, qos, cpuMilli) => {
    const pod = podOf({ spec })
    expect([pod.kubeletQos, pod.requests.cpuMilli]).toEqual([qos, cpuMilli])
  })

  it('leave extended resources to the containers', () => {
    const spec = {
      resources: { requests: { cpu: 1, 'kube-agent.io/be-cpu': 9 } },
      containers: [{ name: 'main', resources: { limits: { 'kube-agent.io/be-cpu': 2 } } }],
    }
    expect(podOf({ spec }).extended).toEqual({ 'kube-agent.io/be-cpu': 2 })
  })

  it('are refused where they are no mapping', () => {
    expect(() => podOf({ spec: { resources: [] } })).toThrow('spec.resources')
  })
})

describe('what rules go by', () => {
  it('is the priority class by name', () => {
    expect(podOf({ spec: { priorityClassName: 'gold' } }).priorityClassName).toBe('gold')
    expect(podOf({}).priorityClassName).toBeUndefined()
  })

  it('is the CPU limit of each container, which a resize changes before the kubelet does', () => {
    const containers = [
      { name: 'a', resources: { limits: { cpu: '1500m', memory: '1Gi' }, requests: { cpu: '1' } } },
      { name: 'b', resources: { requests: { cpu: '1' } } },
      { name: 'c', resources: { limits: { cpu: 0 } } },
    ]
    expect(podOf({ spec: { containers } }).containers.map(({ cpuLimitMilli }) => cpuLimitMilli)).toEqual([
      1500,
      undefined,
      undefined,
    ])
  })
})

describe('what decides who goes first', () => {
  it('is absent where nobody said', () => {
    for (const field of ['priority', 'createdWallMs', 'controllerKind', 'isStatic', 'isEnding', 'graceSeconds'])
      expect(podOf({})).not.toHaveProperty(field)
  })

  it('knows a pod that was deleted and has yet to end', () => {
    expect(podOf({ metadata: { deletionTimestamp: '2026-01-01T00:00:40Z' } }).isEnding).toBe(true)
    expect(podOf({ metadata: { deletionTimestamp: null } })).not.toHaveProperty('isEnding')
  })

  it('is read as the API server gives it', () => {
    const owner = (kind: string, more: Record<string, unknown> = {}) => ({ apiVersion: 'v1', kind, name: 'x', uid: 'y', ...more })
    const metadata = {
      creationTimestamp: '2026-01-01T00:00:10Z',
      ownerReferences: [owner('Workflow'), owner('Job', { controller: true }), owner('Other', { controller: false })],
    }
    expect(podOf({ metadata, spec: { priority: -10, terminationGracePeriodSeconds: 0 } })).toMatchObject({
      createdWallMs: Date.UTC(2026, 0, 1, 0, 0, 10),
      controllerKind: 'Job',
      priority: -10,
      graceSeconds: 0,
    })
  })

  it.each<[string, PodLiteral]>([
    ['a priority', { spec: { priority: '5' } }],
    ['half a priority', { spec: { priority: 1.5 } }],
    ['a time without a day', { metadata: { creationTimestamp: '12:00' } }],
    ['a day that is none', { metadata: { creationTimestamp: '2026-13-45T00:00:00Z' } }],
    ['a number as a time', { metadata: { creationTimestamp: 1 } }],
    ['null as a time, as in the templates of controllers', { metadata: { creationTimestamp: null } }],
    ['owners', { metadata: { ownerReferences: 'Job' } }],
    [
      'an owner',
      { metadata: { ownerReferences: [null, 'Job', { controller: 'true', kind: 'Job' }, { controller: true, kind: 5 }] } },
    ],
    ['an owner that is not in charge', { metadata: { ownerReferences: [{ kind: 'Job' }] } }],
    ['a grace period', { spec: { terminationGracePeriodSeconds: '30' } }],
    ['less than no time', { spec: { terminationGracePeriodSeconds: -1 } }],
  ])('is as if absent, and costs nobody the pod, where it is nonsense: %s', (_, pod) => {
    const { priority, createdWallMs, controllerKind, graceSeconds } = podOf(pod)
    expect([priority, createdWallMs, controllerKind, graceSeconds]).toEqual([undefined, undefined, undefined, undefined])
  })

  it.each([
    ['a file, as the kubelet tells', { 'kubernetes.io/config.source': 'file' }, true],
    ['a URL', { 'kubernetes.io/config.source': 'http' }, true],
    ['the API server, as the kubelet tells', { 'kubernetes.io/config.source': 'api' }, undefined],
    ['a file, by its mirror', { 'kubernetes.io/config.mirror': HASH, 'kubernetes.io/config.hash': HASH }, true],
    ['nobody knows', { 'kubernetes.io/config.seen': '2026-01-01T00:00:00Z' }, undefined],
  ])('is that a pod is static, when it comes from %s', (_, annotations, isStatic) => {
    expect(podOf(annotated(annotations as Readonly<Record<string, string>>)).isStatic).toBe(isStatic)
  })
})
