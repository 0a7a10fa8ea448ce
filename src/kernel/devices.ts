/**
 * Block devices by the names that people give them. Kernel: limits are set by device number, and on whole disks only, so a partition is as
 * good as missing (blkg_conf_open_bdev() in block/blk-cgroup.c answers ENODEV). sysfs writes a `/` in a name as `!`.
 */
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'

const NUMBER = /^\d{1,4}:\d{1,7}$/
/** One directory entry below /sys/class/block, and nothing that leads out of it. */
const NAME = /^[A-Za-z0-9][A-Za-z0-9._!-]{0,63}$/

/** The number of the disk `name` (as in `nvme0n1`, or `259:0`); undefined for what is none, or not here. */
export function findDevice(sysPath: string, name: string): string | undefined {
  const isNumber = NUMBER.test(name)
  if (!isNumber && !NAME.test(name)) return undefined
  const directory = isNumber ? join(sysPath, 'dev/block', name) : join(sysPath, 'class/block', name)
  try {
    const number = readFileSync(join(directory, 'dev'), 'latin1').trim()
    return NUMBER.test(number) && !existsSync(join(directory, 'partition')) ? number : undefined
  } catch {
    return undefined
  }
}
