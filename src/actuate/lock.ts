/**
 * One agent per node: the holder listens on a unix socket in the state directory and tells its pid to whoever connects. A socket is the
 * test of life that pid namespaces don't blur: an agent in a pod and one on the host see each other, and a killed holder's socket
 * refuses. The name is taken with link(2), which never replaces what is there.
 */
import { chmodSync, linkSync, lstatSync, renameSync, rmSync } from 'node:fs'
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
/**
 * Kernel: what connect(2) answers where nobody listens: a dead socket or a plain file, no name at all, a link to itself, a socket of another kind.
 * Anything else (EAGAIN of one with too many callers, EMFILE of this process) says nothing, and a living agent must not pass for a dead one.
 */
const IS_DEAD: ReadonlySet<string> = new Set(['ECONNREFUSED', 'ENOENT', 'ELOOP', 'ENOTSOCK', 'ENOTDIR', 'EPROTOTYPE'])

/** Tells apart the names of locks that this process asks for at once: what one of them fails to make must not be another's. */
let taken = 0

/** Takes the lock and returns what gives it back. Throws E_LOCKED while another agent lives, E_STATE_DIR where it can't be taken. */
export async function takeLock(stateDirectory: string): Promise<() => void> {
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
  openStateDirectory(stateDirectory)
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
