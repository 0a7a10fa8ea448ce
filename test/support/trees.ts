/**
 * Random cgroup trees in states that the kernel could be in, under either dialect. A tree is made from raw numbers that are bent to be legal from
 * the root down, so that fast-check can shrink every number on its own.
 */
import * as fc from 'fast-check'
import { CpuSet } from '../../src/cpu/index.ts'
import type { DeviceLimits, Dialect, GroupPath, KnobValue, Quota, Reading } from '../../src/model/index.ts'
import {
  childGroup,
  IoLimits,
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
  /** Groups one inside the other, in the last container: those of what runs containers of its own. */
  readonly inner: readonly RawKnobs[]
}

export interface RawTree {
  readonly dialect: Dialect
  readonly topology: TopologyName
  readonly roots: readonly RawKnobs[]
  readonly pods: readonly RawPod[]
}

const DIALECTS = ['v1', 'v2'] as const
export const quotaMilli = fc.oneof(fc.integer({ min: 10, max: 3000 }), fc.constantFrom(10, 333, 500, 1000, 64_000))
export const periodUs = fc.oneof(
  { weight: 3, arbitrary: fc.constant(100_000) },
  { weight: 1, arbitrary: fc.constantFrom(50_000, 1_000_000, 20_000, 33_333) },
)
export const mask = fc.nat(0xffff)
/** Block devices of every tree, by number. */
const DEVICES = ['8:0', '8:16']

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
  inner: fc.oneof({ weight: 2, arbitrary: fc.constant([]) }, { weight: 1, arbitrary: fc.array(rawKnobs, { maxLength: 3 }) }),
})

export const rawTree: fc.Arbitrary<RawTree> = fc.record({
  dialect: fc.constantFrom(...DIALECTS),
  topology: fc.constantFrom('twoCpuVm', 'desktop', 'ragged'),
  roots: fc.tuple(rawRoot, rawRoot, rawRoot),
  pods: fc.array(rawPod, { minLength: 1, maxLength: 5 }),
})

export interface Tree {
  readonly kernel: ModelKernel
  /** Groups that rules claim knobs of, and some more: the offline root, pods, containers, and groups inside those. */
  readonly groups: readonly GroupPath[]
  readonly pods: readonly {
    readonly raw: RawPod
    readonly uid: string
    readonly group: GroupPath
    readonly children: readonly GroupPath[]
    readonly inner: readonly GroupPath[]
  }[]
}

/** The tree on a kernel of its own. Equal input gives equal trees. */
export function treeOf(raw: RawTree): Tree {
  const kernel = new ModelKernel({
    dialect: raw.dialect,
    topology: topologyOf(raw.topology),
    vendor: ['bvt', 'offline', 'btShares', 'coreCookie'],
  })
  for (const [index, device] of DEVICES.entries()) kernel.devices.set(`sd${'ab'[index]}`, device)
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
    return { raw: pod, uid, group, children, inner: addInner(kernel, children.at(-1) ?? group, pod.inner) }
  })
  const ofPods = pods.flatMap((pod) => [pod.group, ...pod.children, ...pod.inner])
  return { kernel, pods, groups: [qosRoot(LAYOUT, 'BestEffort'), ...ofPods] }
}

function addInner(kernel: ModelKernel, outermost: GroupPath, chain: readonly RawKnobs[]): GroupPath[] {
  let at = outermost
  return chain.map((knobs, index) => {
    at = childGroup(at, `i${index}`)
    addGroup(kernel, at, { ...knobs, idle: 0 })
    return at
  })
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
  // Where there is a limit of memory, somebody has thought of the rest as well.
  if (raw.memoryMiB === null) return
  knobs.ioMax = limitsOf(raw.memoryMiB, raw.weight)
  knobs.memorySoft = v1 ? knobs.memoryMax : null
  knobs.memoryLow = v1 ? 0 : raw.memoryMiB * 2 ** 19
}

/** A set with some CPUs left out, but never all. */
export function withoutSome(set: CpuSet, without: number): CpuSet {
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
      KNOB_KINDS.map((kind) => [`${path} ${kind}`, textOfValue(knobs[kind])]),
    ),
  )
}

/** Kernel: a device without any limit is not listed. */
export function textOfValue(value: KnobValue): string {
  if (!(value instanceof IoLimits)) return JSON.stringify(value)
  const limited = [...value.devices].filter(([, limits]) => Object.values(limits).some((limit) => limit !== null))
  return JSON.stringify(IoLimits.of(limited).toString())
}

/** Limits of one or both devices; one that is named may have none. */
export function limitsOf(mask: number, amount: number): IoLimits {
  const limits: DeviceLimits = {
    readBps: mask % 8 < 4 ? (1 + amount) * 4096 : null,
    writeBps: mask % 16 < 8 ? (1 + (mask >> 8)) * 4096 : null,
    readIops: null,
    writeIops: mask % 32 < 8 ? 1 + amount : null,
  }
  return IoLimits.of(DEVICES.filter((_, index) => mask % 3 !== index).map((device) => [device, limits]))
}
