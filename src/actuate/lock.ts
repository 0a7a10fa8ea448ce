/**
 * One agent per node: the holder listens on a unix socket in the state directory and tells its pid to whoever connects. A socket is the
 * test of life that pid namespaces don't blur: an agent in a pod and one on the host see each other, and a killed holder's socket
 * refuses. The name is taken with link(2), which never replaces what is there.
 */
import { chmodSync, linkSync, lstatSync, readdirSync, renameSync, rmSync } from 'node:fs'
import { connect, createServer, type Server } from 'node:net'
import { join } from 'node:path'
import { AgentError, errnoOf, messageOf } from '../model/index.ts'
import { openStateDirectory } from './state-directory.ts'

const NAME = 'agent.lock'
const ANSWER_MS = 2000
const TRIES = 3
/** Kernel: PID_MAX_LIMIT is 2^22. */
const PID = /^\d{1,7}\n?$/
const MAX_ANSWER = 64
/** A name that a lock has before it is taken, or while a dead one is moved away. */
const ORPHAN = /^agent\.lock\.\d+\.[0-9a-z]+\.\d+(?:\.stale)?$/
/** Taking a lock is a matter of seconds: of one that is so old nobody is still at it. */
const ORPHAN_MS = 60_000
/** Kernel: sun_path holds 108 bytes with the closing NUL (include/uapi/linux/un.h). */
const MAX_PATH_BYTES = 107
/** The longest name beside that of the lock, while a dead one is moved away: pid, time and count. */
const LONGEST_NAME = `${NAME}.${'9'.repeat(7)}.${'z'.repeat(8)}.${'9'.repeat(4)}.stale`
/**
 * Kernel: what connect(2) answers where nobody listens: a dead socket or a plain file, no name at all, a link to itself, a socket of another kind.
 * Anything else (EAGAIN of one with too many callers, EMFILE of this process) says nothing, and a living agent must not pass for a dead one.
 */
const IS_DEAD: ReadonlySet<string> = new Set(['ECONNREFUSED', 'ENOENT', 'ELOOP', 'ENOTSOCK', 'ENOTDIR', 'EPROTOTYPE'])

/** Tells apart the names of locks that this process asks for at once: what one of them fails to make must not be another's. */
let taken = 0

/** Why no lock can be made in this directory because of its length; undefined if it can. libuv cuts a longer path off, and listens elsewhere. */
export function lockPathProblem(stateDirectory: string): string | undefined {
  const spare = MAX_PATH_BYTES - Buffer.byteLength(join(stateDirectory, LONGEST_NAME))
  if (spare >= 0) return undefined
  return `the path ${stateDirectory} is too long for the socket of the lock, by ${-spare} bytes (a socket path holds ${MAX_PATH_BYTES})`
}

/** Takes the lock and returns what gives it back. Throws E_LOCKED while another agent lives, E_STATE_DIR where it can't be taken. */
export async function takeLock(stateDirectory: string): Promise<() => void> {
  const long = lockPathProblem(stateDirectory)
  if (long !== undefined) throw new AgentError('E_STATE_DIR', long, { hint: 'Set paths.state to a shorter path.' })
  const path = join(stateDirectory, NAME)
  taken += 1
  const own = join(stateDirectory, `${NAME}.${process.pid}.${Date.now().toString(36)}.${taken}`)
  const server = await listen(stateDirectory, own)
  const giveUp = (): void => {
    server.close()
    rmSync(own, { force: true })
  }
  try {
    for (let attempt = 0; attempt < TRIES; attempt += 1) {
      if (tryLink(own, path)) {
        // It has the name of the lock now: under its own it would outlast a kill, and nobody would ever remove that.
        removeOrphans(stateDirectory, own)
        return () => {
          try {
            rmSync(path, { force: true })
          } finally {
            // A name that could not be removed is a dead lock then, which the next one to come takes over.
            giveUp()
          }
        }
      }
      const owner = await ownerOf(path)
      if (owner !== undefined) throw new AgentError('E_LOCKED', `another agent runs on this node: pid ${owner}, by ${path}`)
      await removeStale(path, `${own}.stale`)
    }
    throw new AgentError('E_LOCKED', `${path} was taken by another agent just now`)
  } catch (thrown) {
    giveUp()
    throw thrown
  }
}

