/** Extended attributes of groups on this machine's kernel, past all code of the agent: by the calls themselves. */
import { createRequire } from 'node:module'
import type { GroupPath } from '../../src/model/index.ts'
import type { RealGroups } from './real-node.ts'

type Get = (...args: [path: string, name: string, into: Buffer, bytes: number]) => number
type Set = (...args: [path: string, name: string, text: Buffer, bytes: number, flags: number]) => number

interface Calls {
  readonly get: Get
  readonly set: Set
}

let found: Calls | string | undefined

function calls(): Calls | string {
  if (found !== undefined) return found
  try {
    const koffi = createRequire(import.meta.url)('koffi') as typeof import('koffi')
    const library = koffi.load(null)
    found = {
      get: library.func('intptr_t getxattr(const char *path, const char *name, void *into, size_t bytes)') as Get,
      set: library.func('int setxattr(const char *path, const char *name, const void *text, size_t bytes, int flags)') as Set,
    }
  } catch {
    found = 'the optional package koffi is not installed'
  }
  return found
}

function called(): Calls {
  const made = calls()
  if (typeof made === 'string') throw new Error(made)
  return made
}

/** Why attributes of `directory` can't be tested, or undefined when they can. */
export function whyNoAttributes(directory: string): string | undefined {
  const made = calls()
  if (typeof made === 'string') return made
  return setAttribute(directory, 'user.kube-agent-test', '') ? undefined : 'this kernel takes no user.* attributes on groups'
}

/** The text of an attribute; undefined where there is none. */
export function attributeOf(directory: string, name: string): string | undefined {
  const into = Buffer.alloc(4096)
  const bytes = called().get(directory, name, into, into.length)
  return bytes < 0 ? undefined : into.toString('utf8', 0, bytes)
}

/** Whether it was taken. */
export function setAttribute(directory: string, name: string, text: string): boolean {
  const bytes = Buffer.from(text)
  return called().set(directory, name, bytes, bytes.length, 0) === 0
}

/** The marks of these groups in the trees of all controllers, `PATH: TEXT` each; none where they can't be read. */
export function marksOf({ sandbox }: RealGroups, groups: Iterable<GroupPath>): string[] {
  if (typeof calls() === 'string') return []
  const trees = [...new Set(Object.values(sandbox.mounts.controllers))]
  return [...groups].flatMap((group) =>
    trees.flatMap((tree) => {
      const text = attributeOf(`${tree}${group}`, 'user.kube-agent')
      return text === undefined ? [] : [`${tree}${group}: ${text}`]
    }),
  )
}
