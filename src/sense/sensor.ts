/**
 * Assembles one immutable NodeSnapshot. Class-level counters are sampled on every beat; pods once per calm tick; the topology only when
 * the kernel's list of online CPUs changes. A reading that fails keeps its last value and grows old: rules judge by age.
 */
import type { CpuTopology } from '../cpu/index.ts'
import type {
  CpuUse,
  Desired,
  EvictionsView,
  GroupLayout,
  GroupPath,
  Instant,
  Journaled,
  KernelPort,
  NodeSnapshot,
  OfflineResource,
  PodList,
  PodSource,
  Reading,
} from '../model/index.ts'
import { childGroup, KUBELET_QOS, messageOf, parentGroup, podsRoot, qosRoot, SOURCES } from '../model/index.ts'
import { KnobReadings } from './knob-readings.ts'
import { Lookups } from './lookups.ts'
import { WholeNode } from './node-readings.ts'
import { OnlinePressure } from './online-pressure.ts'
import { OnlineUse } from './online-use.ts'
import { PodReadings } from './pod-readings.ts'
import { RateWindow } from './rates.ts'
import { SourceRuns } from './source-runs.ts'

/** Stalls are averaged over so long until somebody says otherwise. */
const PRESSURE_MS = 200

export interface SensorOptions {
  readonly kernel: KernelPort
  readonly pods: PodSource
  readonly layout: GroupLayout
  /** Shortest span over which CPU use is averaged. */
  readonly windowMs: number
  /** Shortest span over which stalls of online groups, and the run queue, are averaged. @default 200 */
  readonly pressureMs?: number
  /** Monotonic ms, to tell how long each source takes. @default that is not told */
  readonly stopwatch?: () => number
}

/** What the guard beat sees, undefined for what can't be told yet. The same object on every beat: read it at once. */
export interface GuardReading {
  /** Milli-CPU of the whole node. */
  readonly nodeMilli: number | undefined
  /** Milli-CPU of the offline root. */
  readonly offlineMilli: number | undefined
  /** Milli-CPU of online pods, on average and over this beat; but for those below the offline root. */
  readonly onlineMilli: number | undefined
  readonly onlineLatestMilli: number | undefined
  /** Share of the time in which some task of online work waited for CPU; undefined where groups count no stalls. */
  readonly onlinePressurePermyriad: number | undefined
  /** Tasks ready to run that are no offline ones, at least, on average; only where groups count no stalls. */
  readonly runnable: number | undefined
  /** Memory available, of all memory; at most 100 ms old. */
  readonly availablePermyriad: number | undefined
}

/** What a snapshot takes in from outside the kernel. */
export interface SenseInputs {
  /** What the kubelet was promised and no listed pod accounts for. */
  readonly inFlightUnits: Readonly<Partial<Record<OfflineResource, number>>>
  readonly evictions: EvictionsView
}

