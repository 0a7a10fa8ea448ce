/**
 * Pods joined with the groups that the kubelet and the three runtimes make for them, under both cgroup drivers: static pods, a pod made
 * anew under its old name, pods that have ended, containers of every kind.
 */
import { describe, expect, it, vi } from 'vitest'
import type { CgroupDriver, GroupPath, KernelPort, NodeSnapshot, PodSource, PodSpec } from '../../../src/model/index.ts'
import {
  childGroup,
  containerIdOf,
  groupName,
  NO_EVICTIONS,
  parentGroup,
  podFromObject,
  podGroup,
  qosRoot,
} from '../../../src/model/index.ts'
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

const CGROUPFS = { root: '/', driver: 'cgroupfs' } as const

/** A node with the kubelet's roots. */
function emptyNode(): ModelKernel {
  const kernel = new ModelKernel({ dialect: 'v2', topology: topologyOf('desktop') })
  for (const qos of ['Guaranteed', 'Burstable', 'BestEffort'] as const) kernel.makeGroup(qosRoot(CGROUPFS, qos))
  return kernel
}

/** One calm tick a second after the other, over whatever pods there are by then. */
function calmTicks(kernel: KernelPort, pods: () => readonly PodSpec[]): () => NodeSnapshot {
  const list = () => ({ pods: pods(), everRead: true, revision: 0, atMs: 0, source: 'test', problems: [] })
  const source: PodSource = { list, onChange: () => undefined, close: () => undefined }
  const sensor = new Sensor({ kernel, pods: source, layout: CGROUPFS, windowMs: 100 })
  let nowMs = 0
  return () => {
    nowMs += 1000
    return sensor.sense({ nowMs, wallMs: 0 }, 'calm', { inFlightUnits: {}, evictions: NO_EVICTIONS })
  }
}

