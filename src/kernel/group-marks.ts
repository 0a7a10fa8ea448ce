/**
 * The mark that a group's directory bears while the agent holds some of its files: the extended attribute `user.kube-agent`, whose text names
 * those files. `getfattr -d` shows it to whoever looks at the group. The calls go through koffi, an optional package, since Node has none for
 * extended attributes. No symbolic link is followed at the end of a path, and the path is the one that the knobs of the group have.
 * Kernel: xattr(7), kernfs_vfs_user_xattr_set() in fs/kernfs/inode.c: 5.7 and later take `user.*` on the directories of both cgroup versions,
 * 128 of them and 128 KiB a group. Source: systemd-oomd, which leaves `user.oomd_kills` on the groups it has acted on.
 */
import { createRequire } from 'node:module'
import { constants, release } from 'node:os'
import { join } from 'node:path'
import { getSystemErrorName } from 'node:util'
import type { Capabilities, Capability, GroupPath, KnobKind, MarkPlace, MarkPort, OpenedMarks, Outcome } from '../model/index.ts'
import { APPLIED, errnoOf, KNOB_KINDS, MARK_NAME, messageOf, outcomeOfErrno } from '../model/index.ts'
import { type Controller, filesOf, knobFile } from './dialect.ts'
import type { CgroupMounts } from './mounts.ts'

const { ENODATA, ENOTSUP, ERANGE } = constants.errno
/** All the files of a group under v1 or v2 come to some 300 bytes. */
const MAX_BYTES = 1024
/** Stands for a text that is longer, which none of the agent's is. */
const TOO_LONG = `(more than ${MAX_BYTES} bytes)`

/** The three calls, each a number below 0 for an errno that `errno` tells. */
export interface XattrCalls {
  readonly get: (...args: [path: string, name: string, into: Buffer, bytes: number]) => number
  readonly set: (...args: [path: string, name: string, text: Buffer, bytes: number, flags: number]) => number
  readonly remove: (...args: [path: string, name: string]) => number
  readonly errno: () => number
}

/** Whether the directory of a group can bear a mark, found out by asking for one. Never throws; nothing is written. `load` is another one in tests. */
export function probeMarks(directory: string, load: () => XattrCalls = loadCalls): Capability {
  const calls = attempt(load)
  if (typeof calls === 'string') return { usable: false, reason: calls }
  const refusal = whyNot(directory, calls)
  return refusal === undefined ? { usable: true, file: MARK_NAME } : { usable: false, reason: refusal }
}

/** What sets the marks on this node, or why that can't be done. Never throws. */
export function openMarks(mounts: CgroupMounts, capabilities: Capabilities, load: () => XattrCalls = loadCalls): OpenedMarks {
  const calls = attempt(load)
  if (typeof calls === 'string') return { usable: false, reason: calls }
  const refusal = whyNot(mounts.controllers.cpu ?? '/', calls)
  if (refusal !== undefined) return { usable: false, reason: refusal }
  return { usable: true, port: new GroupMarks(mounts, capabilities, calls) }
}

/** Kernel: before 5.7 no handler of kernfs knows `user.*`, and a question for one is answered like a try to set it. */
function whyNot(directory: string, { get, errno }: XattrCalls): string | undefined {
  if (get(directory, MARK_NAME, Buffer.alloc(MAX_BYTES), MAX_BYTES) >= 0) return undefined
  const code = errno()
  if (code === ENODATA || code === ERANGE) return undefined
  if (code === ENOTSUP) return `groups take no user.* attributes (kernel 5.7 or later does, this is ${release()})`
  return `${MARK_NAME} of ${directory} can't be asked for (${getSystemErrorName(-code)})`
}

function attempt(load: () => XattrCalls): XattrCalls | string {
  try {
    return load()
  } catch (thrown) {
    if (errnoOf(thrown) === 'MODULE_NOT_FOUND') return 'the optional package koffi is not installed'
    return `the kernel can't be called: ${messageOf(thrown)}`
  }
}

class GroupMarks implements MarkPort {
  readonly #calls: XattrCalls
  readonly #places: ReadonlyMap<KnobKind, MarkPlace>
  readonly #buffer = Buffer.alloc(MAX_BYTES)

  constructor(mounts: CgroupMounts, capabilities: Capabilities, calls: XattrCalls) {
    this.#calls = calls
    this.#places = new Map(
      KNOB_KINDS.flatMap((kind) => {
        const place = placeOf(mounts, capabilities, kind)
        return place === undefined ? [] : [[kind, place]]
      }),
    )
  }

  placeOf(kind: KnobKind): MarkPlace | undefined {
    return this.#places.get(kind)
  }

  read(group: GroupPath, tree: string): string | Outcome | undefined {
    const bytes = this.#calls.get(join(tree, group), MARK_NAME, this.#buffer, MAX_BYTES)
    if (bytes >= 0) return this.#buffer.toString('utf8', 0, bytes)
    const code = this.#calls.errno()
    if (code === ENODATA) return undefined
    return code === ERANGE ? TOO_LONG : outcomeOfErrno(getSystemErrorName(-code))
  }

  write(group: GroupPath, tree: string, text: string): Outcome {
    const bytes = Buffer.from(text)
    return this.#outcome(this.#calls.set(join(tree, group), MARK_NAME, bytes, bytes.length, 0))
  }

  remove(group: GroupPath, tree: string): Outcome {
    const outcome = this.#outcome(this.#calls.remove(join(tree, group), MARK_NAME))
    return 'errno' in outcome && outcome.errno === 'ENODATA' ? { is: 'unchanged' } : outcome
  }

  #outcome(result: number): Outcome {
    return result === 0 ? APPLIED : outcomeOfErrno(getSystemErrorName(-this.#calls.errno()))
  }
}

/** Under v1 each controller has a tree, some of them one together; under v2 all have the same. Cookies are no file, and belong to the CPU. */
function placeOf(mounts: CgroupMounts, { knobs }: Capabilities, kind: KnobKind): MarkPlace | undefined {
  const controller: Controller = filesOf(mounts.dialect, kind)[0]?.controller ?? 'cpu'
  const tree = mounts.controllers[controller]
  const knob = knobs[kind]
  const usable = knob.usable ? knob.file : undefined
  const file = knobFile(mounts.dialect, kind, usable)?.name ?? usable
  // Under v1 the limits of IO are four files.
  const names = kind === 'ioMax' ? filesOf(mounts.dialect, kind).map(({ name }) => name) : file === undefined ? [] : [file]
  return tree === undefined || names.length === 0 ? undefined : { tree, files: names.join(' ') }
}

function loadCalls(): XattrCalls {
  // Not an import: the package may be absent, and most nodes never need it.
  const koffi = createRequire(import.meta.url)('koffi') as typeof import('koffi')
  const library = koffi.load(null)
  return {
    get: library.func('intptr_t lgetxattr(const char *path, const char *name, void *into, size_t bytes)') as XattrCalls['get'],
    set: library.func(
      'int lsetxattr(const char *path, const char *name, const void *text, size_t bytes, int flags)',
    ) as XattrCalls['set'],
    remove: library.func('int lremovexattr(const char *path, const char *name)') as XattrCalls['remove'],
    errno: () => koffi.errno(),
  }
}
