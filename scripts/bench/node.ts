/**
 * A node for the benchmarks: pods as real cgroups below a root of their own, with manifests, laid out as the kubelet lays them out, and
 * real processes in them. Everything it makes it puts away, and what a bench that was killed has left behind goes with the next one.
 */
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { stringify } from 'yaml'
import { manifestOf, podSpec } from '../../src/cli/demo/pods.ts'
import { openNode } from '../../src/compose.ts'
import { loadConfig, type Config } from '../../src/config/index.ts'
import { GroupSandbox, KubeletGroups, removeStaleSandboxes } from '../../src/kernel/index.ts'
import { DIALECTS } from '../../src/kernel/dialect.ts'
import type { GroupPath, KernelPort, PodSpec, Quota } from '../../src/model/index.ts'
import { childGroup, isQuota, qosRoot, quotaMilliCpu } from '../../src/model/index.ts'
import { Program, type ProgramOptions } from './program.ts'

const CGROUP_PATH = '/sys/fs/cgroup'
const PREFIX = 'kube-agent-bench'
/** Ten times what a group has by default: an own group with a high weight keeps a process on time (see `own.weight`). */
const HIGH_WEIGHT = { v1: '10240', v2: '1000' } as const

export interface StartedPod {
  readonly group: GroupPath
  readonly container: GroupPath
}

export class BenchNode {
  readonly sandbox: GroupSandbox
  readonly directory: string
  readonly podGroups: GroupPath[] = []
  readonly #groups: KubeletGroups
  readonly #programs: Program[] = []

  constructor() {
    this.sandbox = new GroupSandbox(CGROUP_PATH, `${PREFIX}-${process.pid}`)
    this.#groups = new KubeletGroups(this.sandbox)
    this.directory = mkdtempSync(join(tmpdir(), `${PREFIX}-${process.pid}-`))
    mkdirSync(join(this.directory, 'pods'))
  }

  /** Puts away what a bench left behind that was killed; its processes ended with it. */
  static async open(): Promise<BenchNode> {
    await removeStaleSandboxes(CGROUP_PATH, PREFIX)
    for (const name of readdirSync(tmpdir())) {
      const [, pid] = new RegExp(`^${PREFIX}-(\\d+)-`).exec(name) ?? []
      if (pid !== undefined && !existsSync(`/proc/${pid}`)) rmSync(join(tmpdir(), name), { recursive: true, force: true })
    }
    return new BenchNode()
  }

  /** Makes pods with one container each, three fifths of them online. */
  addPods(count: number): void {
    for (let index = 0; index < count; index += 1) this.podGroups.push(this.startPod(benchPod(index)).group)
  }

  /** Makes a pod's groups; its manifest too, unless nobody is to know of it. */
  startPod(spec: PodSpec, { listed = true } = {}): StartedPod {
    const { group, containers } = this.#groups.startPod(spec)
    const [container] = containers
    if (container === undefined) throw new Error(`pod ${spec.name} has no container`)
    if (listed) writeFileSync(join(this.directory, 'pods', `${spec.name}.yaml`), manifestOf(spec))
    return { group, container }
  }