describe('a list of groups that can not be read, or only in part,', () => {
  /** A kernel whose lists of children are what `lists` makes of them. */
  function forgetful(lists: (names: readonly string[]) => readonly string[]) {
    const kernel = emptyNode()
    const spec = podOf({ uid: 'p' })
    const group = podGroup(CGROUPFS, spec.kubeletQos, spec.uid)
    for (const made of [group, `${group}/a`, `${group}/b`]) kernel.makeGroup(made)
    const state = { lists: (names: readonly string[]) => names, pods: [spec] as readonly PodSpec[] }
    const port = new Proxy(kernel, {
      get: (target, key) => {
        if (key === 'listChildren') return (of: GroupPath) => state.lists(target.listChildren(of))
        // As on a file system that does not tell.
        if (key === 'countChildren') return () => undefined
        const value: unknown = Reflect.get(target, key, target)
        return typeof value === 'function' ? (value as (...args: unknown[]) => unknown).bind(target) : value
      },
    })
    const sense = calmTicks(port, () => state.pods)
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

describe('where the kernel tells how many groups there are,', () => {
  function counting() {
    const kernel = emptyNode()
    const start = (uid: string, ...containers: readonly string[]): PodSpec => {
      const spec = podOf({ uid })
      const group = podGroup(CGROUPFS, spec.kubeletQos, uid)
      for (const made of [group, ...containers.map((name) => childGroup(group, name))]) kernel.makeGroup(made)
      return spec
    }
    const groupOf = (uid: string): GroupPath => podGroup(CGROUPFS, 'BestEffort', uid)
    const state = { pods: [start('p', 'a', 'b'), start('q', 'c')] as readonly PodSpec[] }
    const lists = vi.spyOn(kernel, 'listChildren')
    const sense = calmTicks(kernel, () => state.pods)
    const settle = (): void => {
      for (let sweep = 0; sweep < 12; sweep += 1) sense()
      lists.mockClear()
    }
    const childrenOf = (index: number): string[] => idsOfNames(sense().pods.pods[index]?.childGroups ?? [])
    return { kernel, state, lists, start, groupOf, sense, settle, childrenOf }
  }
  const idsOfNames = (groups: readonly GroupPath[]): string[] => groups.map(groupName).sort()

  it('nothing is listed again while nothing comes or goes, and the lists are the very same', () => {
    const { sense, settle, lists } = counting()
    settle()
    const before = sense().pods.pods.map(({ childGroups }) => childGroups)
    for (let sweep = 0; sweep < 24; sweep += 1) sense()
    expect(lists).not.toHaveBeenCalled()
    for (const [index, { childGroups }] of sense().pods.pods.entries()) expect(childGroups).toBe(before[index])
  })

  it('a container that came in the place of another is found within a round of sweeps', () => {
    const { kernel, groupOf, sense, settle, childrenOf } = counting()
    settle()
    kernel.removeGroup(`${groupOf('p')}/b`)
    kernel.makeGroup(`${groupOf('p')}/z`)
    for (let sweep = 0; sweep < 10; sweep += 1) sense()
    expect(childrenOf(0)).toEqual(['a', 'z'])
  })

  it('a group that nobody lists is found on the next sweep', () => {
    const { start, groupOf, sense, settle } = counting()
    settle()
    start('stranger')
    expect(sense().unlistedGroups).toEqual([groupOf('stranger')])
  })

  it('a group that nobody lists is found when it came in the place of a pod that is listed', () => {
    const { kernel, start, groupOf, sense, settle } = counting()
    settle()
    kernel.removeGroup(groupOf('q'))
    start('stranger')
    expect(sense().unlistedGroups).toEqual([groupOf('stranger')])
  })

  it('a group that nobody lists is found when it came in the place of one that is no pod', () => {
    const { kernel, start, groupOf, sense, settle } = counting()
    kernel.makeGroup(childGroup(parentGroup(groupOf('p')), 'other'))
    settle()
    kernel.removeGroup(childGroup(parentGroup(groupOf('p')), 'other'))
    start('stranger')
    expect(sense().unlistedGroups).toEqual([groupOf('stranger')])
  })

  it('a pod that is no longer listed is told of, and let go of with its group', () => {
    const { kernel, state, groupOf, sense, settle } = counting()
    settle()
    state.pods = state.pods.slice(0, 1)
    expect(sense().unlistedGroups).toEqual([groupOf('q')])
    expect(sense().unlistedGroups).toEqual([groupOf('q')])
    kernel.removeGroup(groupOf('q'))
    expect(sense().unlistedGroups).toEqual([])
  })
})

describe('the CPU use of pods', () => {
  it('is read on every sweep below the best-effort root, and of online pods on every second, once they are known', () => {
    const kernel = emptyNode()
    const uids = ['web', 'db', 'batch', 'untagged']
    const pods = uids.map((uid, index): PodSpec => ({ ...podOf({ uid }), kubeletQos: index < 2 ? 'Burstable' : 'BestEffort' }))
    for (const { uid, kubeletQos } of pods) kernel.makeGroup(podGroup(CGROUPFS, kubeletQos, uid))
    const sense = calmTicks(kernel, () => pods)
    const agesOf = ({ nowMs, pods: { pods: readings } }: NodeSnapshot): readonly (number | undefined)[] =>
      readings.map(({ use }) => use && nowMs - use.atMs)
    for (let sweep = 0; sweep < 11; sweep += 1) expect(agesOf(sense()).every((age) => (age ?? 0) === 0)).toBe(true)
    const ages = Array.from({ length: 8 }, () => agesOf(sense()))
    for (const index of [2, 3]) expect(ages.map((all) => all[index])).toEqual(Array(8).fill(0))
    for (const index of [0, 1]) expect(new Set(ages.map((all) => all[index]))).toEqual(new Set([0, 1000]))
    expect(ages.every(([web, db]) => web !== db)).toBe(true)
  })

  it('shows that an online pod is gone on the second sweep at the latest', () => {
    const kernel = emptyNode()
    const pods = ['web', 'db'].map((uid): PodSpec => ({ ...podOf({ uid }), kubeletQos: 'Burstable' }))
    const groups = pods.map(({ uid }) => podGroup(CGROUPFS, 'Burstable', uid))
    for (const group of groups) kernel.makeGroup(group)
    const sense = calmTicks(kernel, () => pods)
    const present = (): boolean[] => sense().pods.pods.map((pod) => pod.present)
    for (let sweep = 0; sweep < 14; sweep += 1) present()
    for (const group of groups) kernel.removeGroup(group)
    present()
    expect(present()).toEqual([false, false])
  })
})
