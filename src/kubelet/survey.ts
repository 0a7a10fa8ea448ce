/**
 * A look at the kubelet of this node for people: whether its sockets answer, how it is configured, and what its CPU and memory managers have
 * on record. Its flags count before its configuration file, and a file of its drop-in directory before that. Nothing is written.
 * Source: kubernetes cmd/kubelet/app/options (flags), kubelet.config.k8s.io/v1beta1, pkg/kubelet/cm/cpumanager/state/checkpoint.go, 1.36.
 */
import { accessSync, constants } from 'node:fs'
import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { parse } from 'yaml'
import { CpuListError, CpuSet } from '../cpu/index.ts'
import { errnoOf, messageOf } from '../model/index.ts'
import { readBounded } from './checkpoint.ts'
import { kubeletSocketProblem } from './sockets.ts'

/** What of a kubelet's configuration the agent has to live with, as the flag says it and as the file does. */
const SETTINGS = {
  cpuManagerPolicy: { flag: 'cpu-manager-policy', path: ['cpuManagerPolicy'] },
  memoryManagerPolicy: { flag: 'memory-manager-policy', path: ['memoryManagerPolicy'] },
  topologyManagerPolicy: { flag: 'topology-manager-policy', path: ['topologyManagerPolicy'] },
  cgroupDriver: { flag: 'cgroup-driver', path: ['cgroupDriver'] },
  cgroupRoot: { flag: 'cgroup-root', path: ['cgroupRoot'] },
  cpuCFSQuota: { flag: 'cpu-cfs-quota', path: ['cpuCFSQuota'] },
  reservedSystemCPUs: { flag: 'reserved-cpus', path: ['reservedSystemCPUs'] },
  swapBehavior: { flag: undefined, path: ['memorySwap', 'swapBehavior'] },
  memoryQoS: { flag: undefined, path: ['featureGates', 'MemoryQoS'] },
} as const satisfies Record<string, { readonly flag: string | undefined; readonly path: readonly string[] }>

export type KubeletSetting = keyof typeof SETTINGS

/** What a manager keeps on disk: the policy that it has worked by, and which CPUs it has given away. */
export interface ManagerState {
  readonly path: string
  readonly policy: string
  /** CPUs that some container has to itself; empty for the memory manager. */
  readonly exclusive: CpuSet
}

export interface KubeletSurvey {
  /** Why no plugin can be registered. */
  readonly socketProblem: string | undefined
  /** Why no socket can be made in the device-plugin directory. */
  readonly directoryProblem: string | undefined
  readonly podResourcesProblem: string | undefined
  /** The configuration file; `problem` when it or a drop-in can't be read, or is no configuration of a kubelet. */
  readonly file: { readonly path: string; readonly problem?: string }
  /** Whether flags of a running kubelet were seen. */
  readonly seen: boolean
  readonly settings: Readonly<Partial<Record<KubeletSetting, { readonly value: string; readonly from: string }>>>
  /** Undefined where there is no such file. */
  readonly cpuManager: ManagerState | { readonly problem: string } | undefined
  readonly memoryManager: ManagerState | { readonly problem: string } | undefined
}

export interface KubeletPlaces {
  readonly devicePlugins: string
  readonly podResources: string
  /** Where its state lies unless its flags say otherwise: `/var/lib/kubelet`. */
  readonly rootDirectory: string
  /** Its configuration file, where its flags do not tell. @default config.yaml in the root directory */
  readonly configFile?: string | undefined
  /** Words of its command line; undefined where it can't be seen. */
  readonly command: readonly string[] | undefined
}

/** Looks at a kubelet. Takes a second at most, and never rejects. */
export async function surveyKubelet(places: KubeletPlaces): Promise<KubeletSurvey> {
  const flags = flagsOf(places.command ?? [])
  const root = flags.get('root-dir') ?? places.rootDirectory
  const path = places.configFile ?? flags.get('config') ?? join(root, 'config.yaml')
  const [socketProblem, podResourcesProblem, files, cpuManager, memoryManager] = await Promise.all([
    kubeletSocketProblem(places.devicePlugins),
    kubeletSocketProblem(places.podResources),
    readConfiguration(path, flags.get('config-dir')),
    readState(join(root, 'cpu_manager_state')),
    readState(join(root, 'memory_manager_state')),
  ])
  return {
    socketProblem,
    podResourcesProblem,
    directoryProblem: whyNotWritable(places.devicePlugins),
    file: { path, ...(files.problem === undefined ? {} : { problem: files.problem }) },
    seen: places.command !== undefined,
    settings: settingsOf(flags, files.layers),
    cpuManager,
    memoryManager,
  }
}

/** `--name=value`, `--name value`, and `--name` alone for `true`; the last one of a name counts. */
function flagsOf(words: readonly string[]): ReadonlyMap<string, string> {
  const flags = new Map<string, string>()
  for (const [index, word] of words.entries()) {
    const [, name = '', value] = /^--?([a-z][-a-z]*)(?:=(.*))?$/s.exec(word) ?? []
    const next = words[index + 1]
    if (name !== '') flags.set(name, value ?? (next === undefined || next.startsWith('-') ? 'true' : next))
  }
  return flags
}

