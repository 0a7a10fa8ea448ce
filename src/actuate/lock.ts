/**
 * One agent per state directory: the holder listens on a unix socket in the directory `agent.lock`, under a name that begins with its pid and is
 * never used again. A socket is the test of life that pid namespaces don't blur: an agent in a pod and one on the host see each other, and a
 * killed holder's socket refuses.
 *
 *   agent.lock.5f0c…/123.5f0c…  ──rename──▶  agent.lock/123.5f0c…
 *
 * Kernel: rename(2) moves a directory over another only if that one is empty. So the name is taken in one step, with the socket in it; a
 * dead socket is removed by a name of which there is no second, whoever has come meanwhile; and no living one is ever moved. There is no
 * instant at which a second agent could hold it, wherever another one is stopped or killed.
 */
import { chmodSync, lstatSync, mkdirSync, readdirSync, renameSync, rmdirSync, rmSync, unlinkSync } from 'node:fs'
import { randomBytes } from 'node:crypto'
import { join } from 'node:path'
import { AgentError, errnoOf, messageOf } from '../model/index.ts'
import { type Asked, askRelease, isHeld, LockSocket, ownerOf, type ReleaseHandler } from './lock-socket.ts'
import { openStateDirectory } from './state-directory.ts'

const NAME = 'agent.lock'
/** Each try finds a living holder or has removed a dead one: more are needed only while others come and go. */
const TRIES = 8
const ID_BYTES = 6
/** Pid and id of a holder. Kernel: PID_MAX_LIMIT is 2^22. */
const HOLDER = /^(\d{1,7})\.[\da-f]{12}$/
/** What was to become a lock; the second form is of agents before the directory. */
const ORPHAN = /^agent\.lock\.(?:[\da-f]{12}|\d+\.[\da-z]+\.\d+(?:\.stale)?)$/
/** Taking a lock is a matter of seconds: of one that is so old nobody is still at it. */
const ORPHAN_MS = 60_000
/** Kernel: sun_path holds 108 bytes with the closing NUL (include/uapi/linux/un.h). */
const MAX_PATH_BYTES = 107
const LONGEST_ID = 'f'.repeat(ID_BYTES * 2)
const LONGEST_NAME = join(`${NAME}.${LONGEST_ID}`, `${'9'.repeat(7)}.${LONGEST_ID}`)

/** Why no lock can be made in this directory because of its length; undefined if it can. libuv cuts a longer path off, and listens elsewhere. */
export function lockPathProblem(stateDirectory: string): string | undefined {
  const spare = MAX_PATH_BYTES - Buffer.byteLength(join(stateDirectory, LONGEST_NAME))
  if (spare >= 0) return undefined
  return `the path ${stateDirectory} is too long for the socket of the lock, by ${-spare} bytes (a socket path holds ${MAX_PATH_BYTES})`
}

/**
 * Takes the lock and returns what gives it back. `onRelease` is called for each caller who asks to release the node; without it nobody can.
 * Throws E_LOCKED while another agent lives, E_STATE_DIR where it can't be taken.
 */
export async function takeLock(stateDirectory: string, onRelease?: ReleaseHandler): Promise<() => void> {
  const long = lockPathProblem(stateDirectory)
  if (long !== undefined) throw new AgentError('E_STATE_DIR', long, { hint: 'Set paths.state to a shorter path.' })
  openStateDirectory(stateDirectory, 'paths.state')
  const path = join(stateDirectory, NAME)
  const id = randomBytes(ID_BYTES).toString('hex')
  const [own, holder] = [`${path}.${id}`, `${process.pid}.${id}`]
  const socket = new LockSocket(onRelease)
  try {
    await listenIn(own, holder, socket)
    for (let attempt = 0; attempt < TRIES; attempt += 1) {
      if (tryRename(own, path)) {
        removeOrphans(stateDirectory)
        return () => {
          // Nobody gets through from here on: a name that can't be removed is a dead lock then, which the next one to come takes over.
          socket.close()
          rmSync(join(path, holder), { force: true })
          removeEmpty(path)
        }
      }
      const owner = await clearDead(path)
      if (owner !== undefined) throw new AgentError('E_LOCKED', `another agent runs on this node: ${named(owner)}, by ${path}`)
    }
    throw new AgentError('E_LOCKED', `${path} was taken by another agent just now`)
  } catch (thrown) {
    socket.close()
    // Never a lock that was taken: it has another name then.
    rmSync(own, { recursive: true, force: true })
    throw thrown
  }
}

/** How a message names the holder of a lock. 0 stands for a living one whose pid is not known. */
export function named(pid: number): string {
  return pid === 0 ? 'pid not known' : `pid ${pid}`
}

