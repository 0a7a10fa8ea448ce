/** What keeps a second writer off this node: a lock in the state directory, which is asked to release too, and one on the cgroup root itself. */
import { type ReleaseHandler, takeLock, takeRootLock } from '../actuate/index.ts'
import type { Config } from '../config/index.ts'
import { abstractOwner, type OpenedKernel } from '../kernel/index.ts'

export interface NodeLock {
  readonly unlock: () => void
  /** Why the cgroup root has no lock although no agent holds it; undefined when it has. */
  readonly problem?: string
}

/** Takes both, or neither. Throws E_LOCKED while an agent has either of them, and E_STATE_DIR. */
export async function lockNode(
  { paths }: Pick<Config, 'paths'>,
  { root }: Pick<OpenedKernel, 'root'>,
  onRelease?: ReleaseHandler,
): Promise<NodeLock> {
  const unlock = await takeLock(paths.state, onRelease)
  try {
    const { unlock: unlockRoot, ...rest } = await takeRootLock({ ...root, findOwner: (name) => abstractOwner(paths.proc, name) })
    const both = (): void => {
      unlockRoot()
      unlock()
    }
    return { unlock: both, ...rest }
  } catch (thrown) {
    unlock()
    throw thrown
  }
}
