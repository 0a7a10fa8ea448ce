/**
 * The play: register → capacity → BE → OT → spike → suppressed → recovery → release. Times are on the bed's clock. It asks the stand-in
 * kubelet for admission exactly as a kubelet would be asked, and starts a pod only when it was admitted.
 */
import { AgentError, type Instant, type OfflineResource, type PodSpec, type TickRecord } from '../../model/index.ts'
import { DevicePlugins } from '../../kubelet/index.ts'
import type { TickSink } from '../../agent/index.ts'
import { KubeletStandIn } from '../../sim/index.ts'
import type { Bed } from './bed.ts'
import type { DemoSummary, Show } from './events.ts'
import { type DemoPages, openPages } from './pages.ts'
import { PhaseLog } from './phase-log.ts'
import { podSpec } from './pods.ts'
import { demoSettings, type DemoSettings } from './settings.ts'
import { advertisedResources } from '../advertised.ts'

const LS = 'aaaaaaaa-0000-4000-8000-000000000001'
const BE_1 = 'bbbbbbbb-0000-4000-8000-000000000001'
const BE_2 = 'bbbbbbbb-0000-4000-8000-000000000002'
const OT = 'cccccccc-0000-4000-8000-000000000001'

const WAIT_MS = 30_000
/** Shorter than a kubelet's 10 s: when stopped in the middle of a registration, the stand-in would dial that long for a plugin that is gone. */
const DIAL_MS = 2000
/** One unit for each of two BE pods, and one that they leave unused between them. */
const LEAST_UNITS = 3
const SPIKE_MS = 7000
const RECOVERY_MS = 12_000

export interface Demo {
  readonly bed: Bed
  readonly show: Show
  /** Aborted by Ctrl-C or SIGTERM: the play stops where it is, and everything is cleaned up. */
  readonly signal: AbortSignal
  /** In [0, 1). */
  readonly random: () => number
  /** Where to serve the pages; 0 takes any free port, undefined serves none. */
  readonly httpPort?: number | undefined
}

/**
 * Plays the demo through. Resolves with undefined when it was aborted. Everything it made, the bed included, is gone when it returns or
 * throws.
 */
export async function play(demo: Demo): Promise<DemoSummary | undefined> {
  const closers: (() => Promise<void>)[] = [() => demo.bed.close()]
  try {
    return demo.signal.aborted ? undefined : await playOn(demo, closers)
  } catch (thrown) {
    if (thrown === ABORTED) return undefined
    throw thrown
  } finally {
    await closeAll(closers)
  }
}

async function playOn(demo: Demo, closers: (() => Promise<void>)[]): Promise<DemoSummary> {
  const { bed, random } = demo
  const settings = demoSettings(bed.cpus, bed.settings, bed.kubeletDirectory)
  const kubelet = new KubeletStandIn({
    directory: bed.kubeletDirectory,
    statusPeriodMs: 1000,
    dialTimeoutMs: DIAL_MS,
    random,
  })
  const plugins = new DevicePlugins({
    directory: bed.kubeletDirectory,
    resources: advertisedResources(settings.config),
    maxUnits: settings.config.capacity.maxUnits,
    pushMs: settings.config.kubelet.pushMs,
    now: () => bed.now().nowMs,
    random,
  })
  closers.unshift(
    () => plugins.stop(),
    () => kubelet.stop(),
  )
  const { httpPort } = demo
  const pages = httpPort === undefined ? undefined : await openPages(bed, settings.config, plugins, httpPort)
  if (pages !== undefined) closers.unshift(() => pages.close())
  await kubelet.start()
  return new Act(demo, { settings, kubelet, plugins, pages }).play()
}

/** One after the other, each whatever became of those before it; then throws what went wrong first. */
async function closeAll(closers: readonly (() => Promise<void>)[]): Promise<void> {
  const failures: unknown[] = []
  for (const close of closers) await close().catch((thrown: unknown) => failures.push(thrown))
  if (failures.length > 0) throw failures[0]
}

const ABORTED = Symbol('aborted')

/** What the play is played with. */
interface Stage {
  readonly settings: DemoSettings
  readonly kubelet: KubeletStandIn
  readonly plugins: DevicePlugins
  readonly pages: DemoPages | undefined
}

