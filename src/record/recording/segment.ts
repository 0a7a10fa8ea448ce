/**
 * The file of a recording, or of a segment of one:
 *   kube-agent recording 1⏎           the format, which another version tells by
 *   {"version":…}⏎                    who recorded, as JSON
 *   then frames until the end: four bytes with the length, lowest first, and so many bytes of gzip, which carries its own check
 * A frame can be read when all before it have been. What a killed agent or a full disk left unfinished at the end is left out and told of.
 */
import { closeSync, constants, fstatSync, openSync, readSync } from 'node:fs'
import { gunzipSync } from 'node:zlib'
import { AgentError, messageOf, oneLine } from '../../model/index.ts'
import { type Entry, EntryDecoder, type EntryDecoderOptions } from './entries.ts'

const MAGIC = 'kube-agent recording '
export const FORMAT_VERSION = 1
/** Both lines at the head. */
const MAX_HEAD = 4096
/** A frame holds some seconds; one of 1,000 pods is far below. */
const MAX_FRAME_BYTES = 16 * 1024 * 1024
const MAX_BLOCK_BYTES = 64 * 1024 * 1024
const LENGTH_BYTES = 4
const MAX_SHOWN = 60

export interface SegmentHeader {
  /** Of the agent. */
  readonly version: string
  readonly nodeName: string
  /** Tells one start of an agent from another. */
  readonly session: string
  /** Counts the segments of a session, from 1. */
  readonly segment: number
  /** When the segment was begun, milliseconds since the epoch. */
  readonly wallMs: number
}

/** The bytes that a segment begins with. */
export function headOf(header: SegmentHeader): Buffer {
  return Buffer.from(`${MAGIC}${FORMAT_VERSION}\n${JSON.stringify(header)}\n`)
}

/** A frame of bytes that are gzip already. */
export function frameOf(zipped: Buffer): Buffer {
  const frame = Buffer.allocUnsafe(LENGTH_BYTES + zipped.length)
  frame.writeUInt32LE(zipped.length, 0)
  zipped.copy(frame, LENGTH_BYTES)
  return frame
}

/** A segment that is being read. */
export interface OpenedSegment {
  readonly path: string
  readonly header: SegmentHeader
  /** Its entries, once. Ends early at the first that can't be read. */
  entries(options: EntryDecoderOptions): Generator<Entry>
  /** What is wrong with the file and how much of it was left out; known when the entries are through. */
  readonly damage: () => string | undefined
  close(): void
}

/** Opens a segment and reads its head. Throws E_RECORDING for what is no recording that this version can read. */
export function openSegment(path: string): OpenedSegment {
  const fd = open(path)
  try {
    const bytes = fstatSync(fd).size
    const head = readAt(fd, 0, Math.min(bytes, MAX_HEAD))
    const { header, length } = parseHead(path, head)
    let damage: string | undefined
    return {
      path,
      header,
      *entries(options) {
        const decoder = new EntryDecoder(options)
        for (let at = length; at < bytes;) {
          const frame = readFrame(fd, at, bytes)
          if ('problem' in frame) {
            damage = `${path}: ${frame.problem}; the ${bytes - at} bytes from byte ${at} on are left out`
            return
          }
          try {
            yield* decoder.read(frame.block)
          } catch (thrown) {
            // A mistake in the recorded settings is for the user; all else comes of bytes that mean nothing.
            if (thrown instanceof AgentError) throw thrown
            damage = `${path}: not an entry of a recording (${oneLine(messageOf(thrown), MAX_SHOWN)}); what follows byte ${at} is left out`
            return
          }
          at = frame.end
        }
      },
      damage: () => damage,
      close: () => closeSync(fd),
    }
  } catch (thrown) {
    closeSync(fd)
    throw thrown
  }
}

function open(path: string): number {
  try {
    // Without O_NONBLOCK, opening a FIFO would wait for a writer for ever.
    const fd = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK)
    if (fstatSync(fd).isFile()) return fd
    closeSync(fd)
    throw new AgentError('E_RECORDING', `${path} is not a regular file`)
  } catch (thrown) {
    if (thrown instanceof AgentError) throw thrown
    throw new AgentError('E_RECORDING', `can't read ${path}: ${messageOf(thrown)}`, { cause: thrown })
  }
}

function parseHead(path: string, head: Buffer): { readonly header: SegmentHeader; readonly length: number } {
  const text = head.toString('latin1')
  const firstEnd = text.indexOf('\n')
  const first = firstEnd < 0 ? text.slice(0, MAX_SHOWN) : text.slice(0, firstEnd)
  if (!first.startsWith(MAGIC))
    throw new AgentError('E_RECORDING', `${path} is not a recording: it does not begin with "${MAGIC}"`)
  const version = first.slice(MAGIC.length)
  if (version !== String(FORMAT_VERSION))
    throw new AgentError(
      'E_RECORDING',
      `${path} is of recording format ${oneLine(version, MAX_SHOWN)}, this version reads format ${FORMAT_VERSION}`,
      { hint: 'Replay it with the kube-agent that made it: its second line names the version.' },
    )
  const secondEnd = text.indexOf('\n', firstEnd + 1)
  const header = secondEnd < 0 ? undefined : parseHeader(head.toString('utf8', firstEnd + 1, secondEnd))
  if (header === undefined)
    throw new AgentError('E_RECORDING', `${path} is not a recording: its second line does not say who made it`)
  return { header, length: secondEnd + 1 }
}

function parseHeader(text: string): SegmentHeader | undefined {
  try {
    const header = JSON.parse(text) as Partial<SegmentHeader> | null
    const isWhole =
      typeof header?.version === 'string' &&
      typeof header.nodeName === 'string' &&
      typeof header.session === 'string' &&
      typeof header.segment === 'number' &&
      typeof header.wallMs === 'number'
    return isWhole ? (header as SegmentHeader) : undefined
  } catch {
    return undefined
  }
}

type Frame = { readonly block: Buffer; readonly end: number } | { readonly problem: string }

function readFrame(fd: number, at: number, bytes: number): Frame {
  const start = at + LENGTH_BYTES
  if (start > bytes) return { problem: 'it ends within a record' }
  const length = readAt(fd, at, LENGTH_BYTES).readUInt32LE(0)
  if (length > MAX_FRAME_BYTES) return { problem: 'a record claims to be larger than any' }
  if (start + length > bytes) return { problem: 'it ends within a record' }
  try {
    return { block: gunzipSync(readAt(fd, start, length), { maxOutputLength: MAX_BLOCK_BYTES }), end: start + length }
  } catch (thrown) {
    return { problem: `a record is damaged (${messageOf(thrown)})` }
  }
}

/** As many bytes as asked for. Throws E_RECORDING where the file has become shorter meanwhile. */
function readAt(fd: number, at: number, length: number): Buffer {
  const buffer = Buffer.alloc(length)
  for (let done = 0; done < length;) {
    const got = readSync(fd, buffer, done, length - done, at + done)
    if (got === 0) throw new AgentError('E_RECORDING', 'the recording became shorter while it was read')
    done += got
  }
  return buffer
}
