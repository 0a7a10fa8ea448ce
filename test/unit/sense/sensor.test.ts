/**
 * The sensor over a model kernel: what it reads at which pace, what it lets go of when groups and containers go, and that a reading that
 * can't be had grows old instead of becoming a wrong number.
 */
import { describe, expect, it, vi } from 'vitest'
import type {
  GroupPath,
  KernelPort,
  KnobKind,
  KnobSetting,
  NodeSnapshot,
  PodList,
  PodSource,
  PodSpec,
} from '../../../src/model/index.ts'
import { childGroup, IoLimits, KnobTable, NO_DEVICE_LIMITS, NO_EVICTIONS, podGroup, quotaOf } from '../../../src/model/index.ts'
import { Sensor } from '../../../src/sense/index.ts'
import { ModelKernel } from '../../../src/sim/index.ts'
import { LAYOUT, OFFLINE_ROOT, specOf, topologyOf } from '../../support/snapshots.ts'

class Source implements PodSource {
  #list: PodList = { pods: [], everRead: true, revision: 0, atMs: 0, source: 'test', problems: [] }

  set(...pods: readonly PodSpec[]): void {
    this.#list = { ...this.#list, pods, revision: this.#list.revision + 1 }
  }

  list(): PodList {
    return this.#list
  }

  onChange(): void {}
  close(): void {}
}

/** A node whose kernel notes what is read, and can stop answering. */
class Bed {
  readonly model: ModelKernel
  readonly source = new Source()
  readonly sensor: Sensor
  readonly reads: string[] = []
  readonly forgotten: GroupPath[] = []
  silent = false
  nowMs = 1000

