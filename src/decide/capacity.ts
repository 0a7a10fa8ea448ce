/**
 * Rule capacity: what to advertise.
 *   be-cpu    = min(CPUs of the best-effort set, capacity × reclaim − peak use of online pods and the system)
 *   be-memory = total × reclaim − peak of what is neither available nor an offline working set
 *   ot-*      = Σ over observed BE pods of (asked − peak use) × ratio
 * rounded down to units, never below what is allocated, up only by a worthwhile step, down at once. While the history is short the
 * requests of online pods stand in for their peak, and a BE pod gives nothing to OT before it has been watched for warmupMs.
 * While sales are stopped (a rung of suppression holds them) every offer is exactly what is allocated; from there offers grow again in the same
 * way as from any other.
 */
import type { Config } from '../config/types.ts'
import type {
  Abstention,
  ClassifiedPod,
  NodeSnapshot,
  Offer,
  OfferBecause,
  OfflineResource,
  PlacementState,
} from '../model/index.ts'
import { hasEnded, heldUnits, isOffline, OFFLINE_RESOURCES } from '../model/index.ts'
import { fullNameOf, isOnlineBelowOfflineRoot } from './classify.ts'
import { addPeak, peakOf, type PeakWindow, reasonable } from './peak.ts'
import { countersContradict } from './suppress/cpu-inputs.ts'

interface WatchedPod {
  readonly sinceMs: number
  readonly cpuMilli: PeakWindow
  readonly memoryBytes: PeakWindow
}

export interface CapacityMemory {
  readonly sinceMs?: number
  readonly onlineMilli?: PeakWindow
  readonly onlineBytes?: PeakWindow
  readonly bePods?: ReadonlyMap<string, WatchedPod>
  readonly offers?: readonly Offer[]
}

export interface Capacity {
  readonly offers: readonly Offer[]
  readonly memory: CapacityMemory
}

interface Amount {
  readonly amount: number
  readonly terms: Readonly<Record<string, number>>
  readonly bound: OfferBecause['bound']
}

export function capacity(
  snapshot: NodeSnapshot,
  pods: readonly ClassifiedPod[],
  context: {
    readonly placement: PlacementState
    readonly memory: CapacityMemory
    readonly abstentions: Abstention[]
    /** Nothing new is to be sold. */
    readonly hold: boolean
  },
  config: Config,
): Capacity {
  if (!config.capacity.enabled) return { offers: [], memory: {} }
  const wanted = unheld(snapshot, pods, context, config)
  if (!context.hold) return wanted
  const offers = wanted.offers.map((offer) => heldOffer(offer, allocated(offer.resource, pods, snapshot, config)))
  // Remembered as they are, so that the first offer after the hold is compared with what was sold last. Before any was made none may be
  // remembered: no offers mean that nothing is known yet.
  return { offers, memory: wanted.memory.offers === undefined ? wanted.memory : { ...wanted.memory, offers } }
}

/** What would be offered with nobody holding sales. */
function unheld(
  snapshot: NodeSnapshot,
  pods: readonly ClassifiedPod[],
  context: { readonly placement: PlacementState; readonly memory: CapacityMemory; readonly abstentions: Abstention[] },
  config: Config,
): Capacity {
  const { memory } = context
  // Between two calm ticks nothing that this rule reads has changed: the offers stand.
  if (snapshot.pace === 'hot' && memory.offers !== undefined) {
    const offers =
      Object.keys(snapshot.inFlightUnits).length === 0 ? memory.offers : coverAllocated(memory.offers, pods, snapshot, config)
    return { offers, memory }
  }
  // Before the pods were read nobody seems to have requested anything: all of the node would be sold.
  const next = snapshot.pods.everRead ? observe(snapshot, pods, memory, config) : undefined
  if (next === undefined) {
    context.abstentions.push({ code: memory.offers === undefined ? 'starting' : 'silent', rule: 'capacity' })
    if (memory.offers === undefined) return { offers: [], memory }
    // Remembered, since the hot ticks that follow don't look at the pods again.
    const offers = coverAllocated(memory.offers, pods, snapshot, config)
    return { offers, memory: { ...memory, offers } }
  }
  const amounts = amountsOf(snapshot, pods, { placement: context.placement, memory: next }, config)
  const offers = OFFLINE_RESOURCES.map((resource) => {
    const allocatedUnits = allocated(resource, pods, snapshot, config)
    const previous = memory.offers?.find((offer) => offer.resource === resource)
    return quantise(resource, amounts[resource], { allocatedUnits, previous }, config)
  })
  return { offers, memory: { ...next, offers } }
}

