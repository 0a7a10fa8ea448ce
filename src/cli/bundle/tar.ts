/**
 * Archives as tar(1) reads them: a header of 512 bytes before each file, the file padded to the next 512, and two empty blocks at the end.
 * Source: POSIX.1-2017, pax(1), "ustar Interchange Format".
 */
import { assertInvariant } from '../../model/index.ts'

const BLOCK_BYTES = 512
const NAME_BYTES = 100
const PREFIX_BYTES = 155
/** Eleven octal digits. */
const MOST_BYTES = 8 ** 11 - 1
/** Counted as blanks while the sum is made. */
const CHECKSUM = { at: 148, bytes: 8 } as const

export interface TarFile {
  /** Relative, of printable ASCII; its directories are made when it is unpacked. At most 155 bytes, a slash and 100 bytes. */
  readonly path: string
  /** Length of all of `content`, below 8 GiB. */
  readonly bytes: number
  /** Milliseconds since the epoch. */
  readonly mtimeMs: number
  readonly content: Iterable<Buffer> | AsyncIterable<Buffer>
}

/**
 * The bytes of an archive of these files, readable by their owner alone. Throws E_BUG for a path that ustar can't hold, and for a content of another
 * length.
 */
export async function* tarOf(files: AsyncIterable<TarFile>): AsyncGenerator<Buffer> {
  for await (const file of files) {
    yield headerOf(file)
    let bytes = 0
    for await (const chunk of file.content) {
      bytes += chunk.length
      yield chunk
    }
    assertInvariant(bytes === file.bytes, `${file.path}: ${bytes} bytes where ${file.bytes} were announced`)
    const over = bytes % BLOCK_BYTES
    if (over > 0) yield Buffer.alloc(BLOCK_BYTES - over)
  }
  yield Buffer.alloc(2 * BLOCK_BYTES)
}

function headerOf({ path, bytes, mtimeMs }: TarFile): Buffer {
  const { prefix, name } = splitPath(path)
  assertInvariant(Number.isSafeInteger(bytes) && bytes >= 0 && bytes <= MOST_BYTES, `${path}: ${bytes} bytes do not fit`)
  const header = Buffer.alloc(BLOCK_BYTES)
  const put = (text: string, at: number): number => header.write(text, at, 'latin1')
  const octal = (value: number, at: number, digits: number): number => put(value.toString(8).padStart(digits, '0'), at)
  put(name, 0)
  octal(0o600, 100, 7)
  // Owner and group: root, by number; whoever unpacks it owns the files.
  octal(0, 108, 7)
  octal(0, 116, 7)
  octal(bytes, 124, 11)
  octal(Math.max(0, Math.floor(mtimeMs / 1000)), 136, 11)
  header.fill(' ', CHECKSUM.at, CHECKSUM.at + CHECKSUM.bytes)
  put('0', 156)
  put('ustar', 257)
  put('00', 263)
  put(prefix, 345)
  const sum = header.reduce((total, byte) => total + byte, 0)
  octal(sum, CHECKSUM.at, 6)
  put('\0 ', CHECKSUM.at + 6)
  return header
}

/** A long path goes into two fields, cut at a slash that is in neither. */
function splitPath(path: string): { readonly prefix: string; readonly name: string } {
  assertInvariant(/^[\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?$/.test(path), `not a path for an archive: ${JSON.stringify(path)}`)
  assertInvariant(
    path.split('/').every((part) => part !== '' && part !== '.' && part !== '..'),
    `${path} leads elsewhere`,
  )
  if (path.length <= NAME_BYTES) return { prefix: '', name: path }
  const cut = path.indexOf('/', path.length - NAME_BYTES - 1)
  assertInvariant(cut > 0 && cut <= PREFIX_BYTES, `${path} is too long for an archive`)
  return { prefix: path.slice(0, cut), name: path.slice(cut + 1) }
}