interface Layer {
  readonly path: string
  readonly content: unknown
}

/** The file and its drop-ins, in the order in which the kubelet lays them over each other, up to the first that it would not take. */
async function readConfiguration(path: string, dropIns?: string): Promise<{ problem?: string; layers: readonly Layer[] }> {
  const layers: Layer[] = []
  let at = path
  try {
    layers.push({ path, content: await readConfigurationFile(path) })
    at = dropIns ?? ''
    const names = dropIns === undefined ? [] : (await readdir(dropIns)).filter((name) => name.endsWith('.conf')).sort()
    for (const name of names) {
      at = join(dropIns ?? '', name)
      layers.push({ path: at, content: await readConfigurationFile(at) })
    }
    return { layers }
  } catch (thrown) {
    const why = errnoOf(thrown) === 'ENOENT' ? 'there is no such file' : (messageOf(thrown).split('\n')[0] ?? '')
    return { problem: at === path ? why : `${at}: ${why}`, layers }
  }
}

/** Kubernetes: the kubelet decodes the file and each drop-in by its kind and apiVersion, and does not start with one that lacks them. */
async function readConfigurationFile(path: string): Promise<unknown> {
  const content = parse(await readBounded(path), { maxAliasCount: 100, logLevel: 'silent' }) as unknown
  const [kind, version] = [field(content, 'kind'), field(content, 'apiVersion')]
  const isOne = kind === 'KubeletConfiguration' && typeof version === 'string' && version.startsWith('kubelet.config.k8s.io/')
  if (isOne) return content
  const other = typeof kind === 'string' && /^\w{1,60}$/.test(kind) ? `its kind is ${kind}` : 'it has no kind'
  throw new Error(
    `this is no KubeletConfiguration (${kind === 'KubeletConfiguration' ? 'its apiVersion is not kubelet.config.k8s.io/v1beta1' : other})`,
  )
}

function settingsOf(flags: ReadonlyMap<string, string>, layers: readonly Layer[]): KubeletSurvey['settings'] {
  const settings: Partial<Record<KubeletSetting, { value: string; from: string }>> = {}
  for (const [name, { flag, path }] of Object.entries(SETTINGS) as [KubeletSetting, (typeof SETTINGS)[KubeletSetting]][]) {
    for (const layer of layers) {
      const value = path.reduce<unknown>(field, layer.content)
      if (typeof value === 'string' || typeof value === 'boolean') settings[name] = { value: String(value), from: layer.path }
    }
    const given = flag === undefined ? gateOf(flags, path) : flags.get(flag)
    if (given !== undefined) settings[name] = { value: given, from: `its flag --${flag ?? 'feature-gates'}` }
  }
  return settings
}

/** `--feature-gates=A=true,B=false`. */
function gateOf(flags: ReadonlyMap<string, string>, [block, gate]: readonly string[]): string | undefined {
  if (block !== 'featureGates') return undefined
  const pair = flags
    .get('feature-gates')
    ?.split(',')
    .find((text) => text.startsWith(`${gate ?? ''}=`))
  return pair?.slice(pair.indexOf('=') + 1)
}

async function readState(path: string): Promise<ManagerState | { problem: string } | undefined> {
  try {
    const state = JSON.parse(await readBounded(path)) as unknown
    const policy = field(state, 'policyName')
    if (typeof policy !== 'string') return { problem: `${path} names no policy` }
    return { path, policy, exclusive: exclusiveIn(field(state, 'entries')) }
  } catch (thrown) {
    if (errnoOf(thrown) === 'ENOENT') return undefined
    return { problem: `${path}: ${messageOf(thrown)}` }
  }
}

/** `{POD: {CONTAINER: "2-3"}}`; the memory manager has lists of blocks in the place of the texts. */
function exclusiveIn(entries: unknown): CpuSet {
  let cpus = CpuSet.EMPTY
  for (const containers of Object.values(asObject(entries))) {
    for (const text of Object.values(asObject(containers))) if (typeof text === 'string') cpus = cpus.union(cpusOf(text))
  }
  return cpus
}

function cpusOf(text: string): CpuSet {
  try {
    return CpuSet.parse(text)
  } catch (thrown) {
    if (thrown instanceof CpuListError) return CpuSet.EMPTY
    throw thrown
  }
}

function whyNotWritable(path: string): string | undefined {
  try {
    accessSync(path, constants.W_OK | constants.X_OK)
    return undefined
  } catch (thrown) {
    return errnoOf(thrown) ?? messageOf(thrown)
  }
}

function asObject(value: unknown): object {
  return typeof value === 'object' && value !== null ? value : {}
}

function field(value: unknown, key: string): unknown {
  return (asObject(value) as Readonly<Record<string, unknown>>)[key]
}
