/**
 * What the fuzz suites share: how long they run, what they are seeded with, how texts and objects that were good are spoilt, and the one
 * judgement over all of them: no case may take long, and the generator must reach both what is taken and what is refused.
 * FUZZ_RUNS is the number of cases of each test (10000 by default), FUZZ_SEED the seed; `npm run fuzz` does ten times as many with a seed of
 * the day. A failure is repeated with the seed that its suite has printed.
 */
import { randomUUID } from 'node:crypto'
import { existsSync, mkdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import * as fc from 'fast-check'
import { afterAll, beforeAll, expect, it } from 'vitest'

export const RUNS = numberFrom('FUZZ_RUNS', 10_000)
export const SEED = numberFrom('FUZZ_SEED', numberFrom('FAST_CHECK_SEED', 20_261_121))
/** CPU time that one case may take, in ms: garbage collection included, other processes of a busy machine not. */
const CASE_CPU_MS = 1500
/** For a test of RUNS cases, on a machine where others work too. */
export const TIMEOUT_MS = Math.max(120_000, RUNS * 60)

function numberFrom(name: string, byDefault: number): number {
  const text = process.env[name] ?? ''
  if (text === '') return byDefault
  if (!/^\d{1,15}$/.test(text)) throw new Error(`${name}: expected a whole number, got ${JSON.stringify(text)}`)
  return Number(text)
}

/** A directory that is gone after the tests of the file: in memory where there is such a place, since a disk would be most of the time. */
export function scratchDirectory(): string {
  const base = existsSync('/dev/shm') ? '/dev/shm' : tmpdir()
  const directory = join(base, `kube-agent-fuzz-${process.pid}-${randomUUID()}`)
  // Not before the tests begin: a file may be loaded without any of its tests being run.
  beforeAll(() => mkdirSync(directory, { mode: 0o700 }))
  afterAll(() => rmSync(directory, { recursive: true, force: true }))
  return directory
}

/** What became of a case: the input made sense, or was refused the way it is documented. */
export type Verdict = 'taken' | 'refused'

export interface FuzzOptions {
  /** @default RUNS */
  readonly runs?: number
  /** Verdicts that the generator must have reached. @default both */
  readonly reaches?: readonly Verdict[]
}

/** Says what this suite runs with. Called once by each file. */
export function announce(suite: string): void {
  const began: { us: number } = { us: 0 }
  beforeAll(() => {
    began.us = cpuUs()
  })
  afterAll(() => {
    const seconds = ((cpuUs() - began.us) / 1e6).toFixed(1)
    process.stdout.write(`fuzz ${suite}: FUZZ_SEED=${SEED} FUZZ_RUNS=${RUNS}, ${seconds} s of CPU time\n`)
  })
}

/** A test of so many cases. `judge` throws when a case shows a fault. */
export function fuzz<Input>(
  name: string,
  inputs: fc.Arbitrary<Input>,
  judge: (input: Input) => Verdict,
  { runs = RUNS, reaches = ['taken', 'refused'] }: FuzzOptions = {},
): void {
  const test = (): void => {
    const tally = { taken: 0, refused: 0 }
    const property = fc.property(inputs, (input) => {
      const before = cpuUs()
      tally[judge(input)] += 1
      expectQuick(cpuUs() - before)
    })
    fc.assert(property, { numRuns: runs, seed: SEED })
    expectReached(tally, reaches)
  }
  it(name, test, TIMEOUT_MS)
}

/** The same for what answers later. `judge` bounds its own waits. */
export function fuzzAsync<Input>(
  name: string,
  inputs: fc.Arbitrary<Input>,
  judge: (input: Input) => Promise<Verdict>,
  { runs = RUNS, reaches = ['taken', 'refused'] }: FuzzOptions = {},
): void {
  const test = async (): Promise<void> => {
    const tally = { taken: 0, refused: 0 }
    const property = fc.asyncProperty(inputs, async (input) => {
      const before = cpuUs()
      tally[await judge(input)] += 1
      expectQuick(cpuUs() - before)
    })
    await fc.assert(property, { numRuns: runs, seed: SEED })
    expectReached(tally, reaches)
  }
  it(name, test, TIMEOUT_MS)
}

function cpuUs(): number {
  const { user, system } = process.cpuUsage()
  return user + system
}

function expectQuick(us: number): void {
  if (us > CASE_CPU_MS * 1000) throw new Error(`the case took ${Math.round(us / 1000)} ms of CPU time, more than ${CASE_CPU_MS}`)
}

/** A generator that never makes anything good (or bad) proves nothing. */
function expectReached(tally: Readonly<Record<Verdict, number>>, reaches: readonly Verdict[]): void {
  // Some verdicts are rare: a shorter run may well miss them.
  if (RUNS < 10_000) return
  for (const verdict of reaches)
    expect(tally[verdict], `cases that were ${verdict} of ${JSON.stringify(tally)}`).toBeGreaterThan(0)
}

/** An amount as every reading must be: finite and not negative. */
export function expectAmount(amount: number | undefined, what: string): void {
  if (amount === undefined) return
  if (!Number.isFinite(amount) || amount < 0) throw new Error(`${what}: not an amount: ${amount}`)
}

/** Every number anywhere in a plain value is finite and not negative, unless `mayBeNegative` says so of its key. */
export function expectAmounts(value: unknown, mayBeNegative: (key: string) => boolean = () => false, key = ''): void {
  if (typeof value === 'number') {
    if (!Number.isFinite(value) || (value < 0 && !mayBeNegative(key))) throw new Error(`${key}: not an amount: ${value}`)
  } else if (typeof value === 'object' && value !== null) {
    for (const [name, inner] of Object.entries(value)) expectAmounts(inner, mayBeNegative, name)
  }
}

/** What a writer who means harm, or a bug, puts anywhere into a text. */
const NASTY = [
  '\0',
  '\r\n',
  '\uFEFF',
  '\n',
  '\n\n',
  '\t',
  ' ',
  ',',
  '-',
  '-1',
  '-0',
  '0',
  '+5',
  '9'.repeat(400),
  '18446744073709551615',
  '18446744073709551616',
  '9007199254740993',
  '1e400',
  '1e-400',
  'Infinity',
  'NaN',
  '0x10',
  'max',
  'null',
  '__proto__',
  'constructor',
  'hasOwnProperty',
  'toString',
  '../',
  '/../../../etc/passwd',
  '..',
  '/',
  '{',
  '}',
  '[',
  ']',
  '['.repeat(3000),
  '{"a":'.repeat(3000),
  '"',
  "'",
  '\\',
  ':',
  ': ',
  '&a ',
  '*a',
  '\u00e9',
  '\u{1F600}',
  '\uD800',
  '\x1b[31m',
  'x'.repeat(20_000),
] as const

interface Edit {
  readonly how: number
  readonly at: number
  readonly length: number
  readonly nasty: string
}

const edit: fc.Arbitrary<Edit> = fc.record({
  how: fc.nat(8),
  at: fc.nat(1_000_000),
  length: fc.nat(40),
  nasty: fc.constantFrom(...NASTY),
})

function apply(text: string, { how, at, length, nasty }: Edit): string {
  const start = text.length === 0 ? 0 : at % (text.length + 1)
  const end = Math.min(text.length, start + length)
  switch (how) {
    case 0:
      return (
        text.slice(0, start) + String.fromCharCode((text.charCodeAt(start) || 0) ^ (1 << (length % 8))) + text.slice(start + 1)
      )
    case 1:
      return text.slice(0, start) + text.slice(end)
    case 2:
      return text.slice(0, end) + text.slice(start)
    case 3:
      return text.slice(0, start) + nasty + text.slice(start)
    case 4:
      return replaceNumber(text, at, nasty)
    case 5:
      return text.slice(0, start)
    case 6:
      return replaceWord(text, at, nasty)
    case 7:
      return text.replaceAll('\n', '\r\n')
    default:
      return moveLine(text, at)
  }
}

function replaceNth(text: string, pattern: RegExp, at: number, by: string): string {
  const found = [...text.matchAll(pattern)]
  const one = found[at % Math.max(1, found.length)]
  return one === undefined ? text : text.slice(0, one.index) + by + text.slice(one.index + one[0].length)
}

const replaceNumber = (text: string, at: number, by: string): string => replaceNth(text, /\d+/g, at, by)
const replaceWord = (text: string, at: number, by: string): string => replaceNth(text, /[A-Za-z_]\w*/g, at, by)

function moveLine(text: string, at: number): string {
  const lines = text.split('\n')
  const [line = ''] = lines.splice(at % lines.length, 1)
  lines.splice(at % 7, 0, line)
  return lines.join('\n')
}

/** One of the samples as it is, or spoilt in up to four places. */
export function spoilt(...samples: readonly string[]): fc.Arbitrary<string> {
  return fc
    .tuple(fc.constantFrom(...samples), fc.array(edit, { maxLength: 4 }))
    .map(([sample, edits]) => edits.reduce(apply, sample))
}

/** Any text: of every character, of the bytes of ASCII, or one of the samples spoilt, which are most. */
export function texts(...samples: readonly string[]): fc.Arbitrary<string> {
  return fc.oneof(
    { arbitrary: fc.string({ unit: 'binary', maxLength: 100 }), weight: 1 },
    { arbitrary: fc.string({ unit: 'binary-ascii', maxLength: 100 }), weight: 1 },
    { arbitrary: spoilt(...samples), weight: 8 },
  )
}

/** Any bytes, most of them a sample spoilt. */
export function byteStrings(...samples: readonly Uint8Array[]): fc.Arbitrary<Buffer> {
  return fc.oneof(
    { arbitrary: fc.uint8Array({ maxLength: 200 }).map((bytes) => Buffer.from(bytes)), weight: 2 },
    {
      arbitrary: spoilt(...samples.map((sample) => Buffer.from(sample).toString('latin1'))).map((text) =>
        Buffer.from(text, 'latin1'),
      ),
      weight: 8,
    },
  )
}

function nested(depth: number): unknown {
  let value: unknown = 1
  for (let level = 0; level < depth; level += 1) value = level % 2 === 0 ? [value] : { a: value }
  return value
}

/** Values that JSON can hold and nobody means: made anew for each use, so that no case can spoil the next one. */
const ODD: readonly (() => unknown)[] = [
  () => null,
  () => true,
  () => -1,
  () => 0,
  () => 1.5,
  () => Number.MAX_VALUE,
  () => -0,
  () => 2 ** 53,
  () => '',
  () => ' ',
  () => '\0',
  () => '../../..',
  () => 'a/b',
  () => 'x\ny',
  () => 'x'.repeat(10_000),
  () => '9'.repeat(400),
  () => '__proto__',
  () => [],
  () => ({}),
  () => [null],
  () => [[], {}],
  () => JSON.parse('{"__proto__":{"polluted":1}}') as unknown,
  () => ({ toString: 1, valueOf: 1 }),
  () => ({ toJSON: 'x', length: 1e9, constructor: null }),
  () => nested(1500),
  () => Array.from({ length: 2000 }, (_, index) => index),
]

interface Change {
  readonly at: number
  readonly how: number
  readonly odd: number
  readonly any: unknown
  readonly key: string
}

const change: fc.Arbitrary<Change> = fc.record({
  at: fc.nat(1_000_000),
  how: fc.nat(5),
  odd: fc.nat(ODD.length - 1),
  any: fc.jsonValue({ maxDepth: 2 }),
  key: fc.constantFrom('__proto__', 'constructor', 'toString', '', 'name', 'cpu', 'x/y', '0'),
})

type Holder = Record<string, unknown>

/** Every place in a value that can be changed: its holder and the key. */
function placesIn(root: unknown): (readonly [Holder, string])[] {
  const places: (readonly [Holder, string])[] = []
  const open: unknown[] = [root]
  while (open.length > 0 && places.length < 500) {
    const holder = open.pop()
    if (typeof holder !== 'object' || holder === null) continue
    for (const key of Object.keys(holder)) {
      places.push([holder as Holder, key])
      open.push((holder as Holder)[key])
    }
  }
  return places
}

function put(holder: Holder, key: string, value: unknown): void {
  Object.defineProperty(holder, key, { value, enumerable: true, configurable: true, writable: true })
}

function changeOne(root: { value: unknown }, { at, how, odd, any, key }: Change): void {
  const places = placesIn(root)
  const place = places[at % places.length]
  if (place === undefined) return
  const [holder, name] = place
  const value = how < 3 ? ODD[odd]?.() : how === 3 ? structuredClone(any) : undefined
  if (how < 4) put(holder, name, value)
  else if (how === 4) {
    if (!Array.isArray(holder) && holder !== (root as unknown as Holder)) Reflect.deleteProperty(holder, name)
  } else {
    const inner = holder[name]
    if (typeof inner === 'object' && inner !== null && !Array.isArray(inner)) put(inner as Holder, key, ODD[odd]?.())
  }
}

/** One of the samples with up to four of its values changed, taken away, or with a field too many. */
export function spoiltObjects(...samples: readonly unknown[]): fc.Arbitrary<unknown> {
  return fc.tuple(fc.constantFrom(...samples), fc.array(change, { maxLength: 4 })).map(([sample, changes]) => {
    const root = { value: structuredClone(sample) }
    for (const one of changes) changeOne(root, one)
    return root.value
  })
}