  constructor(dialect: 'v1' | 'v2' = 'v1') {
    this.model = new ModelKernel({ dialect, topology: topologyOf('desktop') })
    for (const group of ['/kubepods', '/kubepods/burstable', OFFLINE_ROOT]) this.model.makeGroup(group)
    const kernel: KernelPort = new Proxy<KernelPort>(this.model, { get: (target, key) => this.#intercept(target, key) })
    this.sensor = new Sensor({ kernel, pods: this.source, layout: LAYOUT, windowMs: 100 })
  }

  #intercept(target: KernelPort, key: string | symbol): unknown {
    const value: unknown = Reflect.get(target, key, target)
    if (typeof value !== 'function') return value
    const call = (value as (...args: unknown[]) => unknown).bind(target)
    return (...args: unknown[]): unknown => {
      const what = [key, ...args.filter((arg) => typeof arg === 'string')].join(' ')
      if (key === 'forget') this.forgotten.push(String(args[0]))
      else this.reads.push(what)
      if (!this.silent) return call(...args)
      return key === 'readThrottling' || key === 'readGroupMemory'
        ? false
        : key === 'readOnlineText'
          ? ''
          : key === 'listChildren'
            ? []
            : undefined
    }
  }

  addGroup(pod: PodSpec, ...containers: readonly string[]): GroupPath {
    const group = podGroup(LAYOUT, pod.kubeletQos, pod.uid)
    this.model.makeGroup(group)
    for (const name of containers) this.model.makeGroup(childGroup(group, name))
    return group
  }

  sense(pace: 'calm' | 'hot' = 'calm', afterMs = 1000): NodeSnapshot {
    this.nowMs += afterMs
    this.reads.length = 0
    return this.sensor.sense({ nowMs: this.nowMs, wallMs: 0 }, pace, { inFlightUnits: {}, evictions: NO_EVICTIONS })
  }

  use(group: GroupPath, us: number): void {
    const found = this.model.groups.get(group)
    if (found !== undefined) found.cpuUsageUs += us
  }
}

const FLINK = specOf({ uid: 'flink', asks: { 'be-cpu': 5 } })
const SPARK = specOf({ uid: 'spark', asks: { 'ot-cpu': 5 } })
const WEB = specOf({ uid: 'web', qos: 'Burstable', requestsMilli: 100 })

describe('pods', () => {
  it('come, are measured, and go', () => {
    const bed = new Bed()
    bed.source.set(FLINK)
    expect(bed.sense().pods.pods[0]).toEqual({
      spec: FLINK,
      group: '/kubepods/besteffort/podflink',
      childGroups: [],
      present: false,
    })
    const group = bed.addGroup(FLINK, 'main')
    const [first] = bed.sense().pods.pods
    expect(first).toMatchObject({ present: true, childGroups: [`${group}/main`] })
    expect(first?.use).toBeUndefined()
    bed.use(group, 500_000)
    expect(bed.sense().pods.pods[0]?.use).toMatchObject({ value: { cpuMilli: 500 }, atMs: bed.nowMs })
    bed.model.removeGroup(group)
    expect(bed.sense().pods.pods[0]).toEqual({ spec: FLINK, group, childGroups: [], present: false })
    expect(bed.forgotten).toContain(group)
    bed.source.set()
    expect(bed.sense().pods.pods).toEqual([])
  })

  it('keep nothing of the group that had their name before', () => {
    const bed = new Bed()
    bed.source.set(FLINK)
    const group = bed.addGroup(FLINK, 'main')
    bed.sense()
    bed.use(group, 1_000_000)
    bed.sense()
    bed.model.removeGroup(group)
    bed.sense()
    bed.addGroup(FLINK, 'other')
    // More than the old group ever had: a rate over both would be of nobody.
    bed.use(group, 9_000_000)
    const [again] = bed.sense().pods.pods
    expect(again?.use).toBeUndefined()
    expect(again?.childGroups).toEqual([`${group}/other`])
  })

  it('are looked for in the group of their class, also when a mended manifest changes it', () => {
    const bed = new Bed()
    bed.source.set(FLINK)
    bed.addGroup(FLINK)
    expect(bed.sense().pods.pods[0]?.present).toBe(true)
    const mended: PodSpec = { ...FLINK, kubeletQos: 'Burstable' }
    bed.source.set(mended)
    const snapshot = bed.sense()
    expect(snapshot.pods.pods[0]).toEqual({
      spec: mended,
      group: '/kubepods/burstable/podflink',
      childGroups: [],
      present: false,
    })
    expect(snapshot.unlistedGroups).toEqual(['/kubepods/besteffort/podflink'])
  })

  it('have their containers listed anew at the latest after ten sweeps, and at once when asked for', () => {
    const bed = new Bed()
    bed.source.set(SPARK, FLINK, WEB)
    const group = bed.addGroup(FLINK, 'main')
    bed.sense()
    bed.model.makeGroup(`${group}/sidecar`)
    let sweeps = 0
    const children = (): readonly GroupPath[] => bed.sense().pods.pods[1]?.childGroups ?? []
    while (children().length < 2 && sweeps < 20) sweeps += 1
    expect(sweeps).toBeLessThan(10)
    bed.model.makeGroup(`${group}/third`)
    bed.sensor.pods.relist(`${group}/main`)
    expect(children()).toHaveLength(3)
  })

  it('do not mix up names that begin alike when containers are asked for again', () => {
    const bed = new Bed()
    const [one, eleven] = [specOf({ uid: 'a1' }), specOf({ uid: 'a11' })]
    bed.source.set(one, eleven)
    const group = bed.addGroup(one)
    bed.addGroup(eleven)
    // A young pod is read in full on every sweep, and the turn comes round after ten.
    for (let sweep = 0; sweep < 21; sweep += 1) bed.sense()
    bed.model.makeGroup(`${group}/x`)
    bed.sensor.pods.relist('/kubepods/besteffort/poda11')
    expect(bed.sense().pods.pods[0]?.childGroups).toEqual([])
  })

  it('let go of containers that have gone, so that a pod that crashes for ever holds nothing of them', () => {
    const bed = new Bed()
    bed.source.set(FLINK)
    const group = bed.addGroup(FLINK, 'try-0')
    for (let crash = 0; crash < 20; crash += 1) {
      bed.model.removeGroup(`${group}/try-${crash}`)
      bed.model.makeGroup(`${group}/try-${crash + 1}`)
      bed.sensor.pods.relist(group)
      bed.sense()
      if (crash > 0) expect(bed.forgotten).toContain(`${group}/try-${crash}`)
    }
    // The sets of the kubelet's own groups are read as well.
    const roots = ['/kubepods', '/kubepods/burstable', OFFLINE_ROOT]
    expect([...bed.sensor.knobs.table.groups()].filter((one) => !roots.includes(one))).toEqual([`${group}/try-20`])
  })

  it('know by how much they were throttled since the last look', () => {
    const bed = new Bed()
    bed.source.set(FLINK)
    const found = bed.model.groups.get(bed.addGroup(FLINK))
    // A young pod is looked at on every sweep: only an older one keeps what a look has shown until its next turn.
    for (let sweep = 0; sweep < 12; sweep += 1) bed.sense()
    if (found !== undefined) [found.periods, found.throttledPeriods] = [100, 25]
    for (let sweep = 0; sweep < 10; sweep += 1) bed.sense()
    expect(bed.sense().pods.pods[0]?.use?.value.throttledPermyriad).toBe(2500)
    for (let sweep = 0; sweep < 10; sweep += 1) bed.sense()
    expect(bed.sense().pods.pods[0]?.use?.value.throttledPermyriad).toBe(0)
  })

  it('hold what is used less the page cache that can go', () => {
    const bed = new Bed()
    bed.source.set(FLINK)
    const found = bed.model.groups.get(bed.addGroup(FLINK))
    if (found !== undefined) [found.usageBytes, found.inactiveFileBytes] = [1000, 300]
    bed.sense()
    expect(bed.sense().pods.pods[0]?.use?.value.workingSetBytes).toBe(700)
    if (found !== undefined) found.inactiveFileBytes = 5000
    for (let sweep = 0; sweep < 10; sweep += 1) bed.sense()
    expect(bed.sense().pods.pods[0]?.use?.value.workingSetBytes).toBe(0)
  })
})

describe('groups that no source lists', () => {
  it('are found below the roots of all kubelet classes, and only pods', () => {
    const bed = new Bed()
    bed.addGroup(FLINK)
    bed.model.makeGroup(`${OFFLINE_ROOT}/not-a-pod-but-a-folder`)
    bed.addGroup(WEB)
    expect(bed.sense().unlistedGroups).toEqual(['/kubepods/burstable/podweb', '/kubepods/besteffort/podflink'])
    bed.source.set(FLINK, WEB)
    expect(bed.sense().unlistedGroups).toEqual([])
  })

  it('are let go of with their group', () => {
    const bed = new Bed()
    const group = bed.addGroup(FLINK)
    bed.sense()
    expect(bed.sensor.knobs.table.get(group, 'quota')).toBeDefined()
    bed.model.removeGroup(group)
    bed.sense()
    expect(bed.forgotten).toContain(group)
    expect(bed.sensor.knobs.table.get(group, 'quota')).toBeUndefined()
  })

  it('keep what was read of them when a source comes to list them', () => {
    const bed = new Bed()
    bed.addGroup(FLINK)
    bed.sense()
    bed.source.set(FLINK)
    bed.sense()
    expect(bed.forgotten).toEqual([])
  })
})

describe('a kernel that stops answering', () => {
  it('leaves readings as they were, growing old', () => {
    const bed = new Bed()
    bed.source.set(FLINK)
    bed.addGroup(FLINK)
    bed.sense()
    bed.model.nodeCpuUs += 2_000_000
    bed.model.pressureUs.cpu += 500_000
    const good = bed.sense()
    expect(good.node).toMatchObject({ cpu: { value: { usedMilli: 2000 } }, cpuPressure: { value: { someUsPerSecond: 500_000 } } })
    bed.silent = true
    const silent = bed.sense('calm', 7000)
    expect(silent.node).toEqual(good.node)
    expect(silent.bestEffort).toEqual(good.bestEffort)
    expect(silent.nowMs - (silent.node.cpu?.atMs ?? 0)).toBe(7000)
    expect(silent.pods.pods[0]?.present).toBe(false)
    expect(silent.topology).toBe(good.topology)
  })

  it('is averaged over the silence when it answers again', () => {
    const bed = new Bed()
    bed.sense()
    bed.sense()
    bed.silent = true
    bed.sense()
    bed.silent = false
    bed.model.nodeCpuUs += 4_000_000
    expect(bed.sense().node.cpu?.value).toEqual({ usedMilli: 2000, windowMs: 2000 })
  })

  it('gives no reading of a counter that was set back', () => {
    const bed = new Bed()
    bed.model.nodeCpuUs = 5_000_000
    bed.sense()
    bed.model.nodeCpuUs = 0
    expect(bed.sense().node.cpu).toBeUndefined()
  })
})

describe('pace', () => {
  it('reads of pods at the calm pace only, and counters of the node, memory and the root quota at the hot one', () => {
    const bed = new Bed()
    bed.source.set(FLINK, WEB)
    bed.addGroup(FLINK, 'main')
    bed.addGroup(WEB)
    const calm = bed.sense('calm')
    const hot = bed.sense('hot')
    expect(bed.reads).toEqual([
      'readNodeCpuUs',
      `readCpuUsageUs ${OFFLINE_ROOT}`,
      'readCpuUsageUs /kubepods',
      `readCpuUsageUs ${OFFLINE_ROOT}`,
      'readNodeMemory',
      ...['cpu', 'memory', 'io'].map((resource) => `readNodePressureUs ${resource}`),
      'readRunnable',
      `readTasks ${OFFLINE_ROOT}`,
      `readKnob ${OFFLINE_ROOT} quota`,
    ])
    expect(hot.pods.pods).toBe(calm.pods.pods)
    expect(hot.node.memory?.atMs).toBe(bed.nowMs)
    expect([calm.pace, hot.pace, hot.seq - calm.seq]).toEqual(['calm', 'hot', 1])
  })

  it('samples once for a guard beat and a tick at the same time', () => {
    const bed = new Bed()
    bed.sense()
    bed.nowMs += 1000
    bed.reads.length = 0
    expect(bed.sensor.guard(bed.nowMs)).toEqual({
      nodeMilli: 0,
      offlineMilli: 0,
      onlineMilli: 0,
      onlineLatestMilli: 0,
      onlinePressurePermyriad: undefined,
      runnable: 0,
      availablePermyriad: 7500,
    })
    expect(bed.reads).toEqual([
      'readNodeCpuUs',
      `readCpuUsageUs ${OFFLINE_ROOT}`,
      'readCpuUsageUs /kubepods',
      `readCpuUsageUs ${OFFLINE_ROOT}`,
      'readRunnable',
      `readTasks ${OFFLINE_ROOT}`,
      'readNodeMemory',
    ])
    bed.sense('hot', 0)
    expect(bed.reads.filter((read) => !read.startsWith('readNodePressureUs'))).toEqual([`readKnob ${OFFLINE_ROOT} quota`])
  })

  it('does not read the memory of online pods, the dear file', () => {
    const bed = new Bed()
    bed.source.set(WEB)
    bed.addGroup(WEB)
    bed.sense()
    expect(bed.reads.filter((read) => read.startsWith('readGroupMemory'))).toEqual([])
  })

  it('says whether there is a list of pods that no calm sweep has seen', () => {
    const bed = new Bed()
    expect(bed.sensor.podsChanged).toBe(true)
    bed.sense('hot')
    expect(bed.sensor.podsChanged).toBe(true)
    bed.sense('calm')
    expect(bed.sensor.podsChanged).toBe(false)
    bed.source.set(FLINK)
    expect(bed.sensor.podsChanged).toBe(true)
  })

  it('reads the topology again after a hot-plug, and only then', () => {
    const bed = new Bed()
    bed.sense()
    expect(bed.reads).not.toContain('readTopology')
    bed.model.hotplug(topologyOf('smtOff'))
    expect(bed.sense('hot').topology.online.size).toBe(8)
    expect(bed.sense('calm').topology.online.size).toBe(4)
    bed.sense()
    expect(bed.reads).not.toContain('readTopology')
  })
})

describe('a topology that can not be read in the middle of a hot-plug', () => {
  it('fails no tick: the one known stands, and it is read again on the next calm tick', () => {
    const bed = new Bed()
    bed.sense()
    bed.model.hotplug(topologyOf('smtOff'))
    const reading = vi.spyOn(bed.model, 'readTopology').mockImplementation(() => {
      throw new Error('cpu7/topology went')
    })
    expect(bed.sense('calm').topology.online.size).toBe(8)
    reading.mockRestore()
    expect(bed.sense('calm').topology.online.size).toBe(4)
  })
})

describe('knobs', () => {
  function wanted(...knobs: readonly (readonly [GroupPath, KnobKind])[]): KnobTable<never> {
    const table = new KnobTable<unknown>()
    for (const [group, kind] of knobs) table.set(group, kind, {})
    return table as KnobTable<never>
  }

  it('are read anew at the calm pace; at the hot pace only those never read', () => {
    const bed = new Bed()
    const group = bed.addGroup(FLINK)
    const desired = wanted([group, 'memoryMax'])
    const none = wanted()
    bed.sensor.knobs.refresh(desired, none, 1, false)
    expect(bed.sensor.knobs.table.get(group, 'memoryMax')?.value).toBeNull()
    bed.model.writeKnob(group, { kind: 'memoryMax', value: 4096 })
    bed.sensor.knobs.refresh(desired, none, 2, false)
    expect(bed.sensor.knobs.table.get(group, 'memoryMax')?.value).toBeNull()
    bed.sensor.knobs.refresh(desired, none, 3, true)
    expect(bed.sensor.knobs.table.get(group, 'memoryMax')).toMatchObject({ value: 4096, atMs: 3 })
    bed.sensor.knobs.refresh(none, desired, 4, true)
    expect(bed.sensor.knobs.table.get(group, 'memoryMax')?.atMs).toBe(4)
  })

  it.each<[KnobKind, KnobSetting]>([
    ['memoryHigh', { kind: 'memoryHigh', value: 8192 }],
    ['freeze', { kind: 'freeze', value: 1 }],
    ['ioWeight', { kind: 'ioWeight', value: 20 }],
    ['ioMax', { kind: 'ioMax', value: IoLimits.of([['8:0', { ...NO_DEVICE_LIMITS, readBps: 4096 }]]) }],
  ])('%s is read once at the hot pace, then only at the calm one, and known when it was written', (kind, written) => {
    const bed = new Bed('v2')
    const group = bed.addGroup(SPARK)
    const reads = (): number => bed.reads.filter((read) => read === `readKnob ${group} ${kind}`).length
    for (const nowMs of [1, 2, 3]) bed.sensor.knobs.refresh(wanted([group, kind]), wanted(), nowMs, false)
    expect(reads()).toBe(1)
    bed.sensor.knobs.refresh(wanted([group, kind]), wanted(), 4, true)
    expect(reads()).toBe(2)
    const step = { ...written, group, from: undefined, phase: 'narrow', because: { code: 'restore' } } as const
    bed.model.writeKnob(group, written)
    bed.sensor.knobs.observe([{ step, outcome: { is: 'applied' } }], 5)
    expect(bed.sensor.knobs.table.get(group, kind)).toMatchObject({ value: written.value, atMs: 5 })
    // Begun is not done: what the kernel holds is what counts.
    bed.sensor.knobs.observe([{ step, outcome: { is: 'begun' } }], 6)
    expect(bed.sensor.knobs.table.get(group, kind)?.value).toEqual(bed.model.readKnob(group, kind))
  })

  it('of a group that has gone have no reading', () => {
    const bed = new Bed()
    const group = bed.addGroup(FLINK)
    const desired = wanted([group, 'weight'])
    bed.sensor.knobs.refresh(desired, wanted(), 1, true)
    bed.model.removeGroup(group)
    bed.sensor.knobs.refresh(desired, wanted(), 2, true)
    expect(bed.sensor.knobs.table.get(group, 'weight')).toBeUndefined()
  })

  it('come with idle where a weight is wanted, since it decides whether one can be written', () => {
    const bed = new Bed()
    const group = bed.addGroup(FLINK)
    bed.sensor.knobs.refresh(wanted([group, 'weight']), wanted(), 1, false)
    expect(bed.sensor.knobs.table.get(group, 'idle')?.value).toBe(0)
  })

  it.each(['v1', 'v2'] as const)(
    '%s: quotas below the offline root are known where they stand in the way of its own',
    (dialect) => {
      const bed = new Bed(dialect)
      bed.source.set(FLINK)
      const group = bed.addGroup(FLINK, 'main')
      const unlisted = bed.addGroup(SPARK)
      bed.model.writeKnob(`${group}/main`, { kind: 'quota', value: quotaOf(500) })
      bed.sense()
      const known = [`${group}/main`, unlisted].map((path) => bed.sensor.knobs.table.get(path, 'quota') !== undefined)
      expect(known).toEqual(dialect === 'v1' ? [true, true] : [false, false])
    },
  )

  it('of a container are followed when somebody else changes its quota', () => {
    const bed = new Bed()
    bed.source.set(FLINK)
    const group = bed.addGroup(FLINK, 'main')
    bed.sense()
    bed.model.writeKnob(`${group}/main`, { kind: 'quota', value: quotaOf(500) })
    for (let sweep = 0; sweep < 10; sweep += 1) bed.sense()
    expect(bed.sensor.knobs.table.get(`${group}/main`, 'quota')?.value).toEqual(quotaOf(500))
  })
})
