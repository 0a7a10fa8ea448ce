/**
 * The directory of the journal and the lock. Whoever can write in it decides what a release puts back on the node, so it has to belong to
 * the agent's own user and be writable by nobody else; what stands in it is never followed elsewhere.
 */
import { closeSync, constants, mkdirSync, openSync, readFileSync, statfsSync, statSync } from 'node:fs'
import { dirname } from 'node:path'
import { AgentError, errnoOf, messageOf } from '../model/index.ts'

const OTHERS_MAY_WRITE = 0o022
const PERMISSIONS = 0o777

/**
 * Kernel: include/uapi/linux/magic.h. A directory made in one of these is no directory for files: it is a group, a tracer or a resctrl class, or
 * can't be made at all.
 */
const PSEUDO_FILE_SYSTEMS: ReadonlyMap<number, string> = new Map([
  [0x9fa0, 'procfs'],
  [0x62656572, 'sysfs'],
  [0x27e0eb, 'cgroup v1'],
  [0x63677270, 'cgroup v2'],
  [0x64626720, 'debugfs'],
  [0x74726163, 'tracefs'],
  [0x73636673, 'securityfs'],
  [0x62656570, 'configfs'],
  [0x1cd1, 'devpts'],
  [0x19800202, 'mqueue'],
  [0xcafe4a11, 'bpf'],
  [0x7655821, 'resctrl'],
  [0xde5e81e4, 'efivarfs'],
  [0x6e736673, 'nsfs'],
])
/** Kernel: TMPFS_MAGIC and RAMFS_MAGIC of uapi/linux/magic.h. */
const MEMORY_FILE_SYSTEMS: ReadonlySet<number> = new Set([0x01021994, 0x858458f6])
/** Kernel: PATH_MAX is 4096, with at least two bytes for each name. */
const MAX_DEPTH = 2048

/**
 * Makes the directory if it is not there, for this user alone. `key` is the setting that names it. Throws E_STATE_DIR when it can't be made, lies
 * in a file system that keeps no files, or others may write in it.
 */
export function openStateDirectory(path: string, key: string): void {
  const what = `the directory ${path} (${key})`
  let stat
  try {
    const pseudo = pseudoFileSystemOf(path)
    if (pseudo !== undefined) {
      throw new AgentError('E_STATE_DIR', `${what} lies in ${pseudo}, which keeps no files`, {
        hint: `Set ${key} to a directory of files, such as one below /run or /var/lib.`,
      })
    }
    makeDirectory(path)
    stat = statSync(path)
  } catch (thrown) {
    if (thrown instanceof AgentError) throw thrown
    throw new AgentError('E_STATE_DIR', `cannot make ${what}: ${messageOf(thrown)}`, {
      hint: `Set ${key} to a directory that this user can write.`,
      cause: thrown,
    })
  }
  const unsafe = whyUnsafe(path, stat)
  if (unsafe !== undefined) throw unsafe
}

/** The kind of pseudo file system that a path is in, or would be in once it is made; undefined for one that keeps files. Throws what statfs throws. */
export function pseudoFileSystemOf(path: string): string | undefined {
  for (let above = path; ; above = dirname(above)) {
    try {
      return PSEUDO_FILE_SYSTEMS.get(statfsSync(above).type)
    } catch (thrown) {
      if (errnoOf(thrown) !== 'ENOENT' || above === dirname(above)) throw thrown
    }
  }
}

/** Whether files of a directory that is there are kept in memory, so that a write waits for no disk. Throws what statfs throws. */
export function isInMemory(path: string): boolean {
  return MEMORY_FILE_SYSTEMS.has(statfsSync(path).type)
}

/** Makes a directory and those above it, each at most once: Node's own recursive way never returns where the kernel answers ENOENT below one that is there. */
function makeDirectory(path: string): void {
  const missing: string[] = []
  for (
    let above = path;
    missing.length < MAX_DEPTH && statSync(above, { throwIfNoEntry: false }) === undefined;
    above = dirname(above)
  )
    missing.push(above)
  for (const one of missing.reverse()) {
    try {
      mkdirSync(one, { mode: 0o700 })
    } catch (thrown) {
      // Somebody else was faster; whether it is a directory is looked at by the caller.
      if (errnoOf(thrown) !== 'EEXIST') throw thrown
    }
  }
}

/** Why a directory may not hold the journal: it is another user's, or others may write in it. Undefined where it may. */
export function whyUnsafe(path: string, stat: { readonly uid: number; readonly mode: number }): AgentError | undefined {
  const own = process.geteuid?.() ?? stat.uid
  if (stat.uid !== own) {
    return new AgentError('E_STATE_DIR', `the state directory ${path} belongs to user ${stat.uid}, this agent runs as ${own}`, {
      hint: 'What stands in it decides what is put back on the node. Give it to that user, or set paths.state to another directory.',
    })
  }
  if ((stat.mode & OTHERS_MAY_WRITE) === 0) return undefined
  const mode = (stat.mode & PERMISSIONS).toString(8)
  return new AgentError('E_STATE_DIR', `others may write in the state directory ${path} (mode ${mode})`, {
    hint: `What stands in it decides what is put back on the node. Look at what is there, then: chmod 700 ${path}`,
  })
}

/** The text of a regular file in it; undefined when there is none. A symbolic link is refused (ELOOP). Throws what open and read throw. */
export function readStateFile(path: string): string | undefined {
  let fd
  try {
    // Not blocking: nor would a FIFO in its place be waited for.
    fd = openSync(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK)
  } catch (thrown) {
    if (errnoOf(thrown) === 'ENOENT') return undefined
    throw thrown
  }
  try {
    return readFileSync(fd, 'utf8')
  } finally {
    closeSync(fd)
  }
}
