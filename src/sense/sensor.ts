/**
 * Assembles one immutable NodeSnapshot. Class-level counters are sampled on every beat; pods once per calm tick; the topology only when
 * the kernel's list of online CPUs changes. A reading that fails keeps its last value and grows old: rules judge by age.
 */
import type { CpuTopology } from '../cpu/index.ts'
import type {
  CpuUse,
  GroupLayout,
  GroupPath,
  Instant,
  KernelPort,
  NodeReadings,
  NodeSnapshot,
  OfflineResource,
  PodSource,
  PressureResource,
  Reading,
} from '../model/index.ts'
import { childGroup, KUBELET_QOS, NO_EVICTIONS, parentGroup, qosRoot } from '../model/index.ts'
import { KnobReadings } from './knob-readings.ts'
import { PodReadings } from './pod-readings.ts'
import { RateWindow } from './rates.ts'

const PRESSURES = ['cpu', 'memory', 'io'] as const satisfies readonly PressureResource[]

export interface SensorOptions {
  readonly kernel: KernelPort
  readonly pods: PodSource
  readonly layout: GroupLayout
  /** Shortest span over which CPU use is averaged. */
  readonly windowMs: number
}

/** What the guard beat sees. Milli-CPU; undefined until there are two samples. */
export interface GuardReading {
  readonly nodeMilli: number | undefined
  readonly offlineMilli: number | undefined
}

export class Sensor {
  readonly knobs: KnobReadings
  readonly pods: PodReadings
  readonly #options: SensorOptions
  readonly #offlineRoot: GroupPath
  readonly #nodeCpu: RateWindow
  readonly #offlineCpu: RateWindow
  readonly #pressure: Readonly<Record<PressureResource, RateWindow>>
  #topology: CpuTopology
  #onlineText: string
  #slow: NodeReadings = {}
  #seq = 0
  #sweptRevision = -1

  constructor(options: SensorOptions) {
    this.#options = options
    this.#offlineRoot = qosRoot(options.layout, 'BestEffort')
    this.#nodeCpu = new RateWindow(options.windowMs)
    this.#offlineCpu = new RateWindow(options.windowMs)
    this.knobs = new KnobReadings(options.kernel)
    this.pods = new PodReadings(options.kernel, options.layout, this.knobs)
    this.#pressure = { cpu: new RateWindow(), memory: new RateWindow(), io: new RateWindow() }
    this.#topology = options.kernel.readTopology()
    this.#onlineText = options.kernel.readOnlineText()
  }

  get topology(): CpuTopology {
    return this.#topology
  }

  /** Whether the pod source has a list that no calm sweep has seen yet. */
  get podsChanged(): boolean {
    return this.#options.pods.list().revision !== this.#sweptRevision
  }

