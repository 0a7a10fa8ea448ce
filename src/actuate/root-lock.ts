/**
 * One agent per cgroup root, whatever its state directory: two that enforce on the same groups would take each other's values for originals.
 * The lock is an abstract unix socket, named after the root's device and inode: the kernel gives the name to one process, and takes it back
 * when that one ends, so it can't be stale. It reaches as far as the network namespace; agents in pods without hostNetwork are kept apart by the
 * lock in the state directory, which they have in common.
 */
import { AgentError, errnoOf, messageOf } from '../model/index.ts'
import { LockSocket, ownerOf } from './lock-socket.ts'
import { named } from './lock.ts'

/** Kernel: sun_path holds 108 bytes, one of them the NUL. All are used, since versions of Node differ in how they fill up a shorter name. */
const NAME_BYTES = 107

interface RootLockOptions {
  /** Identity of the directory: device and inode. */
  readonly id: string
  /** How people call it. */
  readonly path: string
  /** Finds the process that listens under an abstract name without asking it; undefined where it can't be seen. */
  readonly findOwner: (name: string) => { readonly pid: number; readonly uid: number } | undefined
}

interface RootLock {
  readonly unlock: () => void
  /** Why the lock could not be taken although no agent holds it; undefined when it was. */
  readonly problem?: string
}

/** Takes the lock of a cgroup root. Throws E_LOCKED while another agent holds it. */
export async function takeRootLock({ id, path, findOwner }: RootLockOptions): Promise<RootLock> {
  const name = `kube-agent/root/${id}/`.padEnd(NAME_BYTES, '.')
  const socket = new LockSocket(undefined)
  try {
    await socket.listen(`\0${name}`)
    return { unlock: () => socket.close() }
  } catch (thrown) {
    socket.close()
    const unlock = (): void => undefined
    if (errnoOf(thrown) !== 'EADDRINUSE') return { unlock, problem: `no lock on ${path}: ${messageOf(thrown)}` }
    const owner = findOwner(name)
    // An abstract name has no owner and no mode: anybody on the node could have taken it to keep the agent out.
    if (owner !== undefined && owner.uid !== process.geteuid?.()) {
      const who = `pid ${owner.pid} of user ${owner.uid}`
      return { unlock, problem: `no lock on ${path}: its name is taken by ${who}, which is no agent` }
    }
    const pid = owner?.pid ?? (await ownerOf(`\0${name}`)) ?? 0
    throw new AgentError('E_LOCKED', `another agent runs on this node: ${named(pid)}, on the groups below ${path}`)
  }
}
