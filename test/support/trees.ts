/**
 * Random cgroup trees in states that the kernel could be in, under either dialect, and random wishes for them. A tree is made from raw
 * numbers that are bent to be legal from the root down, so that fast-check can shrink every number on its own.
 */
import * as fc from 'fast-check'
import { CpuSet } from '../../src/cpu/index.ts'
import { merge } from '../../src/decide/merge.ts'
import type { Claim, Desired, Dialect, GroupPath, KnobSetting, KnobValue, Quota, Reading } from '../../src/model/index.ts'
import {
  childGroup,
  KNOB_KINDS,
  KnobTable,
  micros,
  MIN_QUOTA_US,
  parentGroup,
  podGroup,
  podsRoot,
  qosRoot,
  quotaMilliCpu,
} from '../../src/model/index.ts'
import { ModelKernel } from '../../src/sim/index.ts'
import { LAYOUT, topologyOf, type TopologyName } from './snapshots.ts'

/** Numbers from which the knobs of one group are made. */
export interface RawKnobs {
  /** Which CPUs of the parent's set to leave out. */
  readonly without: number
  readonly inheritsCpus: boolean
  readonly quotaMilli: number | null
  readonly periodUs: number
  readonly weight: number
  readonly idle: 0 | 1
  readonly memoryMiB: number | null
}

export interface RawPod {
  readonly qos: 'Guaranteed' | 'Burstable' | 'BestEffort'
  readonly knobs: RawKnobs
  readonly containers: readonly RawKnobs[]
}

export interface RawTree {
  readonly dialect: Dialect
  readonly topology: TopologyName
  readonly roots: readonly RawKnobs[]
  readonly pods: readonly RawPod[]
}

const DIALECTS = ['v1', 'v2'] as const
const quotaMilli = fc.oneof(fc.integer({ min: 10, max: 3000 }), fc.constantFrom(10, 333, 500, 1000, 64_000))
const periodUs = fc.oneof(
  { weight: 3, arbitrary: fc.constant(100_000) },
  { weight: 1, arbitrary: fc.constantFrom(50_000, 1_000_000, 20_000, 33_333) },
)
const mask = fc.nat(0xffff)

const rawKnobs: fc.Arbitrary<RawKnobs> = fc.record({
  without: fc.oneof({ weight: 2, arbitrary: fc.constant(0) }, { weight: 1, arbitrary: mask }),
  inheritsCpus: fc.boolean(),
  quotaMilli: fc.option(quotaMilli),
  periodUs,
  weight: fc.integer({ min: 2, max: 10_000 }),
  idle: fc.oneof({ weight: 5, arbitrary: fc.constant(0 as const) }, { weight: 1, arbitrary: fc.constant(1 as const) }),
  memoryMiB: fc.option(fc.integer({ min: 1, max: 4096 })),
})

/** Roots are as the kubelet leaves them, more often than not. */
const rawRoot: fc.Arbitrary<RawKnobs> = fc.oneof(
  {
    weight: 2,
    arbitrary: fc.constant({
      without: 0,
      inheritsCpus: true,
      quotaMilli: null,
      periodUs: 100_000,
      weight: 2,
      idle: 0,
      memoryMiB: null,
    } as const),
  },
  { weight: 1, arbitrary: rawKnobs.map((raw) => ({ ...raw, idle: 0 as const })) },
)

const rawPod: fc.Arbitrary<RawPod> = fc.record({
  qos: fc.constantFrom('BestEffort', 'BestEffort', 'BestEffort', 'Burstable', 'Guaranteed'),
  knobs: rawKnobs,
  containers: fc.array(rawKnobs, { maxLength: 3 }),
})

export const rawTree: fc.Arbitrary<RawTree> = fc.record({
  dialect: fc.constantFrom(...DIALECTS),
  topology: fc.constantFrom('twoCpuVm', 'desktop', 'ragged'),
  roots: fc.tuple(rawRoot, rawRoot, rawRoot),
  pods: fc.array(rawPod, { minLength: 1, maxLength: 5 }),
})

export interface Tree {
  readonly kernel: ModelKernel
  /** Groups that rules claim knobs of: the offline root, pods, containers. */
  readonly groups: readonly GroupPath[]
  readonly pods: readonly {
    readonly raw: RawPod
    readonly uid: string
    readonly group: GroupPath
    readonly children: readonly GroupPath[]
  }[]
}

/** The tree on a kernel of its own. Equal input gives equal trees. */
export function treeOf(raw: RawTree): Tree {
  const kernel = new ModelKernel({
    dialect: raw.dialect,
    topology: topologyOf(raw.topology),
    vendor: ['bvt', 'offline', 'btShares', 'coreCookie'],
  })
  const roots = [podsRoot(LAYOUT), qosRoot(LAYOUT, 'Burstable'), qosRoot(LAYOUT, 'BestEffort')]
  for (const [index, group] of roots.entries()) addGroup(kernel, group, raw.roots[index])
  const pods = raw.pods.map((pod, index) => {
    const uid = `p${index}`
    const group = podGroup(LAYOUT, pod.qos, uid)
    addGroup(kernel, group, pod.knobs)
    const children = pod.containers.map((knobs, at) => {
      const child = childGroup(group, `c${at}`)
      addGroup(kernel, child, { ...knobs, idle: 0 })
      return child
    })
    return { raw: pod, uid, group, children }
  })
  return { kernel, pods, groups: [qosRoot(LAYOUT, 'BestEffort'), ...pods.flatMap((pod) => [pod.group, ...pod.children])] }
}

