/**
 * Any bytes as the restore journal: what can't be read is counted as damaged and costs no other record, what makes no sense never reaches
 * a knob, and no group in it lies outside the tree. Lines are spoilt with their checksums put right as well, or nothing else would be read.
 */
import { readFileSync, writeFileSync } from 'node:fs'
import { resolve } from 'node:path'
import { crc32 } from 'node:zlib'
import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { journalPath, RestoreJournal } from '../../src/actuate/index.ts'
import { formatRecord, type JournalRecord, parseRecord } from '../../src/actuate/records.ts'
import { CpuSet } from '../../src/cpu/index.ts'
import { DIALECTS } from '../../src/kernel/dialect.ts'
import {
  AgentError,
  formatKnobValue,
  IoLimits,
  isQuota,
  type KnobSetting,
  type KnobValue,
  micros,
  NO_DEVICE_LIMITS,
} from '../../src/model/index.ts'
import { announce, expectAmount, expectAmounts, fuzz, spoilt, spoiltObjects, texts, scratchDirectory } from './support.ts'

announce('journal')

const directory = scratchDirectory()

const GROUP = '/kubepods/besteffort/poda'
const RECORDS: readonly JournalRecord[] = [
  { is: 'header', version: 1, bootId: 'one' },
  { is: 'original', group: GROUP, groupId: 7, kind: 'weight', value: 1024 },
  { is: 'original', group: GROUP, groupId: 7, kind: 'quota', value: { quotaUs: null, periodUs: micros(100_000) } },
  { is: 'original', group: GROUP, groupId: 7, kind: 'memoryMax', value: null },
  { is: 'original', group: GROUP, groupId: 7, kind: 'bvt', value: -1 },
  { is: 'original', group: GROUP, groupId: 7, kind: 'ioMax', value: IoLimits.of([['8:0', { ...NO_DEVICE_LIMITS, readBps: 5 }]]) },
  { is: 'original', group: GROUP, groupId: 7, kind: 'cpuset', value: CpuSet.parse('0-3,8') },
  { is: 'wrote', group: GROUP, kind: 'cpuset', value: CpuSet.parse('0') },
  { is: 'wrote', group: GROUP, kind: 'quota', value: { quotaUs: micros(5000), periodUs: micros(100_000) } },
  { is: 'closed', group: GROUP, kind: 'weight' },
  { is: 'gap' },
]
const LINES = RECORDS.map((record) => formatRecord(record).trimEnd())
/** What a later agent may have written. */
const HEADER_OF_LATER = '{"is":"header","version":2,"bootId":"one"}'
const FILE = `${LINES.join('\n')}\n`

/** A line whose checksum is that of its text. */
const signed = (text: string): string => `${crc32(text).toString(16).padStart(8, '0')} ${text}`

/** A value that every later step can work with: printed, encoded, written. */
function checkValue(setting: KnobSetting): void {
  const { kind, value } = setting as { readonly kind: KnobSetting['kind']; readonly value: KnobValue }
  const signedKind = kind === 'bvt' || kind === 'qosLevel'
  if (kind === 'cpuset') expect(value).toBeInstanceOf(CpuSet)
  else if (kind === 'ioMax') for (const limits of (value as IoLimits).devices.values()) expectAmounts(limits)
  else if (kind === 'quota') {
    if (!isQuota(value)) throw new Error(`no quota: ${JSON.stringify(value)}`)
    expectAmounts(value)
  } else if (value !== null) expectAmount(signedKind ? Math.abs(value as number) : (value as number), kind)
  formatKnobValue(setting)
  for (const dialect of ['v1', 'v2'] as const) {
    const file = DIALECTS[dialect].knobs[kind] as { encode: (value: KnobValue) => string } | undefined
    expect(file?.encode(value) ?? 'none').not.toMatch(/NaN|Infinity|undefined|object/)
  }
}

function checkGroup(group: string): void {
  if (
    !group.startsWith('/') ||
    resolve('/tree', `.${group}`) !== (group === '/' ? '/tree' : `/tree${group}`) ||
    group.includes('\0')
  )
    throw new Error(`leads elsewhere: ${JSON.stringify(group)}`)
}

