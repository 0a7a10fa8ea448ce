/**
 * Extended attributes of the groups of a model kernel, behind the calls that the real marks are made with. It can be told to refuse, and to
 * kill whoever calls it before or after a change.
 */
import { constants } from 'node:os'
import type { MarksOptions } from '../../src/actuate/marks.ts'
import { openMarks, type XattrCalls } from '../../src/kernel/group-marks.ts'
import type { CgroupMounts } from '../../src/kernel/mounts.ts'
import { MARK_NAME } from '../../src/model/index.ts'
import type { ModelKernel } from '../../src/sim/index.ts'
import { Killed } from './journaled-node.ts'

const CONTROLLERS = ['cpu', 'cpuacct', 'cpuset', 'memory', 'freezer', 'blkio', 'io', 'pids'] as const
type ErrnoName = keyof typeof constants.errno

/** A tree for each controller under v1, one for all under v2. */
export function mountsOf(dialect: 'v1' | 'v2'): CgroupMounts {
  const tree = (name: string): string => (dialect === 'v2' ? '/tree' : `/tree/${name}`)
  return { dialect, controllers: Object.fromEntries(CONTROLLERS.map((name) => [name, tree(name)])) }
}

export class MarkedGroups {
  /** Text by path of the directory. */
  readonly texts = new Map<string, string>()
  /** Changes that have reached it. */
  changes = 0
  /** What a call of this kind answers; by path. */
  refuses: (call: 'get' | 'set' | 'remove', path: string) => ErrnoName | undefined = () => undefined
  /** Changes until the caller is killed, and whether the last one still happens. */
  fate = { left: Infinity, after: false }
  readonly #kernel: ModelKernel
  readonly #mounts: CgroupMounts
  #errno = 0

  constructor(kernel: ModelKernel) {
    this.#kernel = kernel
    this.#mounts = mountsOf(kernel.capabilities.dialect)
  }

  /** Marks over this one as the agent makes them. */
  options(enabled: boolean): MarksOptions {
    return { enabled, open: () => openMarks(this.#mounts, this.#kernel.capabilities, () => this.calls()), now: () => 0 }
  }

  calls(): XattrCalls {
    return {
      get: (path, _name, into, bytes) => {
        const text = this.texts.get(path)
        const errno = this.#refusal('get', path) ?? (text === undefined ? 'ENODATA' : undefined)
        if (errno !== undefined) return this.#fail(errno)
        const held = Buffer.from(text ?? '')
        return held.length > bytes ? this.#fail('ERANGE') : held.copy(into)
      },
      set: (path, _name, text, bytes) => {
        const errno = this.#refusal('set', path)
        return errno === undefined ? this.#change(() => this.texts.set(path, text.toString('utf8', 0, bytes))) : this.#fail(errno)
      },
      remove: (path) => {
        const errno = this.#refusal('remove', path) ?? (this.texts.has(path) ? undefined : 'ENODATA')
        return errno === undefined ? this.#change(() => this.texts.delete(path)) : this.#fail(errno)
      },
      errno: () => this.#errno,
    }
  }

  /** The group is gone, and what it bore with it. */
  forget(group: string): void {
    for (const path of this.texts.keys()) if (this.groupOf(path) === group) this.texts.delete(path)
  }

  groupOf(path: string): string {
    const tree = Object.values(this.#mounts.controllers).find((mounted) => `${path}/`.startsWith(`${mounted}/`)) ?? ''
    return path.slice(tree.length)
  }

  #refusal(call: 'get' | 'set' | 'remove', path: string): ErrnoName | undefined {
    const group = this.groupOf(path)
    return this.refuses(call, path) ?? (group !== '' && !this.#kernel.exists(group) ? 'ENOENT' : undefined)
  }

  #change(change: () => unknown): number {
    this.fate.left -= 1
    if (this.fate.left >= 0 || this.fate.after) {
      this.changes += 1
      change()
    }
    if (this.fate.left < 0) throw new Killed(`killed at ${MARK_NAME}`)
    return 0
  }

  #fail(errno: ErrnoName): number {
    this.#errno = constants.errno[errno]
    return -1
  }
}