function addGroup(kernel: ModelKernel, path: GroupPath, raw: RawKnobs | undefined): void {
  const { knobs } = kernel.makeGroup(path)
  if (raw === undefined) return
  const nested = kernel.capabilities.nestedQuota
  const parent = kernel.groups.get(parentGroup(path))?.knobs
  const above = nested && parent !== undefined ? parent.cpuset : kernel.readTopology().online
  if (nested || !raw.inheritsCpus) knobs.cpuset = withoutSome(above, raw.without)
  knobs.quota = legalQuota(raw, nested ? inheritedMilli(kernel, parentGroup(path)) : Infinity)
  const v1 = kernel.capabilities.dialect === 'v1'
  knobs.idle = raw.idle
  knobs.weight = raw.idle === 0 ? raw.weight : v1 ? 3 : 0
  knobs.memoryMax = raw.memoryMiB === null ? null : raw.memoryMiB * 2 ** 20
}

function withoutSome(set: CpuSet, without: number): CpuSet {
  const left = CpuSet.from([...set].filter((_, index) => ((without >> (index % 16)) & 1) === 0))
  return left.isEmpty ? set.take(1) : left
}

function legalQuota(raw: RawKnobs, mostMilli: number): Quota {
  const periodUs = micros(raw.periodUs)
  if (raw.quotaMilli === null) return { quotaUs: null, periodUs }
  const quotaUs = Math.floor((Math.min(raw.quotaMilli, mostMilli) * raw.periodUs) / 1000)
  return { quotaUs: quotaUs < MIN_QUOTA_US ? null : micros(quotaUs), periodUs }
}

function inheritedMilli(kernel: ModelKernel, path: GroupPath): number {
  const milli =
    path === '/' ? Infinity : quotaMilliCpu(kernel.groups.get(path)?.knobs.quota ?? { quotaUs: null, periodUs: micros(1) })
  return milli !== Infinity || path === '/' ? milli : inheritedMilli(kernel, parentGroup(path))
}

/** Every knob of every group but the root, as the sensor would read them all. */
export function readAll(kernel: ModelKernel): KnobTable<Reading<KnobValue>> {
  const actual = new KnobTable<Reading<KnobValue>>()
  for (const group of kernel.groups.keys()) {
    if (group === '/') continue
    for (const kind of KNOB_KINDS) {
      const value = kernel.readKnob(group, kind)
      if (value !== undefined) actual.set(group, kind, { value, atMs: 0, source: kind })
    }
  }
  return actual
}

/** Every knob of every group as text, to compare byte for byte. */
export function textOf(kernel: ModelKernel): Record<string, string> {
  return Object.fromEntries(
    [...kernel.groups.values()].flatMap(({ path, knobs }) =>
      KNOB_KINDS.map((kind) => [`${path} ${kind}`, JSON.stringify(knobs[kind])]),
    ),
  )
}

/** One wish: a group by its number (modulo how many there are) and raw numbers for one knob. */
export interface RawWish {
  readonly group: number
  readonly kind: 'quota' | 'cpuset' | 'weight' | 'idle' | 'memoryMax' | 'bvt' | 'offline' | 'btShares' | 'coreCookie'
  readonly mask: number
  readonly amount: number
  readonly periodUs: number
}

export const rawWish: fc.Arbitrary<RawWish> = fc.record({
  group: fc.nat(30),
  kind: fc.constantFrom(
    'quota',
    'quota',
    'cpuset',
    'cpuset',
    'weight',
    'idle',
    'memoryMax',
    'bvt',
    'offline',
    'btShares',
    'coreCookie',
  ),
  mask,
  amount: quotaMilli,
  periodUs,
})

/** Up to twenty wishes, several of which may be for one knob. */
export const rawWishes = fc.array(rawWish, { maxLength: 20 })

export function settingOf(raw: RawWish, kernel: ModelKernel): KnobSetting {
  switch (raw.kind) {
    case 'quota': {
      const quotaUs = micros(Math.max(MIN_QUOTA_US, Math.floor((raw.amount * raw.periodUs) / 1000)))
      return { kind: 'quota', value: { quotaUs, periodUs: micros(raw.periodUs) } }
    }
    case 'cpuset':
      return { kind: 'cpuset', value: withoutSome(kernel.readTopology().online, raw.mask) }
    case 'weight':
      return { kind: 'weight', value: Math.min(10_000, Math.max(2, raw.amount)) }
    case 'idle':
      return { kind: 'idle', value: raw.mask % 4 === 0 ? 0 : 1 }
    case 'bvt':
      return { kind: 'bvt', value: (raw.mask % 4) - 1 }
    case 'coreCookie':
      return { kind: 'coreCookie', value: raw.mask % 2 }
    case 'offline':
      return { kind: 'offline', value: raw.mask % 2 }
    case 'btShares':
      return { kind: 'btShares', value: Math.max(2, raw.amount) }
    case 'memoryMax':
      return { kind: 'memoryMax', value: (1 + raw.amount) * 2 ** 20 }
  }
}

/** The wishes as merged claims: groups that are not there any more are left out. */
export function desiredOf(wishes: readonly RawWish[], tree: Tree): Desired {
  return merge(
    wishes.flatMap((raw): Claim[] => {
      const group = tree.groups[raw.group % tree.groups.length]
      if (group === undefined || !tree.kernel.exists(group)) return []
      // The offline root gets a quota only: the kubelet rewrites its weight.
      if (group === tree.groups[0] && raw.kind !== 'quota') return []
      return [{ ...settingOf(raw, tree.kernel), group, rule: 'limits', because: { code: 'identity.idle', qosClass: 'OT' } }]
    }),
  )
}
