/**
 * Rule suppressIo: what offline pods read and write on block devices. Off unless it is asked for.
 *   weight   how BE and OT share a disk with others; all of them the least there is while online work waits for IO
 *   limits   of BE and OT together on the configured devices, times a share that is cut while online work waits (io-share.ts); a fixed
 *            small amount on the devices for online work; none at all, ever, on those given to offline pods
 * Kernel: v2 counts a group's IO against the limits of the groups above it, so one limit on the best-effort root holds for all, and OT has
 * its part of it pod by pod. v1 throttles each group for itself, and there the processes are in the containers' groups: the limits are
 * split evenly between these.
 * An online pod below the best-effort root (untagged, a daemon without requests) would be held by the root's limits and its weight with the
 * offline ones: while there is one, the root is left alone, and the limits are split between the offline pods under v2 too.
 */
import type { Config } from '../../config/types.ts'
import type {
  Abstention,
  Claim,
  ClassifiedPod,
  DeviceLimits,
  GroupPath,
  IoState,
  NodeSnapshot,
  OfflineClass,
  PodReading,
} from '../../model/index.ts'
import { containerIdOf, groupName, IoLimits, isOffline, NO_DEVICE_LIMITS } from '../../model/index.ts'
import { runsBesideOffline } from '../classify.ts'
import { type IoMemory, ioPressureOf, regulateShare, startShare } from './io-share.ts'

export type { IoMemory } from './io-share.ts'

type Settings = Config['suppressIo']
type Field = keyof DeviceLimits

/** Kernel: the least of io.weight and blkio.bfq.weight. */
const LEAST_WEIGHT = 1
const WHOLE_PERMYRIAD = 10_000

/**
 * What the split of a limit leaves a group at the least: one page and one request a second. A limit of 0 is none to v1 and refused by v2,
 * and under one of a byte a second a single read would wait for hours, in a task that can't be killed meanwhile.
 */
const LEAST: Readonly<Record<Field, number>> = { readBps: 4096, writeBps: 4096, readIops: 1, writeIops: 1 }
const FIELDS = Object.keys(LEAST) as Field[]

/**
 * Kernel: throtl_grp holds operations in 32 bits, of which v2 takes the highest for "max" and v1 drops what does not fit, so that 2³² would
 * become 0: from here on a limit is none.
 */
const NO_IOPS = 0xffff_ffff

export interface IoSuppressed {
  readonly claims: readonly Claim[]
  readonly state?: IoState
  readonly memory?: IoMemory
}

/** Claims on IO weight and limits of offline pods. A node without such pods gets none. */
export function suppressIo(
  snapshot: NodeSnapshot,
  pods: readonly ClassifiedPod[],
  context: { readonly memory: IoMemory | undefined; readonly abstentions: Abstention[] },
  config: Config,
): IoSuppressed {
  const settings = config.suppressIo
  if (!settings.enabled) return { claims: [] }
  const devices = devicesOf(snapshot, settings)
  const offline = offlinePods(pods)
  const spares = pods.some(runsBesideOffline)
  const split = splitOf(snapshot, offline, spares, settings)
  const pressure = ioPressureOf(snapshot, config)
  const previous = context.memory ?? startShare(firstShare(snapshot, split, devices, settings), snapshot.nowMs)
  const { memory, is } = regulateShare(pressure, previous, snapshot.nowMs, config)
  const wasRead = previous.seen || snapshot.online.ioPressure !== undefined || snapshot.node.ioPressure !== undefined
  if (pressure === undefined && wasRead) context.abstentions.push({ code: 'silent', rule: 'suppressIo' })
  const state: IoState = {
    ...(pressure === undefined ? {} : { pressurePermyriad: pressure.permyriad }),
    sharePermyriad: memory.sharePermyriad,
    is,
    missingDevices: devices.missing,
  }
  const limits = limitsAt(devices, memory.sharePermyriad, settings)
  return {
    claims: [
      ...weightClaims(snapshot, offline, { spares, pressed: memory.pressed }, settings),
      ...(snapshot.capabilities.knobs.ioMax.usable ? limitClaims(split, limits, memory.sharePermyriad, settings) : []),
    ],
    state,
    // Before the pods were read, what an agent before this one has left can't be told: it is looked for again.
    ...(snapshot.pods.everRead || context.memory !== undefined ? { memory } : {}),
  }
}

