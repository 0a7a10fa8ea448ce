/**
 * node:fs whose calls can fail one by one, or read and write less than they are asked to. For `vi.mock('node:fs', …)`: what a room of effects
 * makes of it then is the real thing but for these calls.
 */
import type * as NodeFs from 'node:fs'

type Fs = typeof NodeFs

/** Calls on files of which there is a path, or a descriptor whose path was seen when it was opened. */
export const FILE_OPERATIONS = [
  'accessSync',
  'chmodSync',
  'closeSync',
  'fsyncSync',
  'ftruncateSync',
  'linkSync',
  'lstatSync',
  'mkdirSync',
  'openSync',
  'readSync',
  'readdirSync',
  'renameSync',
  'rmSync',
  'statSync',
  'unlinkSync',
  'writeSync',
] as const satisfies readonly (keyof Fs)[]
export type FileOperation = (typeof FILE_OPERATIONS)[number]

/** An errno to fail with, or the most bytes that a read or write takes. */
export type FileFault = string | number

/**
 * What a call meets; undefined for none. The path of a rename or link is that of the old name. `grows` is for a write beyond the end of its file: a
 * full disk takes any other.
 */
export type FileFaults = (operation: FileOperation, path: string, grows: boolean) => FileFault | undefined

let faults: FileFaults = () => undefined

/** Puts faults in the way from now on; none without an argument. */
export function fileFaults(next: FileFaults = () => undefined): void {
  faults = next
}

/** An error as node:fs throws it. */
export function fileError(errno: string, operation: string): Error {
  return Object.assign(new Error(`${errno}: injected, ${operation}`), { code: errno })
}

/** The module with faults in its way. */
export function faultyFs(real: Fs): Fs {
  const paths = new Map<number, string>()
  const pathOf = (first: unknown): string => (typeof first === 'number' ? (paths.get(first) ?? '') : String(first))
  const wrapped = FILE_OPERATIONS.map((operation) => {
    const call = (...args: unknown[]): unknown => {
      const path = pathOf(args[0])
      const fault = faults(operation, path, operation === 'writeSync' && isGrowing(real, args))
      if (typeof fault === 'string') {
        // Kernel: close(2) lets go of the descriptor whatever it answers.
        if (operation === 'closeSync') real.closeSync(args[0] as number)
        throw fileError(fault, operation)
      }
      const result: unknown = Reflect.apply(real[operation], undefined, fault === undefined ? args : shortened(args, fault))
      if (operation === 'openSync') paths.set(result as number, path)
      // A descriptor goes with its file to the new name.
      if (operation === 'renameSync') for (const [fd, name] of paths) if (name === path) paths.set(fd, String(args[1]))
      return result
    }
    return [operation, call] as const
  })
  const all = { ...real, ...Object.fromEntries(wrapped) } as Fs
  return { ...all, default: all } as Fs
}

function isGrowing(real: Fs, [fd, data, , length, position]: unknown[]): boolean {
  if (typeof fd !== 'number' || typeof data === 'string' || typeof position !== 'number') return true
  return position + Number(length) > real.fstatSync(fd).size
}

/** readSync and writeSync with a buffer (fd, buffer, offset, length, position), or writeSync with a text. */
function shortened([fd, data, ...rest]: unknown[], most: number): unknown[] {
  if (typeof data === 'string') return [fd, data.slice(0, most), ...rest]
  const [offset, length, ...more] = rest
  return [fd, data, offset, Math.min(Number(length), most), ...more]
}