/** The pid of the agent that holds the lock, in its own pid namespace, 0 for one that can't be named; undefined when none does. */
export async function lockOwner(stateDirectory: string): Promise<number | undefined> {
  const path = join(stateDirectory, NAME)
  for (const name of holdersIn(path) ?? []) if (await isHeld(join(path, name))) return pidOf(name)
  // Of an agent before the directory.
  return ownerOf(path)
}

/** Asks the agent that holds the lock to release the node. Times in ms, as for askRelease of the socket. */
export async function askHolder(
  stateDirectory: string,
  patience: { readonly beginMs: number; readonly finishMs: number },
): Promise<Asked> {
  const path = join(stateDirectory, NAME)
  for (const name of holdersIn(path) ?? []) {
    const asked = await askRelease(join(path, name), patience)
    if (asked.is !== 'nobody') return asked
  }
  return askRelease(path, patience)
}

function pidOf(name: string): number {
  return Number(HOLDER.exec(name)?.[1] ?? 0)
}

/** Makes the lock under a name of its own, with somebody listening in it. */
async function listenIn(own: string, holder: string, socket: LockSocket): Promise<void> {
  try {
    mkdirSync(own, { mode: 0o700 })
    const path = join(own, holder)
    await socket.listen(path)
    chmodSync(path, 0o600)
  } catch (thrown) {
    throw new AgentError('E_STATE_DIR', `cannot make a lock at ${own}: ${messageOf(thrown)}`, { cause: thrown })
  }
}

/** False where something stands in its place: a lock, living or dead, or what is none. */
function tryRename(own: string, path: string): boolean {
  try {
    renameSync(own, path)
    return true
  } catch (thrown) {
    const errno = errnoOf(thrown)
    if (errno === 'ENOTEMPTY' || errno === 'EEXIST' || errno === 'ENOTDIR') return false
    throw new AgentError('E_STATE_DIR', `cannot take the lock ${path}: ${messageOf(thrown)}`, { cause: thrown })
  }
}

/** Names in the lock; undefined where it is no directory, or there is none. Throws E_STATE_DIR where it can't be read, or holds what is no socket of it. */
function holdersIn(path: string): readonly string[] | undefined {
  let names
  try {
    if (lstatSync(path, { throwIfNoEntry: false })?.isDirectory() !== true) return undefined
    names = readdirSync(path)
  } catch (thrown) {
    const errno = errnoOf(thrown)
    if (errno === 'ENOENT' || errno === 'ENOTDIR') return undefined
    throw new AgentError('E_STATE_DIR', `cannot read the lock ${path}: ${messageOf(thrown)}`, { cause: thrown })
  }
  const odd = names.find((name) => !HOLDER.test(name))
  if (odd === undefined) return names
  throw new AgentError('E_STATE_DIR', `${path} holds ${JSON.stringify(odd)}, in the place of a lock`, {
    hint: 'Remove it: no agent made it.',
  })
}

/** Removes what is dead in the place of the lock, or returns who lives there; 0 stands for one that can't be named. */
async function clearDead(path: string): Promise<number | undefined> {
  const names = holdersIn(path)
  if (names === undefined) {
    const owner = await ownerOf(path)
    // Kernel: should a directory be there by now, a lock that is, unlink(2) answers EISDIR.
    if (owner === undefined) removeDead(path)
    return owner
  }
  for (const name of names) {
    if (await isHeld(join(path, name))) return pidOf(name)
    removeDead(join(path, name))
  }
  return undefined
}

function removeDead(path: string): void {
  try {
    unlinkSync(path)
  } catch (thrown) {
    const errno = errnoOf(thrown)
    if (errno === 'ENOENT' || errno === 'EISDIR') return
    throw new AgentError('E_STATE_DIR', `cannot remove the dead lock ${path}: ${messageOf(thrown)}`, { cause: thrown })
  }
}

function removeEmpty(path: string): void {
  try {
    rmdirSync(path)
  } catch {
    // Another agent has put its own there; or it is left empty, which the next one to come takes.
  }
}

/** Removes what agents have left that were killed before they had taken the lock. Never throws: they are only untidy. */
function removeOrphans(stateDirectory: string): void {
  try {
    for (const name of readdirSync(stateDirectory)) {
      if (!ORPHAN.test(name)) continue
      const path = join(stateDirectory, name)
      // A young one may be that of an agent which is starting at this moment; one that slept for longer fails, and takes nothing.
      if (Date.now() - lstatSync(path).mtimeMs > ORPHAN_MS) rmSync(path, { recursive: true, force: true })
    }
  } catch {
    // The next agent tries again.
  }
}