interface OfflinePod {
  readonly reading: PodReading
  readonly qosClass: OfflineClass
}

function offlinePods(pods: readonly ClassifiedPod[]): OfflinePod[] {
  return pods.flatMap(({ reading, qosClass }) => (isOffline(qosClass) && reading.present ? [{ reading, qosClass }] : []))
}

/** The configured devices by their numbers. One that goes by two names stands in the first of these lists that has it, offline first. */
interface Devices {
  readonly offline: ReadonlySet<string>
  readonly online: ReadonlySet<string>
  readonly limited: ReadonlySet<string>
  readonly missing: readonly string[]
}

function devicesOf({ devices }: NodeSnapshot, settings: Settings): Devices {
  const missing = new Set<string>()
  const taken = new Set<string>()
  const numbersOf = (names: readonly string[]): Set<string> => {
    const numbers = new Set<string>()
    for (const name of names) {
      const number = devices.get(name)
      if (number === undefined) missing.add(name)
      else if (!taken.has(number)) numbers.add(number)
    }
    for (const number of numbers) taken.add(number)
    return numbers
  }
  const offline = numbersOf(settings.offlineDevices)
  const online = numbersOf(settings.onlineDevices)
  return { offline, online, limited: numbersOf(settings.devices), missing: [...missing] }
}

/** What offline pods together may do on each device while they have `sharePermyriad` of the configured limits. */
function limitsAt(devices: Devices, sharePermyriad: number, settings: Settings): ReadonlyMap<string, DeviceLimits> {
  const limits = new Map<string, DeviceLimits>()
  for (const device of devices.offline) limits.set(device, NO_DEVICE_LIMITS)
  for (const device of devices.online)
    limits.set(device, { ...NO_DEVICE_LIMITS, readBps: settings.onlineBps, writeBps: settings.onlineBps })
  if (FIELDS.every((field) => settings[field] === 0)) return limits
  const scaled = scale((field) => settings[field], sharePermyriad)
  for (const device of devices.limited) limits.set(device, scaled)
  return limits
}

function scale(configured: (field: Field) => number, sharePermyriad: number): DeviceLimits {
  return byField((field) => {
    const whole = configured(field)
    const limit = atLeast(field, part(whole, sharePermyriad, WHOLE_PERMYRIAD), whole)
    const isNone = whole === 0 || (limit >= NO_IOPS && (field === 'readIops' || field === 'writeIops'))
    return isNone ? null : limit
  })
}

function byField(limitOf: (field: Field) => number | null): DeviceLimits {
  return {
    readBps: limitOf('readBps'),
    writeBps: limitOf('writeBps'),
    readIops: limitOf('readIops'),
    writeIops: limitOf('writeIops'),
  }
}

const part = (whole: number, dividend: number, divisor: number): number =>
  Math.min(whole, Math.floor((whole * dividend) / divisor))

/** Never more than the whole, however little that is. */
const atLeast = (field: Field, amount: number, whole: number): number => Math.max(amount, Math.min(LEAST[field], whole))

/** A group, and which part of what is limited in all it has. */
interface Slice {
  readonly group: GroupPath
  readonly of: (whole: number) => number
  /** Groups that have as much. */
  readonly groups: number
}

function splitOf(
  { capabilities, bestEffort }: NodeSnapshot,
  offline: readonly OfflinePod[],
  spares: boolean,
  settings: Settings,
): Slice[] {
  if (offline.length === 0) return []
  const groupsOf = (wanted: OfflineClass): GroupPath[] =>
    offline
      .filter(({ qosClass }) => qosClass === wanted)
      .flatMap(({ reading }) => (capabilities.nestedIo ? [reading.group] : containerGroups(reading)))
  const ot = groupsOf('OT')
  const be = groupsOf('BE')
  const otMost = (whole: number): number => part(whole, settings.otSharePermyriad, WHOLE_PERMYRIAD)
  if (capabilities.nestedIo && !spares)
    return [{ group: bestEffort.group, of: (whole) => whole, groups: 1 }, ...slices(ot, otMost)]
  // Side by side, what OT does not use is lost to BE: an OT group has at most as much as a BE group.
  const otPart = (whole: number): number =>
    ot.length === 0 ? 0 : be.length === 0 ? otMost(whole) : Math.min(otMost(whole), part(whole, ot.length, ot.length + be.length))
  return [...slices(be, (whole) => whole - otPart(whole)), ...slices(ot, otPart)]
}

