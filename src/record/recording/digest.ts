/**
 * What a tick decided and what became of it, in a hundred bytes: enough to tell for sure whether a replay decides the same, and what the
 * agent's own numbers were. The knobs are a sum of hashes per kind, so that their order does not matter and a layer that stays the same for many
 * ticks is summed once.
 */
import { CpuSet } from '../../cpu/index.ts'
import {
  type Decision,
  type Desired,
  IoLimits,
  isQuota,
  KNOB_KINDS,
  type KnobKind,
  KnobLayers,
  type KnobSetting,
  type KnobValue,
  type OutcomeKind,
  type ReadonlyKnobTable,
  type Resolved,
  type Rung,
  type TickRecord,
} from '../../model/index.ts'

export interface DecisionDigest {
  /** Two sums for each kind of knob, in the order of KNOB_KINDS: a changed value changes both. */
  readonly knobs: readonly number[]
  readonly allowanceMilli?: number
  readonly otAllowanceMilli?: number
  readonly bound?: string
  readonly hot: boolean
  /** Units by resource. */
  readonly offers: Readonly<Record<string, number>>
  /** UIDs, the first to go first. */
  readonly evictions: readonly string[]
  /** In force, of CPU and memory. */
  readonly rungs: readonly Rung[]
  /** Whether the node counts as hot for the cluster. */
  readonly nodeHot: boolean
  readonly abstentions: number
  readonly complete: boolean
}

export interface TickDigest extends DecisionDigest {
  readonly mode: TickRecord['mode']
  readonly tookMs: number
  readonly lateMs: number
  /** Writes by what became of them. */
  readonly outcomes: Readonly<Partial<Record<OutcomeKind, number>>>
}

/** The digest of a finished tick. */
export function digestOfTick({ decision, mode, tookMs, lateMs, results }: TickRecord): TickDigest {
  const outcomes: Partial<Record<OutcomeKind, number>> = {}
  for (const { outcome } of results) outcomes[outcome.is] = (outcomes[outcome.is] ?? 0) + 1
  return { ...digestOf(decision), mode, tookMs, lateMs, outcomes }
}

/** The digest of a decision. */
export function digestOf({
  suppression,
  memory,
  offers,
  evictions,
  signals,
  abstentions,
  complete,
  desired,
}: Decision): DecisionDigest {
  const squeeze =
    suppression === undefined
      ? {}
      : {
          allowanceMilli: suppression.allowanceMilli,
          otAllowanceMilli: suppression.otAllowanceMilli,
          bound: suppression.bound,
        }
  return {
    knobs: sumOf(desired),
    ...squeeze,
    hot: suppression?.hot === true,
    offers: Object.fromEntries(offers.map(({ resource, units }) => [resource, units])),
    evictions: evictions.map(({ uid }) => uid),
    rungs: [...(suppression?.ladder.inForce ?? []), ...(memory?.ladder.inForce ?? [])],
    nodeHot: signals?.hot === true,
    abstentions: abstentions.length,
    complete,
  }
}

/** What two digests differ in, in words; empty when the decisions are the same. */
export function differencesOf(a: DecisionDigest, b: DecisionDigest): readonly string[] {
  const differences: string[] = []
  const compare = (name: string, one: unknown, other: unknown): void => {
    if (JSON.stringify(one) !== JSON.stringify(other)) differences.push(name)
  }
  compare('allowance', a.allowanceMilli, b.allowanceMilli)
  compare('OT allowance', a.otAllowanceMilli, b.otAllowanceMilli)
  compare('bound', a.bound, b.bound)
  compare('pace', a.hot, b.hot)
  for (const resource of new Set([...Object.keys(a.offers), ...Object.keys(b.offers)]))
    compare(`offer ${resource}`, a.offers[resource], b.offers[resource])
  compare('evictions', a.evictions, b.evictions)
  compare('rungs', a.rungs, b.rungs)
  compare('node signal', a.nodeHot, b.nodeHot)
  compare('abstentions', a.abstentions, b.abstentions)
  compare('completeness', a.complete, b.complete)
  for (const kind of differingKinds(a, b)) differences.push(`knob ${kind}`)
  return differences
}