/** Folds this tick's readings into the windows; undefined when a reading is missing. */
function observe(
  snapshot: NodeSnapshot,
  pods: readonly ClassifiedPod[],
  memory: CapacityMemory,
  config: Config,
): CapacityMemory | undefined {
  const { cpu, memory: memoryUse } = snapshot.node
  const offlineCpu = snapshot.bestEffort.cpu
  const nodeMilli = reasonable(cpu?.value.usedMilli)
  const rootMilli = reasonable(offlineCpu?.value.usedMilli)
  if (nodeMilli === undefined || rootMilli === undefined || memoryUse === undefined) return undefined
  if (countersContradict(snapshot)) return undefined
  const windowMs = config.capacity.peakWindowMs
  let untaggedMilli = 0
  let offlineBytes = 0
  const bePods = new Map<string, WatchedPod>()
  for (const pod of pods) {
    const { reading, qosClass } = pod
    const usedMilli = reasonable(reading.use?.value.cpuMilli)
    const workingSetBytes = reasonable(reading.use?.value.workingSetBytes)
    if (usedMilli === undefined || workingSetBytes === undefined) continue
    // Whole numbers: their sum does not depend on the order of the pods.
    const cpuMilli = Math.round(usedMilli)
    if (isOnlineBelowOfflineRoot(pod)) untaggedMilli += cpuMilli
    if (isOffline(qosClass)) offlineBytes += workingSetBytes
    if (qosClass !== 'BE') continue
    const known = memory.bePods?.get(reading.spec.uid)
    bePods.set(reading.spec.uid, watchOn(known, { cpuMilli, workingSetBytes }, snapshot.nowMs, windowMs))
  }
  const onlineMilli = Math.max(0, nodeMilli - Math.max(0, rootMilli - untaggedMilli))
  const onlineBytes = Math.max(0, memoryUse.value.totalBytes - memoryUse.value.availableBytes - offlineBytes)
  return {
    sinceMs: memory.sinceMs ?? snapshot.nowMs,
    onlineMilli: addPeak(memory.onlineMilli, onlineMilli, snapshot.nowMs, windowMs),
    onlineBytes: addPeak(memory.onlineBytes, onlineBytes, snapshot.nowMs, windowMs),
    bePods,
  }
}

function watchOn(
  known: WatchedPod | undefined,
  { cpuMilli, workingSetBytes }: { readonly cpuMilli: number; readonly workingSetBytes: number },
  nowMs: number,
  windowMs: number,
): WatchedPod {
  const cpu = addPeak(known?.cpuMilli, cpuMilli, nowMs, windowMs)
  const memory = addPeak(known?.memoryBytes, workingSetBytes, nowMs, windowMs)
  if (known?.cpuMilli === cpu && known.memoryBytes === memory) return known
  return { sinceMs: known?.sinceMs ?? nowMs, cpuMilli: cpu, memoryBytes: memory }
}

function amountsOf(
  snapshot: NodeSnapshot,
  pods: readonly ClassifiedPod[],
  context: { readonly placement: PlacementState; readonly memory: CapacityMemory },
  config: Config,
): Record<OfflineResource, Amount> {
  const { memory } = context
  const warm = snapshot.nowMs - (memory.sinceMs ?? snapshot.nowMs) >= config.capacity.warmupMs
  const requests = warm ? { cpuMilli: 0, memoryBytes: 0 } : onlineRequests(pods)
  const peakMilli = Math.max(peakOf(memory.onlineMilli), requests.cpuMilli)
  const peakBytes = Math.max(peakOf(memory.onlineBytes), requests.memoryBytes)
  const reclaimMilli = (snapshot.topology.online.size * 1000 * config.capacity.reclaimCpuPermyriad) / 10_000
  const reclaimBytes = ((snapshot.node.memory?.value.totalBytes ?? 0) * config.capacity.reclaimMemoryPermyriad) / 10_000
  const bestEffortMilli = context.placement.bestEffort.size * 1000
  const freeMilli = reclaimMilli - peakMilli
  const bound = warm ? 'formula' : 'warm-up'
  const unused = unusedByBe(snapshot, pods, memory, config)
  const ratio = config.capacity.otRatioPermyriad / 10_000
  return {
    'be-cpu': {
      amount: Math.min(bestEffortMilli, freeMilli),
      terms: { reclaimMilli, onlinePeakMilli: Math.round(peakMilli), bestEffortMilli },
      bound: freeMilli > bestEffortMilli ? 'besteffort-cpus' : bound,
    },
    'be-memory': { amount: reclaimBytes - peakBytes, terms: { reclaimBytes, onlinePeakBytes: peakBytes }, bound },
    'ot-cpu': { amount: unused.milli * ratio, terms: { beUnusedMilli: Math.round(unused.milli), ratio }, bound: unused.bound },
    'ot-memory': { amount: unused.bytes * ratio, terms: { beUnusedBytes: unused.bytes, ratio }, bound: unused.bound },
  }
}