function slices(groups: readonly GroupPath[], of: (whole: number) => number): Slice[] {
  const one = (whole: number): number => Math.floor(of(whole) / groups.length)
  return groups.map((group) => ({ group, of: one, groups: groups.length }))
}

/**
 * The groups of a pod in which containers run. One group that belongs to none of them, while each of them has its own, is the sandbox's:
 * it does no IO, and half of what a pod with one container may do would be lost on it.
 */
function containerGroups({ spec, childGroups }: PodReading): readonly GroupPath[] {
  const ids = childGroups.map((group) => containerIdOf(groupName(group)))
  const ran = spec.containers.flatMap(({ id, kind }) => (kind === 'init' && id === undefined ? [] : [{ id, kind }]))
  const owns = (containerId: string | undefined, id: string | undefined): boolean =>
    containerId !== undefined && id !== undefined && containerId.endsWith(id)
  if (ran.some(({ id, kind }) => kind !== 'init' && !ids.some((group) => owns(id, group)))) return childGroups
  const known = childGroups.filter((_, index) => ran.some(({ id }) => owns(id, ids[index])))
  return known.length > 0 && childGroups.length - known.length === 1 ? known : childGroups
}

function limitClaims(
  split: readonly Slice[],
  limits: ReadonlyMap<string, DeviceLimits>,
  sharePermyriad: number,
  { onlineDevices }: Settings,
): Claim[] {
  if (limits.size === 0) return []
  return split.map(({ group, of, groups }) => ({
    group,
    kind: 'ioMax',
    value: sliceOf(limits, of),
    rule: 'suppressIo',
    because: { code: 'io.limits', sharePermyriad, groups, reservedDevices: onlineDevices },
  }))
}

function sliceOf(limits: ReadonlyMap<string, DeviceLimits>, of: Slice['of']): IoLimits {
  return IoLimits.of(
    [...limits].map(([device, whole]) => [
      device,
      byField((field) => {
        const limit = whole[field]
        return limit === null ? null : atLeast(field, of(limit), limit)
      }),
    ]),
  )
}

/**
 * After a restart growth goes on from the limits that stand in the kernel, as for CPU: a node on which online work waits for IO must not have
 * all offline pods let loose on it, be it for a second. Groups without a reading, those of new pods, tell nothing.
 */
function firstShare({ actual }: NodeSnapshot, split: readonly Slice[], devices: Devices, settings: Settings): number {
  let standing = 0
  let whole = 0
  const limits = limitsAt(devices, WHOLE_PERMYRIAD, settings)
  for (const { group, of } of split) {
    const now = actual.get(group, 'ioMax')?.value
    if (!(now instanceof IoLimits)) continue
    const wanted = sliceOf(limits, of)
    for (const device of devices.limited) {
      for (const field of FIELDS) {
        const most = wanted.of(device)[field]
        if (most === null) continue
        whole += most
        standing += Math.min(most, now.of(device)[field] ?? most)
      }
    }
  }
  return whole === 0 ? WHOLE_PERMYRIAD : Math.floor((standing / whole) * WHOLE_PERMYRIAD)
}

/** Kernel: weights compare siblings, so between offline and online work it is the weight of the root of all offline pods that counts. */
function weightClaims(
  { capabilities, bestEffort }: NodeSnapshot,
  offline: readonly OfflinePod[],
  { spares, pressed }: { readonly spares: boolean; readonly pressed: boolean },
  { beWeight, otWeight }: Settings,
): Claim[] {
  if (!capabilities.knobs.ioWeight.usable || offline.length === 0) return []
  const claim = (group: GroupPath, qosClass: OfflineClass): Claim => ({
    group,
    kind: 'ioWeight',
    value: pressed ? LEAST_WEIGHT : qosClass === 'BE' ? beWeight : otWeight,
    rule: 'suppressIo',
    because: { code: 'io.weight', qosClass, pressed },
  })
  const claims = offline.map(({ reading, qosClass }) => claim(reading.group, qosClass))
  if (spares) return claims
  return [claim(bestEffort.group, offline.some(({ qosClass }) => qosClass === 'BE') ? 'BE' : 'OT'), ...claims]
}
