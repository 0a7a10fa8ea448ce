/**
 * Which process holds a listening unix socket, found without asking it: it may hang. Kernel: /proc/net/unix lists the sockets of the reader's
 * network namespace with their inodes, and a descriptor of one reads as `socket:[inode]` below /proc/PID/fd.
 */
import { opendirSync, readdirSync, readFileSync, readlinkSync, statSync } from 'node:fs'
import { join } from 'node:path'

/** Kernel: flag of a socket that listens, `__SO_ACCEPTCON` of include/linux/net.h. */
const LISTENS = 0x10000
/** Processes and descriptors that are looked at; a node has some thousand of each kind of file. */
const MAX_LOOKS = 500_000
const PID = /^\d{1,7}$/

export interface SocketOwner {
  readonly pid: number
  /** Effective user of the process. */
  readonly uid: number
}

/** Who listens under an abstract name, given without its NUL; undefined where nobody does, or who does can't be seen from here. Never throws. */
export function abstractOwner(procPath: string, name: string): SocketOwner | undefined {
  try {
    const inode = inodeOf(readFileSync(join(procPath, 'self/net/unix'), 'latin1'), name)
    return inode === undefined ? undefined : holderOf(procPath, `socket:[${inode}]`)
  } catch {
    return undefined
  }
}

/** Lines: address, references, protocol, flags, type, state, inode, and the name with @ for each NUL. */
function inodeOf(text: string, name: string): string | undefined {
  for (const line of text.split('\n')) {
    const [, , , flags = '', , , inode, ...path] = line.trim().split(/ +/)
    if (path.join(' ') === `@${name}` && (Number.parseInt(flags, 16) & LISTENS) !== 0) return inode
  }
  return undefined
}

function holderOf(procPath: string, link: string): SocketOwner | undefined {
  let looks = 0
  const processes = opendirSync(procPath)
  try {
    for (let entry = processes.readSync(); entry !== null && looks < MAX_LOOKS; entry = processes.readSync()) {
      if (!PID.test(entry.name)) continue
      const directory = join(procPath, entry.name)
      for (const descriptor of descriptorsOf(directory)) {
        looks += 1
        if (descriptor === link) return { pid: Number(entry.name), uid: statSync(directory).uid }
      }
    }
    return undefined
  } finally {
    processes.closeSync()
  }
}

/** What the descriptors of a process stand for; nothing for one that has ended, or may not be looked into. */
function* descriptorsOf(directory: string): Generator<string> {
  let names
  try {
    names = readdirSync(join(directory, 'fd'))
  } catch {
    return
  }
  for (const name of names) {
    try {
      yield readlinkSync(join(directory, 'fd', name))
    } catch {
      // Closed meanwhile.
    }
  }
}
