/**
 * Datagrams to a unix socket, which Node can't send: its sockets are streams. systemd and its like listen on one (sd_notify(3)). The calls go
 * through koffi, an optional package that is loaded when the first socket is opened. A datagram carries the sender's own pid, so the
 * listener needs no other proof of who speaks.
 * Kernel: unix(7), socket(2), sendto(2); include/uapi/linux/un.h, include/linux/socket.h.
 */
import { createRequire } from 'node:module'
import { getSystemErrorName } from 'node:util'

const AF_UNIX = 1
const SOCK_DGRAM = 2
/** Kernel: the same bits as O_CLOEXEC and O_NONBLOCK on every architecture that Node runs on. */
const SOCK_CLOEXEC = 0o2_000_000
const SOCK_NONBLOCK = 0o4_000
/** A full queue or a listener that is gone is an answer, never a wait and never a signal. */
const MSG_DONTWAIT = 0x40
const MSG_NOSIGNAL = 0x4000
/** Kernel: sun_path holds 108 bytes. */
const MAX_NAME_BYTES = 108

type Socket = (...args: [family: number, type: number, protocol: number]) => number
type SendTo = (
  ...args: [fd: number, bytes: Buffer, length: number, flags: number, address: Buffer, addressBytes: number]
) => number

/** The address of a socket by its path, or by its abstract name, which is written with an `@` before it. Undefined when it can't be one. */
export function unixAddress(name: string): Buffer | undefined {
  if (!/^[/@]./.test(name) || name.includes('\0')) return undefined
  // Kernel: an abstract name begins with a NUL and has none at its end.
  const bytes = name.startsWith('@') ? Buffer.from(`\0${name.slice(1)}`) : Buffer.from(`${name}\0`)
  if (bytes.length > MAX_NAME_BYTES) return undefined
  // In the byte order of the machine.
  const family = Buffer.from(Uint16Array.of(AF_UNIX).buffer)
  return Buffer.concat([family, bytes])
}

/** Sends one datagram: undefined, or the name of the errno. Never blocks. */
export type SendDatagram = (text: string) => string | undefined

/**
 * Opens a socket that sends to `name` for as long as the process lives; the listener may come and go meanwhile. Throws where koffi is not
 * installed (MODULE_NOT_FOUND), where the name can't be one, and what socket(2) answers.
 */
export function openDatagrams(name: string): SendDatagram {
  const address = unixAddress(name)
  if (address === undefined) throw new Error(`${JSON.stringify(name)} can't be the address of a unix socket`)
  // Not an import: the package may be absent, and most nodes never need it.
  const koffi = createRequire(import.meta.url)('koffi') as typeof import('koffi')
  const library = koffi.load(null)
  const socket = library.func('int socket(int family, int type, int protocol)') as Socket
  const sendTo = library.func(
    'intptr_t sendto(int fd, const void *bytes, size_t length, int flags, const void *address, unsigned int address_bytes)',
  ) as SendTo
  const fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)
  if (fd < 0) throw new Error(`socket: ${getSystemErrorName(-koffi.errno())}`)
  return (text) => {
    const bytes = Buffer.from(text)
    const sent = sendTo(fd, bytes, bytes.length, MSG_DONTWAIT | MSG_NOSIGNAL, address, address.length)
    return sent === bytes.length ? undefined : getSystemErrorName(-koffi.errno())
  }
}