class Act implements TickSink {
  readonly #demo: Demo
  readonly #settings: DemoSettings
  readonly #kubelet: KubeletStandIn
  readonly #plugins: DevicePlugins
  readonly #pages: DemoPages | undefined
  readonly #log: PhaseLog
  readonly #startMs: number
  #failure: unknown

  constructor(demo: Demo, { settings, kubelet, plugins, pages }: Stage) {
    this.#demo = demo
    this.#settings = settings
    this.#kubelet = kubelet
    this.#plugins = plugins
    this.#pages = pages
    this.#log = new PhaseLog()
    this.#startMs = demo.bed.now().nowMs
  }

  tick(record: TickRecord): void {
    this.#pages?.sink.tick(record)
    this.#log.tick(record)
    this.#demo.show({ event: 'tick', atMs: this.#atMs(), record })
  }

  tickFailed(thrown: unknown, at: Instant): void {
    this.#pages?.sink.tickFailed(thrown, at)
    this.#failure ??= thrown
  }

  guardBeat(lateMs: number, late: boolean): void {
    this.#pages?.sink.guardBeat(lateMs, late)
  }

  async play(): Promise<DemoSummary> {
    const { bed, show } = this.#demo
    show({ event: 'start', bed: bed.kind, text: bed.description })
    if (this.#pages !== undefined) show({ event: 'http', address: this.#pages.address })
    this.#note('an online workload, pod shop/web, is running; there is no agent yet')
    await bed.startPod({
      spec: podSpec({ uid: LS, name: 'web', namespace: 'shop', kubeletQos: 'Burstable', requestMilli: 500 }),
      processes: 2,
    })
    bed.setDemand(LS, this.#settings.load.calmMilli)
    await this.#rest(1000)
    this.#phase('register', 'the agent starts and registers four extended resources with the kubelet')
    await this.#plugins.start()
    const agent = bed.makeAgent(this.#settings.config, this, this.#plugins)
    await this.#until(() => this.#plugins.states().every((state) => state.registered && state.streams > 0), 'registration')
    await this.#untilWorthwhile()
    this.#note(`the kubelet's node status has ${this.#statusText()}`)
    await this.#startBestEffort()
    await this.#startOversold()
    await this.#spikeAndRecover()
    this.#phase('release', 'every file goes back to what it was before the agent')
    bed.stopAgent()
    const report = agent.release(bed.now().nowMs)
    const { same, different } = bed.compare()
    const summary: DemoSummary = {
      bed: bed.kind,
      phases: this.#log.phases,
      reactionMs: this.#log.reactionMs,
      spikeAtFloor: this.#log.spikeAtFloor,
      knobsRestored: report?.restored ?? 0,
      filesSame: same,
      filesDifferent: different,
      kubeletViolations: this.#kubelet.violations,
    }
    show({ event: 'summary', ...summary })
    return summary
  }

  async #startBestEffort(): Promise<void> {
    const { bed } = this.#demo
    const total = this.#allocatable('be-cpu')
    this.#phase('be', 'two BE pods are admitted and get their limits, CPUs and weight')
    const first = Math.max(1, Math.floor(total * 0.5))
    const second = Math.max(1, Math.floor(total * 0.35))
    for (const [uid, name, units] of [
      [BE_1, 'flink-a', first],
      [BE_2, 'flink-b', second],
    ] as const) {
      await this.#start({ uid, name, extended: { 'be-cpu': units, 'be-memory': 1 } })
      bed.setDemand(uid, units * this.#settings.config.resources.cpuUnitMilli * this.#settings.load.beShare)
    }
    await this.#rest(3000)
  }

  async #startOversold(): Promise<void> {
    const { bed } = this.#demo
    this.#phase('ot', 'what BE was given but does not use is sold a second time, as OT')
    await this.#until(() => this.#allocatable('ot-cpu') > 0, 'OT capacity in the node status')
    this.#note(`the kubelet's node status has ${this.#statusText()}`)
    await this.#start({ uid: OT, name: 'train', extended: { 'ot-cpu': Math.max(1, this.#allocatable('ot-cpu')) } })
    bed.setDemand(OT, this.#settings.load.otMilli)
    // From now on offline work takes all it may, so that suppression has something to bite on.
    for (const uid of [BE_1, BE_2]) bed.setDemand(uid, 1000)
    await this.#rest(5000)
  }

  async #spikeAndRecover(): Promise<void> {
    const { bed } = this.#demo
    const { load } = this.#settings
    this.#phase(
      'spike',
      `the online workload jumps from ${Math.round(load.calmMilli)}m to ${Math.round(load.spikeMilli)}m: OT and BE are suppressed`,
    )
    this.#log.spikeStarted(bed.now().nowMs)
    bed.setDemand(LS, load.spikeMilli)
    await this.#rest(SPIKE_MS)
    this.#phase('recovery', 'the spike is over: BE, then OT, get their CPU back in steps')
    bed.setDemand(LS, load.calmMilli)
    await this.#rest(RECOVERY_MS)
  }

  async #start({
    uid,
    name,
    extended,
  }: {
    uid: string
    name: string
    extended: Readonly<Partial<Record<OfflineResource, number>>>
  }): Promise<void> {
    const { domain } = this.#settings.config.resources
    const limits = Object.fromEntries(Object.entries(extended).map(([resource, units]) => [`${domain}/${resource}`, units]))
    const spec: PodSpec = podSpec({ uid, name, namespace: 'batch', kubeletQos: 'BestEffort', extended: limits })
    const admission = await this.#kubelet.admit({ uid, namespace: spec.namespace, name, containers: [{ name: 'main', limits }] })
    if (!admission.admitted) throw new AgentError('E_DEMO', `the kubelet turned ${name} away: ${admission.message}`)
    this.#note(
      `kubelet admitted batch/${name}: ${Object.entries(extended)
        .map(([resource, units]) => `${units} × ${resource}`)
        .join(', ')}`,
    )
    await this.#demo.bed.startPod({ spec, processes: 1 })
  }

  #phase(phase: string, text: string): void {
    this.#log.begin(phase)
    this.#demo.show({ event: 'phase', atMs: this.#atMs(), phase, text })
  }

  #note(text: string): void {
    this.#demo.show({ event: 'note', atMs: this.#atMs(), text })
  }

  #atMs(): number {
    return this.#demo.bed.now().nowMs - this.#startMs
  }

  /** Waits on the bed's clock in short turns, so that an abort and the kubelet's status tick are not missed. */
  async #rest(ms: number): Promise<void> {
    const { bed, signal } = this.#demo
    const untilMs = bed.now().nowMs + ms
    while (bed.now().nowMs < untilMs) {
      await bed.runUntil(Math.min(untilMs, bed.now().nowMs + 100))
      this.#kubelet.tick(bed.now().nowMs)
      if (signal.aborted) throw ABORTED
      if (this.#failure !== undefined) throw this.#failure
    }
  }

  async #until(reached: () => boolean, what: string): Promise<void> {
    const { bed } = this.#demo
    // Registration takes real time, which the simulated node's clock outruns.
    const deadlineMs = bed.now().nowMs + WAIT_MS * (bed.kind === 'real' ? 1 : 10)
    while (!reached()) {
      if (bed.now().nowMs > deadlineMs) throw new AgentError('E_DEMO', `the demo waited ${WAIT_MS / 1000} s in vain for ${what}`)
      await this.#rest(100)
    }
  }

  /**
   * Until there is enough to be sold that a part of it left unused is worth a unit of OT. What the agent and the pods burnt to come up counts
   * until it leaves the peak window; a machine that is busy with other things for longer is played on with what there is.
   */
  async #untilWorthwhile(): Promise<void> {
    const { cpuUnitMilli } = this.#settings.config.resources
    const enough = Math.ceil(this.#settings.load.worthwhileMilli / cpuUnitMilli)
    const { bed } = this.#demo
    const deadlineMs = bed.now().nowMs + 2 * this.#settings.config.capacity.peakWindowMs
    await this.#until(
      () =>
        this.#allocatable('be-memory') > 0 &&
        this.#allocatable('be-cpu') >= (bed.now().nowMs < deadlineMs ? enough : LEAST_UNITS),
      'BE capacity in the node status',
    )
  }

  #allocatable(resource: OfflineResource): number {
    return this.#kubelet.nodeStatus()[this.#settings.config.resources.fullNames[resource]]?.allocatable ?? 0
  }

  #statusText(): string {
    return Object.entries(this.#kubelet.nodeStatus())
      .map(([name, { allocatable }]) => `${allocatable} × ${name.slice(name.indexOf('/') + 1)}`)
      .join(', ')
  }
}
