/**
 * The node of test/cgroup/kill.test.ts: pods laid out as the kubelet lays them out in groups of the test's own, with real processes, some of
 * which come and go; the configuration of an agent that has much to write there; and what every knob held before any agent wrote it.
 */
import { mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { stringify } from 'yaml'
import { openNode } from '../../src/compose.ts'
import { type Config, loadConfig } from '../../src/config/index.ts'
import { CpuSet } from '../../src/cpu/index.ts'
import { KubeletGroups, type OpenedKernel } from '../../src/kernel/index.ts'
import type { GroupPath, KnobKind, KnobValue, KubeletQos, OfflineResource } from '../../src/model/index.ts'
import { childGroup, KNOB_KINDS, qosRoot } from '../../src/model/index.ts'
import { diskBelow } from './disk-load.ts'
import { RealGroups } from './real-node.ts'

export interface KillPod {
  readonly uid: string
  readonly qos: KubeletQos
  readonly asks?: Readonly<Partial<Record<OfflineResource, number>>>
  readonly requestsMilli?: number
  readonly qosClass?: string
  /** What its processes do; sleep when not given. */
  readonly does?: 'pulse' | 'burn'
}

/** Half a CPU or so, in pulses, so that the allowance of offline pods moves all the time. */
const PULSE = 'while :; do i=0; while [ $i -lt 60000 ]; do i=$((i+1)); done; sleep 0.15; done'

/** Growth of the offline allowance in a second, of the node, and its dwell time. */
export const GROWTH_PERMYRIAD = 2000
export const DWELL_MS = 100

/** A rung that is climbed and left within a few tenths of a second. */
const rung = (enterPermyriad: number, exitPermyriad: number): object => ({
  enabled: true,
  enterPermyriad,
  exitPermyriad,
  enterMs: 150,
  exitMs: 150,
  coolDownMs: 100,
})

/** Everything that can be done without an API server, at a fast pace: the more it writes, the more there is to be killed in. */
const SETTINGS = {
  mode: 'enforce',
  loop: { guardMs: 5, hotMs: 10, calmMs: 100 },
  placement: { lsrSharePermyriad: 0 },
  suppressCpu: {
    watermarkPermyriad: 9500,
    growthPermyriad: GROWTH_PERMYRIAD,
    deadBandPermyriad: 0,
    dwellMs: DWELL_MS,
    windowMs: 50,
    staleMs: 1000,
  },
  pressure: { cutMs: 50 },
  steady: { mostDwellMs: DWELL_MS },
  // Nobody is to move but for the sake of others.
  cpuNarrow: { enabled: false },
  cpuFreeze: rung(6000, 5000),
  // Some memory is always in use.
  memoryHold: rung(9990, 10_000),
  memoryHighOt: rung(9980, 10_000),
  kubelet: { enabled: false },
  http: { enabled: false },
  // The groups of whoever runs this test are none of its business.
  own: { weight: false, nice: 0 },
  journal: { marks: true },
  log: { level: 'info' },
} as const

/** What a group's knobs held before the agent, as values and as the text of each file by path. */
interface Before {
  readonly values: ReadonlyMap<KnobKind, KnobValue>
  readonly texts: ReadonlyMap<string, string>
}

export class KillNode {
  readonly groups: RealGroups
  readonly directory: string
  readonly config: Config
  readonly kernel: OpenedKernel['kernel']
  /** The sets that the roots had before any agent: what a pod has that came when its root was narrow. */
  readonly everyCpu: CpuSet
  readonly #kubelet: KubeletGroups
  readonly #before = new Map<GroupPath, Before>()
  readonly #pods = new Map<string, { readonly pod: KillPod; readonly group: GroupPath; readonly pids: readonly number[] }>()

  static async open(): Promise<KillNode> {
    return new KillNode(await RealGroups.open())
  }

  private constructor(groups: RealGroups) {
    this.groups = groups
    this.#kubelet = new KubeletGroups(groups.sandbox)
    this.directory = mkdtempSync(join(tmpdir(), 'kube-agent-kill-'))
    mkdirSync(join(this.directory, 'pods'))
    mkdirSync(this.stateDirectory, { mode: 0o700 })
    const disk = diskBelow('/')
    const limits = { enabled: true, devices: [disk], readBps: 2 ** 30, writeBps: 2 ** 30 }
    this.writeConfig(disk === undefined ? {} : { suppressIo: limits })
    this.config = loadConfig({ file: this.configFile, overrides: [] }).config
    this.kernel = openNode(this.config).kernel
    this.everyCpu = CpuSet.parse(readFileSync(groups.fileOf(this.offlineRoot, 'cpuset', 'cpuset.cpus'), 'latin1').trim())
    for (const root of this.#kubelet.roots) this.#remember(root)
  }

  get configFile(): string {
    return join(this.directory, 'config.yaml')
  }

  get stateDirectory(): string {
    return join(this.directory, 'state')
  }

  get journalFile(): string {
    return join(this.stateDirectory, 'restore.journal')
  }

  get offlineRoot(): GroupPath {
    return qosRoot(this.#kubelet.layout, 'BestEffort')
  }

  /** Writes the configuration with these blocks on top, for agents that start after it. */
  writeConfig(settings: Readonly<Record<string, unknown>>): void {
    const own = {
      node: { name: 'kill-test', cgroupRoot: this.groups.root, cgroupDriver: 'cgroupfs' },
      paths: { state: this.stateDirectory },
      pods: { source: 'directory', directory: join(this.directory, 'pods'), rescanMs: 500 },
    }
    writeFileSync(this.configFile, stringify({ ...SETTINGS, ...own, ...settings }))
  }

  get uids(): readonly string[] {
    return [...this.#pods.keys()]
  }

  /** Every group that is there: the roots, the pods' and the containers'. */
  get all(): IterableIterator<GroupPath> {
    return this.#before.keys()
  }

  groupOf(uid: string): GroupPath {
    const pod = this.#pods.get(uid)
    if (pod === undefined) throw new Error(`there is no pod ${uid}`)
    return pod.group
  }

  /** What a knob held before any agent. */
  before(group: GroupPath, kind: KnobKind): KnobValue | undefined {
    const value = this.#before.get(group)?.values.get(kind)
    return kind === 'cpuset' && value instanceof CpuSet ? this.everyCpu : value
  }

  /** What a knob read when its group was made: under v1 a set is a copy of its parent's at that time. */
  asMade(group: GroupPath, kind: KnobKind): KnobValue | undefined {
    return this.#before.get(group)?.values.get(kind)
  }

  #remember(group: GroupPath): void {
    const values = new Map<KnobKind, KnobValue>()
    for (const kind of KNOB_KINDS) {
      const value = this.kernel.readKnob(group, kind)
      if (value !== undefined) values.set(kind, value)
    }
    this.#before.set(group, { values, texts: this.groups.sandbox.photograph(group) })
  }

  /** Makes the pod's groups and processes, and then its manifest. */
  start(pod: KillPod): void {
    const { group } = this.#kubelet.startPod({ uid: pod.uid, kubeletQos: pod.qos, containers: [{ name: 'main' }] })
    const container = childGroup(group, 'main')
    for (const made of [group, container]) this.#remember(made)
    const pid = pod.does === undefined ? this.groups.park(container) : this.groups.shell(container, scriptOf(pod.does))
    this.#pods.set(pod.uid, { pod, group, pids: [pid] })
    const extended = Object.fromEntries(Object.entries(pod.asks ?? {}).map(([name, units]) => [`kube-agent.io/${name}`, units]))
    const requests = { ...extended, ...(pod.requestsMilli === undefined ? {} : { cpu: `${pod.requestsMilli}m` }) }
    const labels = pod.qosClass === undefined ? {} : { 'kube-agent.io/qos-class': pod.qosClass }
    const manifest = {
      kind: 'Pod',
      metadata: { name: pod.uid, uid: pod.uid, labels },
      spec: { containers: [{ name: 'main', resources: { requests, limits: extended } }] },
    }
    writeFileSync(this.#manifest(pod.uid), JSON.stringify(manifest))
  }

  /** The pod goes as the kubelet lets it go: its manifest before its processes, or after them, and its groups at last. */
  async stop(uid: string, manifestFirst: boolean): Promise<void> {
    const { group, pids } = this.#pods.get(uid) ?? { group: '', pids: [] }
    if (manifestFirst) rmSync(this.#manifest(uid))
    const ended = Promise.all(pids.map((pid) => this.groups.end(pid)))
    // Kernel: under v1 what is frozen does not even die.
    this.#thaw(group)
    await ended
    await this.groups.sandbox.remove(group)
    for (const gone of [group, childGroup(group, 'main')]) this.#before.delete(gone)
    this.#pods.delete(uid)
    if (!manifestFirst) rmSync(this.#manifest(uid))
  }

  #manifest(uid: string): string {
    return join(this.directory, 'pods', `${uid}.yaml`)
  }

  #thaw(group: GroupPath): void {
    this.kernel.writeKnob(group, { kind: 'freeze', value: 0 })
  }

  /** Files that do not read as before any agent, byte for byte. */
  unrestored(): string[] {
    const every = this.everyCpu.toString()
    return [...this.#before.values()].flatMap(({ texts }) =>
      [...texts].flatMap(([path, text]) => {
        const wanted = path.endsWith('/cpuset.cpus') ? every : text
        const now = readFileSync(path, 'latin1').trim()
        return now === wanted ? [] : [`${path}: was ${wanted}, is ${now}`]
      }),
    )
  }

  /** How long the journal is, in bytes; 0 where there is none. */
  get journalBytes(): number {
    return statSync(this.journalFile, { throwIfNoEntry: false })?.size ?? 0
  }

  /** Removes everything; throws when something stays. */
  async close(): Promise<void> {
    for (const { group } of this.#pods.values()) this.#thaw(group)
    await this.groups.close()
    rmSync(this.directory, { recursive: true, force: true })
  }
}

function scriptOf(does: 'pulse' | 'burn'): string {
  return does === 'burn' ? 'while :; do :; done' : PULSE
}
