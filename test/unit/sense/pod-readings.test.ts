/**
 * Pods joined with the groups that the kubelet and the three runtimes make for them, under both cgroup drivers: static pods, a pod made
 * anew under its old name, pods that have ended, containers of every kind.
 */
import { describe, expect, it } from 'vitest'
import type { CgroupDriver, GroupPath, NodeSnapshot, PodSource, PodSpec } from '../../../src/model/index.ts'
import { childGroup, containerIdOf, groupName, NO_EVICTIONS, podFromObject, podGroup, qosRoot } from '../../../src/model/index.ts'
import { Sensor } from '../../../src/sense/index.ts'
import { ModelKernel } from '../../../src/sim/index.ts'
import { topologyOf } from '../../support/snapshots.ts'

type Runtime = 'containerd' | 'cri-o' | 'docker'

const NAMES: Readonly<Record<Runtime, Readonly<Record<CgroupDriver, (id: string) => string>>>> = {
  containerd: { cgroupfs: (id) => id, systemd: (id) => `cri-containerd-${id}.scope` },
  'cri-o': { cgroupfs: (id) => `crio-${id}`, systemd: (id) => `crio-${id}.scope` },
  docker: { cgroupfs: (id) => id, systemd: (id) => `docker-${id}.scope` },
}
const NODES = (Object.keys(NAMES) as Runtime[]).flatMap((runtime) =>
  (['cgroupfs', 'systemd'] as const).map((driver) => [runtime, driver] as const),
)

const idOf = (digit: string): string => digit.repeat(64)

class Bed {
  readonly kernel = new ModelKernel({ dialect: 'v2', topology: topologyOf('desktop') })
  readonly #layout
  readonly #nameOf: (id: string) => string
  readonly #sensor: Sensor
  #pods: readonly PodSpec[] = []
  #nowMs = 0