/** Removes the first name of a lock, and those that agents have left which were killed before they had taken it. Never throws: they are only untidy. */
function removeOrphans(stateDirectory: string, own: string): void {
  try {
    rmSync(own, { force: true })
    for (const name of readdirSync(stateDirectory)) {
      if (!ORPHAN.test(name)) continue
      const path = join(stateDirectory, name)
      // A young one may be that of an agent which is starting at this moment.
      if (Date.now() - lstatSync(path).mtimeMs > ORPHAN_MS) rmSync(path, { force: true })
    }
  } catch {
    // The next agent tries again.
  }
}

/** The pid of the agent that holds the lock, in its own pid namespace; undefined when none does. */
export function lockOwner(stateDirectory: string): Promise<number | undefined> {
  return ownerOf(join(stateDirectory, NAME))
}

async function listen(stateDirectory: string, path: string): Promise<Server> {
  const server = createServer((socket) => {
    socket.on('error', () => socket.destroy())
    socket.end(`${process.pid}\n`)
  })
  // The lock must not keep the process alive.
  server.unref()
  openStateDirectory(stateDirectory, 'paths.state')
  try {
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject)
      server.listen(path, resolve)
    })
    chmodSync(path, 0o600)
    return server
  } catch (thrown) {
    // What was made of it goes: one that is tried again and again would fill the directory.
    server.close()
    rmSync(path, { force: true })
    throw new AgentError('E_STATE_DIR', `cannot make a lock in ${stateDirectory}: ${messageOf(thrown)}`, { cause: thrown })
  }
}

function tryLink(own: string, path: string): boolean {
  try {
    linkSync(own, path)
    return true
  } catch (thrown) {
    if (errnoOf(thrown) === 'EEXIST') return false
    throw new AgentError('E_STATE_DIR', `cannot take the lock ${path}: ${messageOf(thrown)}`, { cause: thrown })
  }
}

/** Moves a dead lock out of the way. Two starters may find the same one dead: whoever moves a living one puts it back. */
async function removeStale(path: string, aside: string): Promise<void> {
  if (lstatSync(path, { throwIfNoEntry: false })?.isDirectory() === true)
    throw new AgentError('E_STATE_DIR', `${path} is a directory, in the place of a lock`, {
      hint: 'Remove it: no agent made it.',
    })
  try {
    renameSync(path, aside)
  } catch (thrown) {
    if (errnoOf(thrown) === 'ENOENT') return
    throw new AgentError('E_STATE_DIR', `cannot move the dead lock ${path} away: ${messageOf(thrown)}`, { cause: thrown })
  }
  if ((await ownerOf(aside)) !== undefined) tryLink(aside, path)
  rmSync(aside, { force: true })
}

/** What a holder says is not believed further than it makes sense: 0 stands for a living one whose pid is not known. */
function ownerOf(path: string): Promise<number | undefined> {
  return new Promise((resolve) => {
    let text = ''
    const socket = connect(path)
    const answer = (): void => {
      clearTimeout(timer)
      socket.destroy()
      // One that accepts but does not answer in time lives all the same.
      resolve(PID.test(text) ? Number(text) : 0)
    }
    // For the whole answer: a talkative one would never be idle.
    const timer = setTimeout(answer, ANSWER_MS)
    socket.on('data', (data) => {
      text += data.toString('latin1', 0, MAX_ANSWER)
      if (text.length >= MAX_ANSWER) answer()
    })
    socket.once('end', answer)
    socket.once('error', (thrown) => {
      clearTimeout(timer)
      resolve(IS_DEAD.has(errnoOf(thrown) ?? '') ? undefined : 0)
    })
  })
}
