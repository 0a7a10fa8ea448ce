/**
 * Directory trees as literals, planted in a temporary directory: cgroup trees, procfs and sysfs as the kernel would show them. Regular
 * files stand in for kernel files, so what is tested on them is finding, reading and the text that is written, not what a kernel answers.
 */
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { onTestFinished } from 'vitest'
import type { RawTopology } from '../../src/cpu/index.ts'

/** A symbolic link in a tree literal. */
export class Link {
  readonly target: string

  constructor(target: string) {
    this.target = target
  }
}

/** Text is a file, a mapping is a directory. */
export interface Tree {
  readonly [name: string]: string | Link | Tree
}

export function plant(directory: string, tree: Tree): void {
  mkdirSync(directory, { recursive: true })
  for (const [name, entry] of Object.entries(tree)) {
    const path = join(directory, name)
    if (typeof entry === 'string') writeFileSync(path, entry)
    else if (entry instanceof Link) symlinkSync(entry.target, path)
    else plant(path, entry)
  }
}

/** A temporary directory holding `tree` that is gone when the test has finished. */
export function planted(tree: Tree = {}): string {
  const directory = mkdtempSync(join(tmpdir(), 'kube-agent-test-'))
  onTestFinished(() => rmSync(directory, { recursive: true, force: true }))
  plant(directory, tree)
  return directory
}

/** What every directory of a v1 controller holds. */
export const V1_COMMON: Tree = { tasks: '', 'cgroup.procs': '' }

/** The files of one group under v1, by controller, as a new group of a pod shows them. */
export const V1_GROUP = {
  cpu: {
    'cpu.cfs_quota_us': '-1\n',
    'cpu.cfs_period_us': '100000\n',
    'cpu.cfs_burst_us': '0\n',
    'cpu.shares': '1024\n',
    'cpu.idle': '0\n',
    'cpu.stat': 'nr_periods 0\nnr_throttled 0\nthrottled_time 0\nnr_bursts 0\nburst_time 0\n',
  },
  cpuacct: { 'cpuacct.usage': '123456789\n' },
  cpuset: { 'cpuset.cpus': '0-1\n', 'cpuset.mems': '0\n' },
  memory: {
    'memory.limit_in_bytes': '9223372036854771712\n',
    'memory.soft_limit_in_bytes': '9223372036854771712\n',
    'memory.usage_in_bytes': '1048576\n',
    'memory.stat': 'cache 0\ninactive_file 1\ntotal_cache 0\ntotal_inactive_file 4096\ntotal_active_file 0\n',
  },
  freezer: { 'freezer.state': 'THAWED\n' },
  pids: { 'pids.current': '17\n' },
  blkio: {
    'blkio.bfq.weight': '100\n',
    'blkio.throttle.read_bps_device': '',
    'blkio.throttle.write_bps_device': '',
    'blkio.throttle.read_iops_device': '',
    'blkio.throttle.write_iops_device': '',
  },
} as const satisfies Record<string, Tree>

export const V2_GROUP: Tree = {
  'cpu.max': 'max 100000\n',
  'cpu.max.burst': '0\n',
  'cpu.weight': '100\n',
  'cpu.idle': '0\n',
  'cpu.pressure': 'some avg10=0.00 avg60=0.00 avg300=0.00 total=70001\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=1\n',
  'io.pressure': 'some avg10=0.00 avg60=0.00 avg300=0.00 total=80002\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=2\n',
  'memory.pressure': 'some avg10=0.00 avg60=0.00 avg300=0.00 total=90003\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=3\n',
  'cpu.stat': 'usage_usec 5000\nuser_usec 3000\nsystem_usec 2000\nnr_periods 7\nnr_throttled 3\nthrottled_usec 9\n',
  'cpuset.cpus': '\n',
  'memory.min': '0\n',
  'memory.low': '0\n',
  'memory.high': 'max\n',
  'memory.max': 'max\n',
  'memory.current': '2097152\n',
  'memory.stat': 'anon 0\nfile 0\ninactive_anon 9\ninactive_file 8192\n',
  'cgroup.freeze': '0\n',
  'io.weight': 'default 100\n',
  'io.max': '',
  'pids.current': '23\n',
}

/** `group` with what is in it, below `path` (`/a/b`). */
export function below(path: string, group: Tree, common: Tree = {}): Tree {
  return path
    .split('/')
    .filter((name) => name !== '')
    .reverse()
    .reduce<Tree>((inner, name) => ({ ...common, [name]: inner }), { ...common, ...group })
}

/** A v1 mount, a directory per controller, with one group at `path`. */
export function v1Tree(path: string, group: Readonly<Record<string, Tree>> = V1_GROUP): Tree {
  return Object.fromEntries(
    Object.entries(group).map(([controller, files]) => [controller, { ...V1_COMMON, ...below(path, files), ...files }]),
  )
}

export function v2Tree(path: string, group: Tree = V2_GROUP): Tree {
  return { 'cgroup.controllers': 'cpuset cpu io memory pids\n', ...below(path, group) }
}

/** /sys as the kernel would show a machine. */
export function sysfsOf(raw: RawTopology): Tree {
  const cpus = raw.cpus.map((cpu): [string, Tree] => {
    const caches: Tree =
      cpu.llcShared === undefined
        ? {}
        : {
            cache: {
              index0: { level: '1\n', type: 'Data\n', shared_cpu_list: `${cpu.id}\n` },
              index1: { level: '1\n', type: 'Instruction\n', shared_cpu_list: '0-8000\n' },
              index3: { level: '3\n', type: 'Unified\n', shared_cpu_list: `${cpu.llcShared}\n` },
              power: { runtime_status: 'unsupported\n' },
            },
          }
    const siblings: Tree = cpu.threadSiblings === '' ? {} : { thread_siblings_list: `${cpu.threadSiblings}\n` }
    const topology: Tree = { core_id: `${cpu.coreId}\n`, physical_package_id: `${cpu.socketId}\n`, ...siblings }
    return [`cpu${cpu.id}`, { topology, ...caches }]
  })
  const nodes = raw.nodes.map((node): [string, Tree] => [`node${node.id}`, { cpulist: node.cpus }])
  const cpu: Tree = { online: raw.online, cpufreq: {}, ...Object.fromEntries(cpus) }
  const node: Tree = nodes.length === 0 ? {} : { node: { possible: '0\n', ...Object.fromEntries(nodes) } }
  return { devices: { system: { cpu, ...node } } }
}

/** /proc with the files that are read of it. */
export const PROC: Tree = {
  stat: 'cpu  100 20 30 4000 50 6 7 8 0 0\ncpu0 100 20 30 4000 50 6 7 8 0 0\nintr 1\n',
  meminfo: 'MemTotal:       16384 kB\nMemFree:         1024 kB\nMemAvailable:    8192 kB\n',
  loadavg: '0.20 0.18 0.12 3/345 6789\n',
  pressure: {
    cpu: 'some avg10=0.48 avg60=4.29 avg300=13.78 total=362508921\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=0\n',
    memory: 'some avg10=0.00 avg60=0.00 avg300=0.00 total=18602828\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=14120338\n',
  },
}

/** Plants a v2 tree of plain files below `directory`, enough for the agent to open the node, and answers its root. */
export function plantPlainNode(directory: string): string {
  const root = join(directory, 'cgroup')
  const besteffort = { 'cpu.max': 'max 100000\n', 'cpu.stat': 'usage_usec 1\n', 'cpu.weight': '1\n', 'cpu.idle': '0\n' }
  plant(root, { 'cgroup.controllers': 'cpuset cpu io memory pids\n', kubepods: { besteffort } })
  return root
}
