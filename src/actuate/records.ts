/**
 * The restore journal as text: one record a line, `CRC32 JSON`, so that a torn or damaged line is told from a good one. Values are
 * written in a form of their own that survives both dialects.
 */
import { crc32 } from 'node:zlib'
import { CpuListError, CpuSet } from '../cpu/index.ts'
import type { GroupPath, KnobKind, KnobValue } from '../model/index.ts'
import { IoLimits, isGroupPath, KNOB_KINDS, micros } from '../model/index.ts'

export const FORMAT_VERSION = 1
/** Checksum, blank and line feed. */
const FRAME_BYTES = 10
/** What a kind of knob may be called: that of a later version is kept by it, and named. */
const KIND_NAME = /^[A-Za-z][A-Za-z0-9]{0,39}$/

/** The first record of a file: what the rest of it is about. */
export interface Header {
  readonly is: 'header'
  readonly version: number
  /** Kernel: /proc/sys/kernel/random/boot_id. Cgroups do not outlive a boot, so neither do the records. */
  readonly bootId: string
}

export interface OriginalRecord {
  readonly is: 'original'
  readonly group: GroupPath
  /** Inode of the group: a group made anew under the same name has another. */
  readonly groupId: number
  readonly kind: KnobKind
  readonly value: KnobValue
  /** Of the format and of the boot, as in the header, so that no original depends on it; undefined in files of the first agents. */
  readonly made?: Omit<Header, 'is'>
  /** Whether the group may bear a mark that names the knob's file. */
  readonly marked?: true
}

export interface WroteRecord {
  readonly is: 'wrote'
  readonly group: GroupPath
  readonly kind: KnobKind
  readonly value: KnobValue
}

/** The knob has its original again, or its group is gone. */
export interface ClosedRecord {
  readonly is: 'closed'
  readonly group: GroupPath
  readonly kind: KnobKind
}

/**
 * Values that were written before or after it may be missing in the file: what a knob on record holds may be the agent's though no line says
 * so. An agent that does not know it takes it for a damaged line, and so believes the same of what is on record above it.
 */
export interface GapRecord {
  readonly is: 'gap'
}

export type JournalRecord = Header | OriginalRecord | WroteRecord | ClosedRecord | GapRecord

/** A whole record of a knob of a kind that a later version has added. */
export type UnknownRecord = {
  readonly is: 'unknown'
  readonly group: GroupPath
  readonly kind: string
  /** As it was found, without its line feed. */
  readonly line: string
} & (
  | { readonly of: 'wrote' | 'closed' }
  | { readonly of: 'original'; readonly groupId: number; readonly made: Omit<Header, 'is'> | undefined }
)

/** One line with its line feed, of at least so many bytes where they are given. */
export function formatRecord(record: JournalRecord, atLeastBytes = 0): string {
  const text = JSON.stringify(fieldsToWrite(record))
  // In JSON blanks at the end mean nothing; the checksum is over them as well.
  const padded = text + ' '.repeat(Math.max(0, atLeastBytes - Buffer.byteLength(text) - FRAME_BYTES))
  return `${checksum(padded)} ${padded}\n`
}

function fieldsToWrite(record: JournalRecord): object {
  if (!('value' in record)) return record
  const value = encodeValue(record.value)
  if (record.is === 'wrote') return { ...record, value }
  // Beside the others: an agent that knows only those reads them as ever.
  const { made, ...rest } = record
  return { ...rest, value, ...made }
}

/**
 * The record of a line without its line feed; undefined when it is torn or damaged. A checksum says that a line is as it was written, not that
 * it makes sense: what a record can't hold is damage too, and so is a path that leads out of the tree. Never throws.
 */
export function parseRecord(line: string): JournalRecord | UnknownRecord | undefined {
  const text = line.slice(9)
  if (line[8] !== ' ' || line.slice(0, 8) !== checksum(text)) return undefined
  const { is, version, bootId, group, groupId, kind: named, value: raw, marked } = fieldsOf(text)
  const made = Number.isSafeInteger(version) && typeof bootId === 'string' ? { version: version as number, bootId } : undefined
  if (is === 'gap') return { is }
  if (is === 'header') return made === undefined ? undefined : { is, ...made }
  if ((is !== 'original' && is !== 'wrote' && is !== 'closed') || typeof group !== 'string' || !isGroupPath(group))
    return undefined
  const kind = KNOB_KINDS.find((known) => known === named)
  if (kind === undefined) {
    if (typeof named !== 'string' || !KIND_NAME.test(named)) return undefined
    const unknown = { is: 'unknown', group, kind: named, line } as const
    if (is !== 'original') return { ...unknown, of: is }
    return isCount(groupId) ? { ...unknown, of: is, groupId, made } : undefined
  }
  if (is === 'closed') return { is, group, kind }
  const value = decodeValue(kind, raw)
  if (value === undefined) return undefined
  if (is === 'wrote') return { is, group, kind, value }
  if (!isCount(groupId)) return undefined
  const more = { ...(made === undefined ? {} : { made }), ...(marked === true ? ({ marked } as const) : {}) }
  return { is, group, groupId, kind, value, ...more }
}

function fieldsOf(text: string): Readonly<Record<string, unknown>> {
  try {
    const value: unknown = JSON.parse(text)
    return typeof value === 'object' && value !== null ? (value as Readonly<Record<string, unknown>>) : {}
  } catch {
    return {}
  }
}

/** An inode number may be above 2^53 on some file systems, and is then as good as it can be had. */
function isCount(value: unknown): value is number {
  return typeof value === 'number' && Number.isFinite(value) && value >= 0
}

function checksum(text: string): string {
  return crc32(text).toString(16).padStart(8, '0')
}

type Encoded =
  | number
  | null
  | { readonly cpus: string }
  | { readonly io: string }
  | { readonly quotaUs: number | null; readonly periodUs: number }

function encodeValue(value: KnobValue): Encoded {
  if (value instanceof IoLimits) return { io: value.toString() }
  return value instanceof CpuSet ? { cpus: value.toString() } : value
}

/** Kinds whose values may be null: no limit. */
const LIMITS: ReadonlySet<KnobKind> = new Set(['memoryMin', 'memoryLow', 'memoryHigh', 'memoryMax', 'memorySoft'])
/** Kinds whose values may be below 0. */
const SIGNED: ReadonlySet<KnobKind> = new Set(['bvt', 'qosLevel'])

/** The value in a record; undefined for one that this kind of knob can't hold. */
function decodeValue(kind: KnobKind, raw: unknown): KnobValue | undefined {
  const fields = typeof raw === 'object' && raw !== null ? (raw as Readonly<Record<string, unknown>>) : {}
  if (kind === 'cpuset') return typeof fields['cpus'] === 'string' ? cpusIn(fields['cpus']) : undefined
  if (kind === 'ioMax') return typeof fields['io'] === 'string' ? IoLimits.parse(fields['io']) : undefined
  if (kind === 'quota') {
    const { quotaUs, periodUs } = fields
    if (!isCount(periodUs) || periodUs === 0 || !(quotaUs === null || isCount(quotaUs))) return undefined
    return { quotaUs: quotaUs === null ? null : micros(quotaUs), periodUs: micros(periodUs) }
  }
  if (raw === null) return LIMITS.has(kind) ? null : undefined
  return isCount(raw) || (SIGNED.has(kind) && Number.isSafeInteger(raw)) ? (raw as number) : undefined
}

function cpusIn(list: string): CpuSet | undefined {
  try {
    return CpuSet.parse(list)
  } catch (thrown) {
    if (thrown instanceof CpuListError) return undefined
    throw thrown
  }
}