  constructor(runtime: Runtime, driver: CgroupDriver) {
    this.#layout = { root: '/', driver } as const
    this.#nameOf = NAMES[runtime][driver]
    for (const qos of ['Guaranteed', 'Burstable', 'BestEffort'] as const) this.kernel.makeGroup(qosRoot(this.#layout, qos))
    const list = () => ({ pods: this.#pods, everRead: true, revision: 0, atMs: 0, source: 'test', problems: [] })
    const pods: PodSource = { list, onChange: () => undefined, close: () => undefined }
    this.#sensor = new Sensor({ kernel: this.kernel, pods, layout: this.#layout, windowMs: 100 })
  }

  /** The groups that the kubelet and the runtime make: of the pod, of its sandbox and of the containers. */
  start(pod: PodSpec, ...ids: readonly string[]): GroupPath {
    const group = podGroup(this.#layout, pod.kubeletQos, pod.uid)
    this.kernel.makeGroup(group)
    for (const id of [idOf('0'), ...ids]) this.kernel.makeGroup(childGroup(group, this.#nameOf(id)))
    return group
  }

  sense(...pods: readonly PodSpec[]): NodeSnapshot['pods']['pods'] {
    this.#pods = pods
    this.#nowMs += 1000
    return this.#sensor.sense({ nowMs: this.#nowMs, wallMs: 0 }, 'calm', { inFlightUnits: {}, evictions: NO_EVICTIONS }).pods.pods
  }
}

function podOf(metadata: Readonly<Record<string, unknown>>, over: { spec?: object; status?: object } = {}): PodSpec {
  const containers = [{ name: 'main' }]
  const pod = podFromObject(
    { kind: 'Pod', metadata: { name: 'p', ...metadata }, spec: { containers, ...over.spec }, status: over.status },
    'test',
  )
  if (pod === undefined) throw new Error('no pod')
  return pod
}

const idsOf = (groups: readonly GroupPath[]): string[] => groups.map((group) => containerIdOf(groupName(group)) ?? 'none').sort()

describe.each(NODES)('under %s with the %s driver', (runtime, driver) => {
  it('a pod has the groups of its containers, of every kind, and of its sandbox', () => {
    const bed = new Bed(runtime, driver)
    const status = {
      containerStatuses: [{ name: 'main', containerID: `${runtime}://${idOf('a')}` }],
      initContainerStatuses: [
        { name: 'fetch', containerID: `${runtime}://${idOf('b')}` },
        { name: 'proxy', containerID: `${runtime}://${idOf('c')}` },
      ],
    }
    const initContainers = [{ name: 'fetch' }, { name: 'proxy', restartPolicy: 'Always' }]
    const pod = podOf({ uid: '12-34' }, { spec: { initContainers }, status })
    const group = bed.start(pod, idOf('a'), idOf('c'))
    const [reading] = bed.sense(pod)
    expect(reading).toMatchObject({ group, present: true })
    expect(idsOf(reading?.childGroups ?? [])).toEqual([idOf('0'), idOf('a'), idOf('c')])
  })

  it('a static pod is found by its hash', () => {
    const bed = new Bed(runtime, driver)
    const hash = 'd1'.repeat(16)
    const annotations = { 'kubernetes.io/config.hash': hash, 'kubernetes.io/config.mirror': hash }
    const pod = podOf({ uid: 'mirror', annotations }, { status: { qosClass: 'Burstable' } })
    const group = bed.start(pod, idOf('a'))
    expect(group).toContain(hash)
    expect(group).toContain('burstable')
    expect(bed.sense(pod)).toMatchObject([{ group, present: true }])
  })

  it('a pod made anew under its old name is another pod, with a group of its own', () => {
    const bed = new Bed(runtime, driver)
    const [old, fresh] = [podOf({ uid: 'old' }), podOf({ uid: 'new' })]
    const oldGroup = bed.start(old, idOf('a'))
    bed.sense(old)
    const freshGroup = bed.start(fresh, idOf('b'))
    const readings = bed.sense({ ...old, phase: 'Succeeded' }, fresh)
    expect(readings.map(({ group, present }) => ({ group, present }))).toEqual([
      { group: oldGroup, present: true },
      { group: freshGroup, present: true },
    ])
    expect(readings.map(({ childGroups }) => idsOf(childGroups).at(-1))).toEqual([idOf('a'), idOf('b')])
    bed.kernel.removeGroup(oldGroup)
    expect(bed.sense({ ...old, phase: 'Succeeded' }, fresh).map(({ present }) => present)).toEqual([false, true])
  })

  it('a pod that has ended has neither group nor containers nor use', () => {
    const bed = new Bed(runtime, driver)
    const pod = podOf({ uid: 'u' })
    const group = bed.start(pod, idOf('a'))
    bed.sense(pod)
    bed.sense(pod)
    bed.kernel.removeGroup(group)
    const ended = podOf({ uid: 'u' }, { status: { phase: 'Failed' } })
    expect(bed.sense(ended)).toEqual([{ spec: ended, group, childGroups: [], present: false }])
  })
})

describe('a list of groups that can not be read, or only in part,', () => {
  /** A kernel whose lists of children are what `lists` makes of them. */
  function forgetful(lists: (names: readonly string[]) => readonly string[]) {
    const kernel = new ModelKernel({ dialect: 'v2', topology: topologyOf('desktop') })
    const layout = { root: '/', driver: 'cgroupfs' } as const
    for (const qos of ['Guaranteed', 'Burstable', 'BestEffort'] as const) kernel.makeGroup(qosRoot(layout, qos))
    const spec = podOf({ uid: 'p' })
    const group = podGroup(layout, spec.kubeletQos, spec.uid)
    for (const made of [group, `${group}/a`, `${group}/b`]) kernel.makeGroup(made)
    const state = { lists: (names: readonly string[]) => names, pods: [spec] as readonly PodSpec[] }
    const port = new Proxy(kernel, {
      get: (target, key) => {
        if (key === 'listChildren') return (of: GroupPath) => state.lists(target.listChildren(of))
        const value: unknown = Reflect.get(target, key, target)
        return typeof value === 'function' ? (value as (...args: unknown[]) => unknown).bind(target) : value
      },
    })
    const list = () => ({ pods: state.pods, everRead: true, revision: 0, atMs: 0, source: 'test', problems: [] })
    const sensor = new Sensor({
      kernel: port,
      pods: { list, onChange: () => undefined, close: () => undefined },
      layout,
      windowMs: 100,
    })
    let nowMs = 0
    const sense = (): NodeSnapshot => {
      nowMs += 1000
      return sensor.sense({ nowMs, wallMs: 0 }, 'calm', { inFlightUnits: {}, evictions: NO_EVICTIONS })
    }
    return { kernel, group, state, sense, spoil: () => void (state.lists = lists) }
  }

  it.each<[string, (names: readonly string[]) => readonly string[]]>([
    ['empty', () => []],
    ['of every second', (names) => names.filter((_name, index) => index % 2 === 1)],
  ])('%s, leaves a pod the containers that are still there, and drops those that are gone', (_, lists) => {
    const { kernel, group, sense, spoil } = forgetful(lists)
    const childrenOf = () => [...(sense().pods.pods[0]?.childGroups ?? [])].sort()
    expect(childrenOf()).toEqual([`${group}/a`, `${group}/b`])
    spoil()
    for (let sweep = 0; sweep < 12; sweep += 1) expect(childrenOf()).toEqual([`${group}/a`, `${group}/b`])
    kernel.removeGroup(`${group}/b`)
    for (let sweep = 0; sweep < 10; sweep += 1) sense()
    expect(childrenOf()).toEqual([`${group}/a`])
  })

  it('leaves a pod that nobody lists among the unlisted ones until its group is gone', () => {
    const { kernel, group, state, sense, spoil } = forgetful(() => [])
    sense()
    state.pods = []
    expect(sense().unlistedGroups).toEqual([group])
    spoil()
    for (let sweep = 0; sweep < 5; sweep += 1) expect(sense().unlistedGroups).toEqual([group])
    kernel.removeGroup(group)
    expect(sense().unlistedGroups).toEqual([])
  })
})