export class Sensor {
  readonly knobs: KnobReadings
  readonly pods: PodReadings
  /** How each source is doing. */
  readonly runs: SourceRuns
  readonly #options: SensorOptions
  readonly #offlineRoot: GroupPath
  readonly #nodeCpu: RateWindow
  readonly #offlineCpu: RateWindow
  readonly #onlineUse: OnlineUse
  readonly #node: WholeNode
  readonly #online: OnlinePressure
  readonly #lookups: Lookups
  readonly #guardReading: { -readonly [Key in keyof GuardReading]: GuardReading[Key] } = {
    nodeMilli: undefined,
    offlineMilli: undefined,
    onlineMilli: undefined,
    onlineLatestMilli: undefined,
    onlinePressurePermyriad: undefined,
    runnable: undefined,
    availablePermyriad: undefined,
  }
  #topology: CpuTopology
  #onlineText: string
  #seq = 0
  #sweptRevision = -1

  constructor(options: SensorOptions) {
    const { kernel, layout, windowMs, pressureMs = PRESSURE_MS } = options
    this.#options = options
    this.runs = new SourceRuns(SOURCES, options.stopwatch)
    this.#offlineRoot = qosRoot(layout, 'BestEffort')
    this.#nodeCpu = new RateWindow(windowMs)
    this.#offlineCpu = new RateWindow(windowMs)
    this.#onlineUse = new OnlineUse(kernel, { pods: podsRoot(layout), offline: this.#offlineRoot }, windowMs)
    this.knobs = new KnobReadings(kernel)
    this.pods = new PodReadings(kernel, layout, this.knobs)
    this.#node = new WholeNode(kernel, this.#offlineRoot, pressureMs, this.runs)
    this.#online = new OnlinePressure(kernel, qosRoot(layout, 'Burstable'), pressureMs)
    this.#lookups = new Lookups(kernel)
    this.#topology = kernel.readTopology()
    this.#onlineText = kernel.readOnlineText()
  }

  get topology(): CpuTopology {
    return this.#topology
  }

  /** Whether the pod source has a list that no calm sweep has seen yet. */
  get podsChanged(): boolean {
    return this.#options.pods.list().revision !== this.#sweptRevision
  }

  /** Shortest span over which stalls of online groups, and the run queue, are averaged. */
  get pressureMs(): number {
    return this.#online.windowMs
  }

  set pressureMs(windowMs: number) {
    this.#online.windowMs = windowMs
    this.#node.windowMs = windowMs
  }

  /** Block devices to look for, by their names or numbers. */
  get deviceNames(): readonly string[] {
    return this.#lookups.deviceNames
  }

  set deviceNames(names: readonly string[]) {
    this.#lookups.deviceNames = names
  }

  /** Groups of pods with whose CPUs offline work shares none. */
  set unsharedGroups(groups: ReadonlySet<GroupPath>) {
    this.#online.unshared = groups
  }

  /** The guard beat: a handful of held files, nothing else. */
  guard(nowMs: number): GuardReading {
    this.#sampleCpu(nowMs)
    this.runs.end()
    const reading = this.#guardReading
    reading.nodeMilli = this.#guardMilli(this.#nodeCpu, nowMs)
    reading.offlineMilli = this.#guardMilli(this.#offlineCpu, nowMs)
    const online = this.#onlineUse.ratesAt(nowMs)
    reading.onlineMilli = online?.usedMilli
    reading.onlineLatestMilli = online?.latestMilli
    reading.onlinePressurePermyriad = this.#online.beat(nowMs)
    reading.runnable = this.#online.countsStalls ? undefined : this.#node.sampleRunQueue(nowMs)
    reading.availablePermyriad = this.#node.availablePermyriad(nowMs)
    return reading
  }

  /** Undefined when the kernel did not answer on this beat: an old rate must not keep the node hot. */
  #guardMilli(window: RateWindow, nowMs: number): number | undefined {
    const rate = window.newestMs === nowMs ? window.ratePerSecond(this.#options.windowMs) : undefined
    return rate === undefined ? undefined : rate / 1000
  }

  sense(at: Instant, pace: 'calm' | 'hot', { inFlightUnits, evictions }: SenseInputs): NodeSnapshot {
    const { kernel, pods, layout } = this.#options
    this.runs.begin(pace === 'calm')
    this.#sampleCpu(at.nowMs)
    this.runs.enter('pods')
    const list = pods.list()
    if (pace === 'calm') this.#senseCalm(list, at.nowMs)
    this.runs.enter('online_pressure')
    this.#online.tick(at.nowMs, pace === 'calm')
    if (this.#online.countsStalls) this.runs.asked('online_pressure', this.#online.sampledAt(at.nowMs), at.nowMs)
    this.#node.tick(at.nowMs, { runQueue: !this.#online.countsStalls })
    this.runs.enter('knobs')
    this.knobs.read(this.#offlineRoot, 'quota', at.nowMs)
    if (pace === 'calm') this.#readNestedQuotas(at.nowMs)
    if (pace === 'calm') this.#readRootSets(at.nowMs)
    this.runs.end()
    this.#seq += 1
    const node = this.#cpuReading(this.#nodeCpu, kernel.nodeCpuSource)
    const offline = this.#cpuReading(this.#offlineCpu, this.#offlineRoot)
    const onlineCpu = this.#onlineUse.reading(at.nowMs)
    return {
      seq: this.#seq,
      nowMs: at.nowMs,
      wallMs: at.wallMs,
      pace,
      layout,
      topology: this.#topology,
      capabilities: kernel.capabilities,
      node: { ...this.#node.readings, ...(node === undefined ? {} : { cpu: node }) },
      online: onlineCpu === undefined ? this.#online.readings : { ...this.#online.readings, cpu: onlineCpu },
      bestEffort: { group: this.#offlineRoot, ...(offline === undefined ? {} : { cpu: offline }) },
      pods: { pods: this.pods.readings, everRead: list.everRead, atMs: list.atMs, source: list.source, problems: list.problems },
      unlistedGroups: this.pods.unlisted,
      actual: this.knobs.table,
      ...this.pods.nested.unfollowed,
      inFlightUnits,
      devices: this.#lookups.devices,
      evictions,
      ownGroups: this.#lookups.ownGroups,
    }
  }

  /** What is read once per calm tick. */
  #senseCalm(list: PodList, nowMs: number): void {
    this.runs.listed(list, nowMs)
    this.runs.enter('pod_groups')
    this.pods.sweep(list, nowMs)
    this.#sweptRevision = list.revision
    this.#online.follow(this.pods.readings)
    this.runs.of('pod_groups').ok(nowMs)
    this.runs.enter('devices')
    this.#lookups.refresh(nowMs)
    this.runs.lookedUp(this.#lookups, nowMs)
    this.runs.enter('topology')
    this.#followHotplug(nowMs)
  }

  /** Reads what the next plan is about: see KnobReadings.refresh. */
  refreshKnobs(desired: Desired, journaled: Journaled, nowMs: number, everything: boolean): void {
    this.runs.resume('knobs', everything)
    this.knobs.refresh(desired, journaled, nowMs, everything)
    this.runs.of('knobs').ok(nowMs)
    this.runs.end()
  }

  #sampleCpu(nowMs: number): void {
    const { kernel } = this.#options
    if (this.#nodeCpu.newestMs === nowMs) return
    this.runs.enter('node_cpu')
    const nodeUs = kernel.readNodeCpuUs()
    this.runs.asked('node_cpu', nodeUs !== undefined, nowMs)
    this.runs.enter('offline_cpu')
    const offlineUs = kernel.readCpuUsageUs(this.#offlineRoot)
    this.runs.asked('offline_cpu', offlineUs !== undefined, nowMs)
    if (nodeUs !== undefined) this.#nodeCpu.add(nowMs, nodeUs)
    if (offlineUs !== undefined) this.#offlineCpu.add(nowMs, offlineUs)
    this.runs.enter('online_cpu')
    this.runs.asked('online_cpu', this.#onlineUse.sample(nowMs, offlineUs, this.#topology.online.size), nowMs)
  }

  #cpuReading(window: RateWindow, source: string): Reading<CpuUse> | undefined {
    const rate = window.perSecond(this.#options.windowMs)
    const atMs = window.newestMs
    if (rate === undefined || atMs === undefined) return undefined
    return { value: { usedMilli: Math.max(0, rate.rate / 1000), windowMs: rate.spanMs }, atMs, source }
  }

  #followHotplug(nowMs: number): void {
    const text = this.#options.kernel.readOnlineText()
    const run = this.runs.of('topology')
    // A list that can't be read at the moment is not a node without CPUs.
    if (text === '') return run.failed('the list of CPUs online could not be read', nowMs)
    try {
      if (text !== this.#onlineText) this.#topology = this.#options.kernel.readTopology()
      this.#onlineText = text
      run.ok(nowMs)
    } catch (thrown) {
      // Files of a CPU come and go while it is plugged: the topology known stands, and it is read again on the next calm tick.
      run.failed(messageOf(thrown), nowMs)
    }
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