function onlineRequests(pods: readonly ClassifiedPod[]): { cpuMilli: number; memoryBytes: number } {
  let cpuMilli = 0
  let memoryBytes = 0
  for (const { reading, qosClass } of pods) {
    if (isOffline(qosClass) || hasEnded(reading.spec)) continue
    cpuMilli += reading.spec.requests.cpuMilli
    memoryBytes += reading.spec.requests.memoryBytes
  }
  return { cpuMilli, memoryBytes }
}

/** What BE pods asked for and were never seen to use, over those that have been watched long enough. */
function unusedByBe(
  snapshot: NodeSnapshot,
  pods: readonly ClassifiedPod[],
  memory: CapacityMemory,
  config: Config,
): { milli: number; bytes: number; bound: OfferBecause['bound'] } {
  let milli = 0
  let bytes = 0
  let waiting = false
  for (const { reading, qosClass, askedMilli, askedBytes } of pods) {
    if (qosClass !== 'BE' || !reading.present) continue
    const watched = memory.bePods?.get(reading.spec.uid)
    if (watched === undefined || snapshot.nowMs - watched.sinceMs < config.capacity.warmupMs) {
      waiting = true
      continue
    }
    milli += Math.max(0, askedMilli - peakOf(watched.cpuMilli))
    bytes += Math.max(0, askedBytes - peakOf(watched.memoryBytes))
  }
  return { milli, bytes, bound: waiting ? 'warm-up' : 'formula' }
}

/**
 * Units promised: to pods that the kubelet has admitted, and to containers that it is still admitting. A pod that is only listed may never be
 * admitted: to count it would mint devices for whoever writes a large number into a pod.
 */
function allocated(resource: OfflineResource, pods: readonly ClassifiedPod[], snapshot: NodeSnapshot, config: Config): number {
  const name = fullNameOf(resource, config)
  let units = snapshot.inFlightUnits[resource] ?? 0
  for (const { reading } of pods) units += heldUnits(reading, name)
  return units
}

/** Offers that stand, raised where more than they say is promised by now. */
function coverAllocated(
  offers: readonly Offer[],
  pods: readonly ClassifiedPod[],
  snapshot: NodeSnapshot,
  config: Config,
): Offer[] {
  return offers.map((offer) => {
    const allocatedUnits = allocated(offer.resource, pods, snapshot, config)
    if (allocatedUnits <= offer.units) return offer
    return { ...offer, units: allocatedUnits, because: { ...offer.because, allocatedUnits, bound: 'allocated' } }
  })
}

/** Exactly what is allocated, whether the formula gave more or less. */
function heldOffer(offer: Offer, allocatedUnits: number): Offer {
  return { ...offer, units: allocatedUnits, because: { ...offer.because, allocatedUnits, bound: 'hold' } }
}

function quantise(
  resource: OfflineResource,
  amount: Amount,
  context: { readonly allocatedUnits: number; readonly previous: Offer | undefined },
  config: Config,
): Offer {
  const unitSize = resource.endsWith('cpu') ? config.resources.cpuUnitMilli : config.resources.memoryUnitBytes
  const formula = Math.min(config.capacity.maxUnits, Math.max(0, Math.floor(amount.amount / unitSize)))
  const { allocatedUnits, previous } = context
  let units = formula
  let { bound } = amount
  const worthwhile = Math.max(1, ((previous?.units ?? 0) * config.capacity.growPermyriad) / 10_000)
  if (previous !== undefined && formula > previous.units && formula - previous.units < worthwhile) {
    units = previous.units
    bound = 'hysteresis'
  }
  if (units < allocatedUnits) {
    units = allocatedUnits
    bound = 'allocated'
  }
  return {
    resource,
    units,
    because: { amount: Math.max(0, amount.amount), unitSize, allocatedUnits, terms: amount.terms, bound },
  }
}
