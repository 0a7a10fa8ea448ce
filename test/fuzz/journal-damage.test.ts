/**
 * A restore journal that was good, with bytes changed, cut out, zeroed or cut off anywhere: whatever line is as it was written counts as before,
 * also where the header is gone, and a file of which anything is lost is kept byte for byte, and said.
 */
import { readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import * as fc from 'fast-check'
import { describe, expect } from 'vitest'
import { journalPath, RestoreJournal } from '../../src/actuate/index.ts'
import { formatRecord, type JournalRecord } from '../../src/actuate/records.ts'
import { CpuSet } from '../../src/cpu/index.ts'
import type { KnobKind, KnobValue } from '../../src/model/index.ts'
import { micros, sameValue } from '../../src/model/index.ts'
import { announce, fuzz, scratchDirectory } from './support.ts'

announce('journal-damage')

const directory = scratchDirectory()
const BOOT = 'cc3a0c9a-5a6e-4a43-9c4c-6b0a4b1d7d0e'
const made = { version: 1, bootId: BOOT }

type Body = Exclude<JournalRecord, { is: 'header' } | { is: 'gap' }>

const VALUES: Readonly<Partial<Record<KnobKind, readonly KnobValue[]>>> = {
  weight: [100, 1, 39],
  cpuset: [CpuSet.parse('0-7'), CpuSet.parse('0-3'), CpuSet.EMPTY],
  memoryMax: [null, 1 << 30],
  quota: [
    { quotaUs: null, periodUs: micros(100_000) },
    { quotaUs: micros(5000), periodUs: micros(100_000) },
  ],
}
const KINDS = Object.keys(VALUES) as KnobKind[]

/** Journals of agents that do what they do: an original first, then what is written, then the knob may be closed and begin anew. */
const journals = fc
  .array(fc.record({ pod: fc.nat(4), kind: fc.constantFrom(...KINDS), value: fc.nat(2), closes: fc.nat(5) }), {
    minLength: 1,
    maxLength: 24,
  })
  .map((acts) => {
    const open = new Set<string>()
    const records: Body[] = []
    for (const { pod, kind, value: at, closes } of acts) {
      const group = `/kubepods/besteffort/pod${pod}`
      const values = VALUES[kind] ?? []
      const value = values[at % values.length] ?? null
      const key = `${group} ${kind}`
      if (!open.has(key)) {
        records.push({ is: 'original', group, groupId: pod + 1, kind, value: values[0] ?? null })
        open.add(key)
      }
      records.push({ is: 'wrote', group, kind, value })
      if (closes > 0) continue
      records.push({ is: 'closed', group, kind })
      open.delete(key)
    }
    return records
  })

type Harm = (bytes: Buffer) => Buffer
const at = fc.nat(1_000_000)
const harms: fc.Arbitrary<Harm> = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.tuple(at, fc.integer({ min: 1, max: 255 })).map(
      ([where, by]): Harm =>
        (bytes) =>
          flipped(bytes, where, by),
    ),
  },
  {
    weight: 2,
    arbitrary: at.map(
      (where): Harm =>
        (bytes) =>
          bytes.subarray(0, where % (bytes.length + 1)),
    ),
  },
  {
    weight: 1,
    arbitrary: at.map(
      (where): Harm =>
        (bytes) =>
          bytes.subarray(where % (bytes.length + 1)),
    ),
  },
  {
    weight: 1,
    arbitrary: fc.tuple(at, fc.nat(600)).map(
      ([where, length]): Harm =>
        (bytes) =>
          zeroed(bytes, where, length),
    ),
  },
)

function flipped(bytes: Buffer, where: number, by: number): Buffer {
  const harmed = Buffer.from(bytes)
  if (harmed.length > 0) harmed[where % harmed.length] = (harmed[where % harmed.length] ?? 0) ^ by
  return harmed
}

function zeroed(bytes: Buffer, where: number, length: number): Buffer {
  const from = bytes.length === 0 ? 0 : where % bytes.length
  return Buffer.from(bytes).fill(0, from, Math.min(bytes.length, from + length))
}

interface Case {
  readonly records: readonly Body[]
  readonly isOld: boolean
  readonly harms: readonly Harm[]
}

const cases: fc.Arbitrary<Case> = fc.record({
  records: journals,
  // One whose originals do not name their boot.
  isOld: fc.integer({ min: 0, max: 4 }).map((n) => n === 0),
  harms: fc.array(harms, { minLength: 1, maxLength: 3 }),
})

/** What the lines tell that are as they were written, by the order that they were written in. */
function told(records: readonly Body[], lines: readonly string[], intact: readonly string[]): Map<string, KnobValue[]> {
  const known = new Map<string, KnobValue[]>()
  // Lines that were harmed, or were moved to where nothing was written, are not in this order.
  let next = 0
  for (const line of intact) {
    const index = lines.indexOf(line, next)
    const record = records[index]
    if (record === undefined) continue
    next = index + 1
    const key = `${record.group} ${record.kind}`
    if (record.is === 'original') known.set(key, [record.value])
    else if (record.is === 'closed') known.delete(key)
    else known.get(key)?.push(record.value)
  }
  return known
}

function judge({ records, isOld, harms }: Case): 'taken' | 'refused' {
  const lines = records.map((record) => formatRecord(isOld || record.is !== 'original' ? record : { ...record, made }).trimEnd())
  const header = formatRecord({ is: 'header', ...made }).trimEnd()
  const whole = Buffer.from(`${[header, ...lines].join('\n')}\n`)
  const harmed = harms.reduce<Buffer>((bytes, harm) => harm(bytes), whole)
  for (const name of readdirSync(directory)) rmSync(join(directory, name))
  writeFileSync(journalPath(directory), harmed)
  const groupId = (group: string): number => Number(group.slice(-1)) + 1
  const journal = new RestoreJournal({ stateDirectory: directory, bootId: BOOT, maxBytes: 1 << 20, groupId })
  journal.end()

  const found = harmed.toString('utf8').split('\n')
  const good = new Set([header, ...lines])
  const intact = found.filter((line) => good.has(line))
  const isHeaderless = !intact.includes(header)
  const isNamed = !isHeaderless || (!isOld && intact.some((line) => line.includes('"original"')))
  const expected = isOld && isHeaderless ? new Map<string, KnobValue[]>() : told(records, lines, intact)
  for (const [key, [original, ...wrote]] of expected) {
    const [group, kind] = key.split(' ') as [string, KnobKind]
    const entry = journal.entries.get(group, kind)
    if (entry === undefined || original === undefined) throw new Error(`lost: ${key}`)
    expect(sameValue(entry.original, original), key).toBe(true)
    const newest = wrote.at(-1)
    if (newest !== undefined) expect(entry.ours[0] !== undefined && sameValue(entry.ours[0], newest), key).toBe(true)
  }
  expect(journal.entries.size).toBe(expected.size)

  const isSomething = found.some((line) => line !== '')
  const isDamaged = found.slice(0, -1).some((line) => line !== '' && !good.has(line)) || !isNamed
  const kept = readdirSync(directory).filter((name) => name.includes('.damaged-'))
  if (!isSomething || !isDamaged) {
    expect([kept, journal.health.damage]).toEqual([[], undefined])
    return 'taken'
  }
  expect(kept).toHaveLength(1)
  expect(readFileSync(join(directory, kept[0] ?? '')).equals(harmed)).toBe(true)
  expect(journal.health.damage).toContain(kept[0])
  return isNamed ? 'taken' : 'refused'
}

describe('a damaged journal', () => {
  fuzz('costs no line that is as it was written, and is kept as it is', cases, judge)
})