  /** The guard beat: two held files, nothing else. */
  guard(nowMs: number): GuardReading {
    this.#sampleCpu(nowMs)
    return { nodeMilli: this.#guardMilli(this.#nodeCpu, nowMs), offlineMilli: this.#guardMilli(this.#offlineCpu, nowMs) }
  }

  /** Undefined when the kernel did not answer on this beat: an old rate must not keep the node hot. */
  #guardMilli(window: RateWindow, nowMs: number): number | undefined {
    const rate = window.newestMs === nowMs ? window.perSecond(this.#options.windowMs) : undefined
    return rate === undefined ? undefined : rate.rate / 1000
  }

  /** A snapshot at `at`. `inFlightUnits` is what the kubelet was promised and no listed pod accounts for. */
  sense(at: Instant, pace: 'calm' | 'hot', inFlightUnits: Readonly<Partial<Record<OfflineResource, number>>>): NodeSnapshot {
    const { kernel, pods, layout } = this.#options
    this.#sampleCpu(at.nowMs)
    const list = pods.list()
    if (pace === 'calm') {
      this.pods.sweep(list, at.nowMs)
      this.#sweptRevision = list.revision
      this.#readSlow(at.nowMs)
      this.#followHotplug()
    }
    this.knobs.read(this.#offlineRoot, 'quota', at.nowMs)
    if (pace === 'calm') this.#readNestedQuotas(at.nowMs)
    if (pace === 'calm') this.#readRootSets(at.nowMs)
    this.#seq += 1
    const node = this.#cpuReading(this.#nodeCpu, kernel.nodeCpuSource)
    const offline = this.#cpuReading(this.#offlineCpu, this.#offlineRoot)
    return {
      seq: this.#seq,
      nowMs: at.nowMs,
      wallMs: at.wallMs,
      pace,
      layout,
      topology: this.#topology,
      capabilities: kernel.capabilities,
      node: { ...this.#slow, ...(node === undefined ? {} : { cpu: node }) },
      bestEffort: { group: this.#offlineRoot, ...(offline === undefined ? {} : { cpu: offline }) },
      pods: { pods: this.pods.readings, everRead: list.everRead, atMs: list.atMs, source: list.source, problems: list.problems },
      unlistedGroups: this.pods.unlisted,
      actual: this.knobs.table,
      inFlightUnits,
      online: {},
      devices: new Map(),
      evictions: NO_EVICTIONS,
      ownGroups: [],
    }
  }

  #sampleCpu(nowMs: number): void {
    const { kernel } = this.#options
    if (this.#nodeCpu.newestMs === nowMs) return
    const nodeUs = kernel.readNodeCpuUs()
    const offlineUs = kernel.readCpuUsageUs(this.#offlineRoot)
    if (nodeUs !== undefined) this.#nodeCpu.add(nowMs, nodeUs)
    if (offlineUs !== undefined) this.#offlineCpu.add(nowMs, offlineUs)
  }

  #cpuReading(window: RateWindow, source: string): Reading<CpuUse> | undefined {
    const rate = window.perSecond(this.#options.windowMs)
    const atMs = window.newestMs
    if (rate === undefined || atMs === undefined) return undefined
    return { value: { usedMilli: Math.max(0, rate.rate / 1000), windowMs: rate.spanMs }, atMs, source }
  }

  /** Memory and pressure; a reading that fails leaves the older one in place. */
  #readSlow(nowMs: number): void {
    const { kernel } = this.#options
    const memory = kernel.readNodeMemory()
    const next: { -readonly [Key in keyof NodeReadings]: NodeReadings[Key] } = { ...this.#slow }
    if (memory !== undefined) next.memory = { value: memory, atMs: nowMs, source: '/proc/meminfo' }
    for (const resource of PRESSURES) {
      const totalUs = kernel.readNodePressureUs(resource)
      if (totalUs === undefined) continue
      this.#pressure[resource].add(nowMs, totalUs)
      const rate = this.#pressure[resource].perSecond(1)
      if (rate === undefined) continue
      next[`${resource}Pressure`] = { value: { someUsPerSecond: rate.rate }, atMs: nowMs, source: `/proc/pressure/${resource}` }
    }
    this.#slow = next
  }

  #followHotplug(): void {
    const text = this.#options.kernel.readOnlineText()
    // A list that can't be read at the moment is not a node without CPUs.
    if (text === '' || text === this.#onlineText) return
    this.#topology = this.#options.kernel.readTopology()
    this.#onlineText = text
  }

  /**
   * Where a child's quota may not exceed its parent's, every quota below the offline root matters to the plan, also of pods that no
   * source told of. Those of containers are read by the sweep, when it lists them.
   */
  #readNestedQuotas(nowMs: number): void {
    if (!this.#options.kernel.capabilities.nestedQuota) return
    const { kernel } = this.#options
    const offlineRoot = qosRoot(this.#options.layout, 'BestEffort')
    for (const group of this.pods.unlisted) {
      if (parentGroup(group) !== offlineRoot) continue
      this.knobs.read(group, 'quota', nowMs)
      for (const name of kernel.listChildren(group)) this.knobs.read(childGroup(group, name), 'quota', nowMs)
    }
  }

  /**
   * Where a child's CPUs must be its parent's, the sets that the kubelet's groups hold bound what pods can get. Kernel: a CPU that was
   * unplugged under v1 and is back is in no group but the root.
   */
  #readRootSets(nowMs: number): void {
    const { kernel, layout } = this.#options
    if (!kernel.capabilities.nestedCpuset) return
    for (const root of KUBELET_QOS.map((qos) => qosRoot(layout, qos))) {
      this.knobs.read(root, 'cpuset', nowMs)
    }
  }
}