/** Kinds of knobs that the two want differently somewhere. */
export function differingKinds(a: DecisionDigest, b: DecisionDigest): readonly KnobKind[] {
  return KNOB_KINDS.filter(
    (_kind, index) => a.knobs[index * 2] !== b.knobs[index * 2] || a.knobs[index * 2 + 1] !== b.knobs[index * 2 + 1],
  )
}

const INDEX = Object.fromEntries(KNOB_KINDS.map((kind, index) => [kind, index * 2])) as Readonly<Record<KnobKind, number>>
const sums = new WeakMap<object, readonly number[]>()

function sumOf(desired: Desired): readonly number[] {
  if (!(desired instanceof KnobLayers)) return summed(desired)
  const { base, top } = desired as KnobLayers<Resolved>
  const sum = [...summed(base)]
  top.forEach((group, kind, { setting }) => {
    add(sum, group, setting, 1)
    const below = base.get(group, kind)
    if (below !== undefined) add(sum, group, below.setting, -1)
  })
  return sum
}

/** Of a table that does not change any more. */
function summed(table: ReadonlyKnobTable<Resolved>): readonly number[] {
  const known = sums.get(table)
  if (known !== undefined) return known
  const sum = KNOB_KINDS.flatMap(() => [0, 0])
  table.forEach((group, _kind, { setting }) => add(sum, group, setting, 1))
  sums.set(table, sum)
  return sum
}

const FIRST_SEED = 0x811c9dc5
const SECOND_SEED = 0x2f0b4c47

/** Modulo 2^32, so that what was added can be taken away again. */
function add(sum: number[], group: string, { kind, value }: KnobSetting, sign: 1 | -1): void {
  const at = INDEX[kind]
  const [first, second] = hashesOf(group)
  sum[at] = ((sum[at] ?? 0) + sign * hashOf(value, first)) >>> 0
  sum[at + 1] = ((sum[at + 1] ?? 0) + sign * hashOf(value, second)) >>> 0
}

/** Names of groups are long, and the same on every tick. */
const groupHashes = new Map<string, readonly [number, number]>()
const MOST_GROUPS = 20_000

function hashesOf(group: string): readonly [number, number] {
  const known = groupHashes.get(group)
  if (known !== undefined) return known
  if (groupHashes.size >= MOST_GROUPS) groupHashes.clear()
  const hashes = [hashOf(group, FIRST_SEED), hashOf(group, SECOND_SEED)] as const
  groupHashes.set(group, hashes)
  return hashes
}

/** FNV-1a over 32-bit words, with a last stir. Source: Fowler, Noll and Vo, draft-eastlake-fnv. */
function hashOf(value: KnobValue | string, seed: number): number {
  if (typeof value === 'string') {
    let hash = seed
    for (let index = 0; index < value.length; index += 1) hash = Math.imul(hash ^ value.charCodeAt(index), 0x01000193)
    return (hash ^ (hash >>> 15)) >>> 0
  }
  if (typeof value === 'number')
    return word(word(seed, value | 0), Math.floor(value / 0x1_0000_0000) ^ Math.round((value % 1) * 1_000_000))
  if (value === null) return word(seed, 0x6e756c6c)
  if (isQuota(value)) return hashOf(value.periodUs, hashOf(value.quotaUs, seed))
  return hashOf(textOf(value), seed)
}

function word(hash: number, bits: number): number {
  const mixed = Math.imul(hash ^ bits, 0x01000193)
  return (mixed ^ (mixed >>> 13)) >>> 0
}

const texts = new WeakMap<object, string>()

/** Sets are shared by all pods of a class, and a text for each would be dear. */
function textOf(value: CpuSet | IoLimits): string {
  const known = texts.get(value)
  if (known !== undefined) return known
  const text = value.toString()
  texts.set(value, text)
  return text
}