function judgeLine(line: string): 'taken' | 'refused' {
  const record = parseRecord(line)
  if (record === undefined) return 'refused'
  if (record.is === 'header') expectAmount(Math.abs(record.version), 'version')
  else if (record.is === 'unknown') {
    checkGroup(record.group)
    expect(record.kind).toMatch(/^[A-Za-z0-9]{1,40}$/)
    if (record.of === 'original') expectAmount(record.groupId, 'groupId')
    // It is kept as it is.
    expect(record.line).toBe(line)
    return 'taken'
  } else if (record.is !== 'gap') {
    checkGroup(record.group)
    if ('value' in record) checkValue({ kind: record.kind, value: record.value } as KnobSetting)
    if (record.is === 'original') expectAmount(record.groupId, 'groupId')
  }
  // What was taken is taken again when the file is rewritten.
  if (parseRecord(formatRecord(record).trimEnd()) === undefined) throw new Error(`lost when rewritten: ${line.slice(0, 200)}`)
  return 'taken'
}

describe('a line of the journal', () => {
  fuzz('is a record or nothing, whatever the text', texts(...LINES), judgeLine)

  const bodies = LINES.map((line) => line.slice(9))
  fuzz('is a record that makes sense or nothing, whatever a right checksum stands for', spoilt(...bodies).map(signed), judgeLine)

  const objects = bodies.map((body) => JSON.parse(body) as unknown)
  fuzz(
    'holds a value of its kind or nothing',
    spoiltObjects(...objects).map((value) => signed(JSON.stringify(value) ?? 'null')),
    judgeLine,
  )

  it('leads nowhere but below the root', () => {
    for (const group of ['/../etc', '/a/../../b', 'a', '', '//', '/a/', '/a\0b', '/./a', `/${'x'.repeat(300)}`]) {
      expect(parseRecord(signed(JSON.stringify({ is: 'closed', group, kind: 'weight' }))), group).toBeUndefined()
    }
    expect(parseRecord(signed(JSON.stringify({ is: 'closed', group: '/', kind: 'weight' })))).toBeDefined()
  })
})

const spoiltLines = fc
  .array(fc.oneof(fc.constantFrom(...LINES), spoilt(...LINES), spoilt(...bodiesOf(LINES), HEADER_OF_LATER).map(signed)), {
    maxLength: 12,
  })
  .map((lines) => `${LINES[0]}\n${lines.join('\n')}`)

function bodiesOf(lines: readonly string[]): readonly string[] {
  return lines.map((line) => line.slice(9))
}

describe('the journal', () => {
  const files = fc.oneof(texts(FILE), spoiltLines).map((text) => Buffer.from(text, 'utf8'))
  fuzz('opens with whatever can be read of it, and what it keeps is whole', files, (bytes) => {
    writeFileSync(journalPath(directory), bytes)
    let journal: RestoreJournal
    try {
      const groupId = (group: string): number | undefined => (group === GROUP ? 7 : undefined)
      journal = new RestoreJournal({ stateDirectory: directory, bootId: 'one', maxBytes: 1 << 20, groupId })
    } catch (thrown) {
      expect(thrown).toBeInstanceOf(AgentError)
      expect(thrown).toMatchObject({ code: 'E_JOURNAL', message: expect.stringContaining(directory) })
      return 'refused'
    }
    try {
      expectAmount(journal.damagedLines, 'damagedLines')
      for (const [group, kind, { original, ours }] of journal.entries.entries()) {
        expect(group).toBe(GROUP)
        expect(ours.length).toBeLessThanOrEqual(3)
        for (const value of [original, ...ours]) checkValue({ kind, value } as KnobSetting)
      }
      const kept = readFileSync(journalPath(directory), 'utf8').split('\n').filter(Boolean)
      for (const line of kept) if (parseRecord(line) === undefined) throw new Error(`not whole: ${line}`)
      return 'taken'
    } finally {
      journal.end()
    }
  })

  const huge = fc
    .constantFrom('x', '{"a":', '[', '\0', '0')
    .chain((unit) => fc.constantFrom(1 << 16, 1 << 20, 1 << 22).map((size) => unit.repeat(size / unit.length)))
  fuzz(
    'keeps the records around a huge line',
    huge,
    (line) => {
      writeFileSync(journalPath(directory), `${LINES[0]}\n${LINES[1]}\n${line}\n${signed(line)}\n${LINES[6]}\n`)
      const journal = new RestoreJournal({ stateDirectory: directory, bootId: 'one', maxBytes: 1 << 20, groupId: () => 7 })
      journal.end()
      expect([journal.entries.size, journal.damagedLines]).toEqual([2, 2])
      return 'taken'
    },
    { runs: 30, reaches: ['taken'] },
  )
})
