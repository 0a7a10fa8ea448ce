/** A process that writes to a disk past the page cache, and what its group has written: to see limits of IO hold. Removes its file. */
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Dialect, GroupPath } from '../../src/model/index.ts'
import type { RealGroups } from './real-node.ts'

const FILE_MIB = 64
/** The writer ends by itself after so many rounds over its file, whatever becomes of the test. */
const ROUNDS = 40

/** The disk below a directory, as a device number; undefined where that is none, such as on a tmpfs. */
export function diskBelow(directory: string): string | undefined {
  const { dev } = statSync(directory)
  // Kernel: new_encode_dev() in kdev_t.h.
  const number = `${(dev >> 8) & 0xfff}:${(dev & 0xff) | ((dev >> 12) & 0xfff00)}`
  const path = join('/sys/dev/block', number)
  if (!existsSync(path)) return undefined
  const whole = existsSync(join(path, 'partition')) ? join(path, '..') : path
  return readFileSync(join(whole, 'dev'), 'latin1').trim()
}

/** Writes in blocks of 256 KiB to a file in the temporary directory, or to `device` itself. */
export function writeToDisk(groups: RealGroups, group: GroupPath, device?: string): { readonly remove: () => void } {
  const directory = mkdtempSync(join(tmpdir(), 'kube-agent-disk-'))
  const target = device ?? join(directory, 'data')
  groups.shell(
    group,
    `i=0; while [ $i -lt ${ROUNDS} ]; do dd if=/dev/zero of='${target}' bs=256k count=${FILE_MIB * 4} oflag=direct conv=notrunc 2>/dev/null || exit 1; i=$((i+1)); done`,
  )
  return { remove: () => rmSync(directory, { recursive: true, force: true }) }
}

/** Bytes that the group has written to the disk so far. */
export function writtenBytes(groups: RealGroups, dialect: Dialect, group: GroupPath, disk: string): number {
  const [controller, name] =
    dialect === 'v1' ? (['blkio', 'blkio.throttle.io_service_bytes'] as const) : (['io', 'io.stat'] as const)
  const text = readFileSync(groups.fileOf(group, controller, name), 'latin1')
  const line = dialect === 'v1' ? new RegExp(`^${disk} Write (\\d+)$`, 'm') : new RegExp(`^${disk} .*\\bwbytes=(\\d+)`, 'm')
  return Number(line.exec(text)?.[1] ?? 0)
}

/** Bytes a second that the group writes within the next `ms`. */
export async function writeRate(of: () => number, ms: number): Promise<number> {
  const [startBytes, startMs] = [of(), performance.now()]
  await sleep(ms)
  return ((of() - startBytes) * 1000) / (performance.now() - startMs)
}
