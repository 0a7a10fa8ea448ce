/**
 * The restore journal as text: one record a line, `CRC32 JSON`, so that a torn or damaged line is told from a good one. Values are
 * written in a form of their own that survives both dialects.
 */
import { crc32 } from 'node:zlib'
import { CpuSet } from '../cpu/index.ts'
import type { GroupPath, KnobKind, KnobValue } from '../model/index.ts'
import { IoLimits, KNOB_KINDS, micros } from '../model/index.ts'

export const FORMAT_VERSION = 1

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

export type JournalRecord = Header | OriginalRecord | WroteRecord | ClosedRecord

/** One line with its line feed. */
export function formatRecord(record: JournalRecord): string {
  const text = JSON.stringify('value' in record ? { ...record, value: encodeValue(record.value) } : record)
  return `${checksum(text)} ${text}\n`
}

/** The record of a line without its line feed; undefined when it is torn, damaged or of a kind that this version does not know. */
export function parseRecord(line: string): JournalRecord | undefined {
  const text = line.slice(9)
  if (line[8] !== ' ' || line.slice(0, 8) !== checksum(text)) return undefined
  const raw = JSON.parse(text) as Record<string, unknown>
  if (raw['is'] === 'header') return raw as unknown as Header
  if (!KNOB_KINDS.some((kind) => kind === raw['kind']) || typeof raw['group'] !== 'string') return undefined
  if (raw['is'] === 'closed') return raw as unknown as ClosedRecord
  const value = decodeValue(raw['value'])
  if (value === undefined) return undefined
  if (raw['is'] === 'original' && typeof raw['groupId'] === 'number') return { ...raw, value } as unknown as OriginalRecord
  return raw['is'] === 'wrote' ? ({ ...raw, value } as unknown as WroteRecord) : undefined
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

function decodeValue(raw: unknown): KnobValue | undefined {
  if (typeof raw === 'number' || raw === null) return raw
  if (typeof raw !== 'object') return undefined
  if ('cpus' in raw && typeof raw.cpus === 'string') return CpuSet.parse(raw.cpus)
  if ('io' in raw && typeof raw.io === 'string') return IoLimits.parse(raw.io)
  if (!('quotaUs' in raw) || !('periodUs' in raw) || typeof raw.periodUs !== 'number') return undefined
  if (raw.quotaUs === null) return { quotaUs: null, periodUs: micros(raw.periodUs) }
  return typeof raw.quotaUs === 'number' ? { quotaUs: micros(raw.quotaUs), periodUs: micros(raw.periodUs) } : undefined
}
