/**
 * Reads the CPU topology out of sysfs into plain data; making sense of it is cpu/topology.ts. Read at start and after a hot-plug.
 * Kernel: Documentation/admin-guide/cputopology.rst, ABI/stable/sysfs-devices-system-cpu, ABI/stable/sysfs-devices-node.
 */
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { CpuTopology, RawTopology } from '../cpu/index.ts'
import { buildTopology, CpuListError, CpuSet } from '../cpu/index.ts'
import { AgentError, messageOf } from '../model/index.ts'

/** The topology under a /sys mount. Throws E_TOPOLOGY when the list of online CPUs can't be read, or names none. */
export function readTopology(sysPath: string): CpuTopology {
  const root = join(sysPath, 'devices/system/cpu')
  let online: string
  try {
    online = readFileSync(join(root, 'online'), 'latin1').trim()
  } catch (thrown) {
    throw new AgentError('E_TOPOLOGY', `cannot read ${join(root, 'online')}: ${messageOf(thrown)}`, { cause: thrown })
  }
  try {
    const cpus = [...CpuSet.parse(online)].map((id) => readCpu(join(root, `cpu${id}`), id))
    if (cpus.length === 0) throw new AgentError('E_TOPOLOGY', `${join(root, 'online')} names no CPU`)
    const raw: RawTopology = { online, cpus, nodes: readNodes(join(sysPath, 'devices/system/node')) }
    return buildTopology(raw)
  } catch (thrown) {
    if (!(thrown instanceof CpuListError)) throw thrown
    throw new AgentError('E_TOPOLOGY', `cannot make sense of ${root}: ${thrown.message}`, { cause: thrown })
  }
}

/** Every CPU that the kernel could ever bring online: what a set of cgroup v2 may name. Empty when the list can't be read. */
export function readPossible(sysPath: string): CpuSet {
  try {
    return CpuSet.parse(text(join(sysPath, 'devices/system/cpu/possible')) ?? '')
  } catch (thrown) {
    if (thrown instanceof CpuListError) return CpuSet.EMPTY
    throw thrown
  }
}

function readCpu(folder: string, id: number): RawTopology['cpus'][number] {
  return {
    id,
    coreId: number(join(folder, 'topology/core_id'), id),
    socketId: number(join(folder, 'topology/physical_package_id'), 0),
    threadSiblings: text(join(folder, 'topology/thread_siblings_list')) ?? String(id),
    llcShared: lastLevelCache(join(folder, 'cache')),
  }
}

/** The sharing list of the data or unified cache with the highest level. */
function lastLevelCache(folder: string): string | undefined {
  let best: { level: number; shared: string } | undefined
  for (const name of names(folder, /^index\d+$/)) {
    const level = number(join(folder, name, 'level'), 0)
    const shared = text(join(folder, name, 'shared_cpu_list'))
    const type = text(join(folder, name, 'type'))
    if (shared !== undefined && shared !== '' && type !== 'Instruction' && level > (best?.level ?? 0)) best = { level, shared }
  }
  return best?.shared
}

function readNodes(folder: string): RawTopology['nodes'] {
  return names(folder, /^node\d{1,5}$/).map((name) => ({
    id: Number(name.slice('node'.length)),
    cpus: text(join(folder, name, 'cpulist')) ?? '',
  }))
}

/** The number in a file; `missing` where there is no file, and −1, which is the kernel's word for "not known", for what is no number. */
function number(path: string, missing: number): number {
  const found = text(path)
  if (found === undefined) return missing
  return /^\d{1,10}$/.test(found) ? Number(found) : -1
}

function names(folder: string, pattern: RegExp): string[] {
  try {
    return readdirSync(folder).filter((name) => pattern.test(name))
  } catch {
    return []
  }
}

function text(path: string): string | undefined {
  try {
    return readFileSync(path, 'latin1').trim()
  } catch {
    return undefined
  }
}
