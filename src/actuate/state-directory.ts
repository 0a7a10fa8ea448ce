/**
 * The directory of the journal and the lock. Whoever can write in it decides what a release puts back on the node, so it has to belong to
 * the agent's own user and be writable by nobody else; what stands in it is never followed elsewhere.
 */
import { closeSync, constants, mkdirSync, openSync, readFileSync, statSync } from 'node:fs'
import { AgentError, errnoOf, messageOf } from '../model/index.ts'

const OTHERS_MAY_WRITE = 0o022
const PERMISSIONS = 0o777

/** Makes the directory if it is not there, for this user alone. Throws E_STATE_DIR when it can't be made or others may write in it. */
export function openStateDirectory(path: string): void {
  let stat
  try {
    mkdirSync(path, { recursive: true, mode: 0o700 })
    stat = statSync(path)
  } catch (thrown) {
    throw new AgentError('E_STATE_DIR', `cannot make the state directory ${path}: ${messageOf(thrown)}`, { cause: thrown })
  }
  const unsafe = whyUnsafe(path, stat)
  if (unsafe !== undefined) throw unsafe
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