  get offlineRoot(): GroupPath {
    return qosRoot(this.#groups.layout, 'BestEffort')
  }

  /** Path of the file that holds the quota of `group`: under v1 the quota in µs, under v2 quota and period. */
  quotaFile(group: GroupPath): string {
    const { dialect, controllers } = this.sandbox.mounts
    return join(controllers.cpu ?? '', group, DIALECTS[dialect].knobs.quota?.name ?? '')
  }

  /** Whether the root of all offline pods has a quota. */
  get isLimited(): boolean {
    return /^\d/.test(readFileSync(this.quotaFile(this.offlineRoot), 'latin1'))
  }

  /** Milli-CPU of a quota file's text; Infinity for no limit. Throws for a text that is none. */
  quotaMilli(text: string): number {
    const quota = DIALECTS[this.sandbox.mounts.dialect].knobs.quota?.decode(text)
    if (!isQuota(quota)) throw new Error(`not a quota: ${JSON.stringify(text)}`)
    return quotaMilliCpu(quota)
  }

  /** Writes the quota of a group that no agent looks after. */
  writeQuota(group: GroupPath, quota: Quota): void {
    this.sandbox.write(group, 'quota', DIALECTS[this.sandbox.mounts.dialect].knobs.quota?.encode(quota) ?? '')
  }

  /** A group beside those of the pods. */
  makeGroup(name: string): GroupPath {
    const group = childGroup(this.sandbox.root, name)
    this.sandbox.make(group)
    return group
  }

  /** Starts a process in `group`; in that of the bench itself without. Ended with the node. */
  start(words: readonly string[], options: ProgramOptions & { readonly group?: GroupPath } = {}): Program {
    const { group } = options
    const program = new Program(words, {
      ...options,
      ...(group === undefined ? {} : { enter: (pid: number) => this.sandbox.attach(group, pid) }),
    })
    this.#programs.push(program)
    return program
  }

  /**
   * Starts the bundle as a DaemonSet would: `run` in a pod of its own, whose group has a high weight.
   * Returns the process and its pod's group, by which its CPU time is counted.
   */
  startAgent(config: string): { readonly program: Program; readonly group: GroupPath } {
    const spec = podSpec({
      uid: uidOf(999_999),
      name: 'kube-agent',
      namespace: 'kube-system',
      kubeletQos: 'Burstable',
      requestMilli: 100,
    })
    const { group, container } = this.startPod(spec)
    for (const made of [group, container]) this.sandbox.write(made, 'weight', HIGH_WEIGHT[this.sandbox.mounts.dialect])
    const program = this.start(['dist/kube-agent.mjs', 'run', '--config', config], { group: container, signal: 'SIGTERM' })
    return { program, group }
  }

  /** Writes a configuration for `run` on this node and returns its path. Kubelet sockets are expected in `dp` and `pr`. */
  writeConfig(settings: Readonly<Record<string, unknown>>): string {
    const file = join(this.directory, 'config.yaml')
    const at = (name: string): string => join(this.directory, name)
    const own = {
      mode: 'enforce',
      node: { cgroupRoot: this.sandbox.root },
      paths: { state: at('state'), devicePlugins: at('dp'), podResources: at('pr') },
      pods: { directory: at('pods') },
      log: { level: 'warn' },
    }
    writeFileSync(file, stringify({ ...own, ...settings }))
    return file
  }

  /** The same as settings for an agent, or a kernel port, in this very process. */
  config(): Config {
    const settings = {
      'node.cgroupRoot': this.sandbox.root,
      'paths.state': join(this.directory, 'state'),
      'pods.directory': join(this.directory, 'pods'),
    }
    return loadConfig({
      overrides: Object.entries(settings).map(([key, value]) => ({ path: key.split('.'), value, origin: 'bench' })),
    }).config
  }

  openKernel(): KernelPort {
    return openNode(this.config()).kernel
  }

  async close(): Promise<void> {
    for (const program of this.#programs.splice(0).reverse()) await program.end()
    await this.sandbox.remove()
    rmSync(this.directory, { recursive: true, force: true })
  }
}

/** A pod's UID from a number. */
export function uidOf(index: number): string {
  return `00000000-0000-4000-8000-${String(index).padStart(12, '0')}`
}

/** A pod of an offline class that asks for `units` of its CPU resource. */
export function offlinePod(index: number, kind: 'be' | 'ot', units: number): PodSpec {
  const extended = { [`kube-agent.io/${kind}-cpu`]: units, [`kube-agent.io/${kind}-memory`]: 1 }
  return podSpec({ uid: uidOf(index), name: `pod-${index}`, namespace: 'offline', kubeletQos: 'BestEffort', extended })
}

export function onlinePod(index: number, requestMilli: number): PodSpec {
  return podSpec({ uid: uidOf(index), name: `pod-${index}`, namespace: 'online', kubeletQos: 'Burstable', requestMilli })
}

function benchPod(index: number): PodSpec {
  if (index % 5 < 3) return onlinePod(index, 100)
  return offlinePod(index, index % 5 === 3 ? 'be' : 'ot', 1)
}
