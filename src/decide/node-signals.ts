/**
 * Rule nodeSignals: how the node fares, for schedulers and people elsewhere. They are told late and rarely, so unlike suppression this
 * rule is slow by intention: hot is entered after a watermark was reached or exceeded all the time for enterMs, and left after CPU and
 * memory were below their low watermarks all the time for exitMs. Between the two nothing changes, and without readings neither
 * (abstention `silent`); the dwell times go on meanwhile. An agent that starts begins with a node that is not hot.
 */
import type { Config } from '../config/types.ts'
import type { Abstention, NodeSignals, NodeSnapshot, SuppressionState } from '../model/index.ts'
import { ageMs } from '../model/index.ts'
import { reasonable } from './peak.ts'

export interface SignalMemory {
  /** What was told last; it stands while readings are missing. */
  readonly signals?: NodeSignals
  /** Since when a watermark has been exceeded on every reading. */
  readonly aboveSinceMs?: number
  /** Since when CPU and memory have been below their low watermarks on every reading. */
  readonly belowSinceMs?: number
}

export interface Signalled {
  readonly signals?: NodeSignals
  readonly memory: SignalMemory
}

interface Use {
  readonly capacityMilli: number
  readonly usedMilli: number
  readonly totalBytes: number
  readonly usedBytes: number
}

/** One resource against its two watermarks, in permyriad of what the node has. */
interface Level {
  readonly used: number
  readonly high: number
  readonly low: number
}

export function nodeSignals(
  snapshot: NodeSnapshot,
  suppression: SuppressionState | undefined,
  context: { readonly memory: SignalMemory; readonly abstentions: Abstention[] },
  config: Config,
): Signalled {
  if (!config.nodeSignals.enabled) return { memory: {} }
  const { memory } = context
  const use = measure(snapshot, config)
  if (use === undefined) {
    context.abstentions.push({ code: memory.signals === undefined ? 'starting' : 'silent', rule: 'nodeSignals' })
    return { ...(memory.signals === undefined ? {} : { signals: memory.signals }), memory }
  }
  const { watermarkPermyriad: high, lowWatermarkPermyriad: low } = config.suppressCpu
  const cpu: Level = { used: share(use.usedMilli, use.capacityMilli), high, low }
  const bytes: Level = {
    used: share(use.usedBytes, use.totalBytes),
    high: config.nodeSignals.memoryWatermarkPermyriad,
    low: config.nodeSignals.memoryLowWatermarkPermyriad,
  }
  const above = isAbove(cpu) || isAbove(bytes)
  const below = isBelow(cpu) && isBelow(bytes)
  const aboveSinceMs = above ? (memory.aboveSinceMs ?? snapshot.nowMs) : undefined
  const belowSinceMs = below ? (memory.belowSinceMs ?? snapshot.nowMs) : undefined
  const lasted = (sinceMs: number | undefined, ms: number): boolean => sinceMs !== undefined && snapshot.nowMs - sinceMs >= ms
  const wasHot = memory.signals?.hot ?? false
  const hot = wasHot ? !lasted(belowSinceMs, config.nodeSignals.exitMs) : lasted(aboveSinceMs, config.nodeSignals.enterMs)
  const signals: NodeSignals = {
    hot,
    reason: hot ? hotReason(memory.signals?.reason, cpu, bytes) : 'WithinWatermarks',
    cpuUsedPermyriad: cpu.used,
    memoryUsedPermyriad: bytes.used,
    headroomMilli: headroomMilli(use, suppression, high),
    headroomBytes: Math.max(0, Math.floor((use.totalBytes * bytes.high) / 10_000 - use.usedBytes)),
    score: score(cpu, bytes),
  }
  return {
    signals,
    memory: {
      signals,
      ...(aboveSinceMs === undefined ? {} : { aboveSinceMs }),
      ...(belowSinceMs === undefined ? {} : { belowSinceMs }),
    },
  }
}

/** What is used now; undefined when a reading is missing, older than two calm ticks, or no amount. */
function measure({ node, nowMs, topology }: NodeSnapshot, config: Config): Use | undefined {
  const freshMs = config.loop.calmMs * 2
  if (node.cpu === undefined || node.memory === undefined) return undefined
  if (!(ageMs(node.cpu, nowMs) <= freshMs) || !(ageMs(node.memory, nowMs) <= freshMs)) return undefined
  const usedMilli = reasonable(node.cpu.value.usedMilli)
  const totalBytes = reasonable(node.memory.value.totalBytes)
  const availableBytes = reasonable(node.memory.value.availableBytes)
  if (usedMilli === undefined || availableBytes === undefined || totalBytes === undefined || totalBytes === 0) return undefined
  const usedBytes = Math.max(0, totalBytes - availableBytes)
  return { capacityMilli: topology.online.size * 1000, usedMilli, totalBytes, usedBytes }
}

/** Rounded down, so that a share is at or above a watermark just when the amount is. */
function share(used: number, whole: number): number {
  return Math.min(10_000, Math.floor((used * 10_000) / whole))
}

function isAbove({ used, high }: Level): boolean {
  return used >= high
}

function isBelow({ used, low }: Level): boolean {
  return used < low
}

/** The reason stays until its resource has cooled down or the other one alone is above: a condition that flaps tells nobody anything. */
function hotReason(was: NodeSignals['reason'] | undefined, cpu: Level, bytes: Level): NodeSignals['reason'] {
  if (was === 'CpuAboveWatermark') return isBelow(cpu) && isAbove(bytes) ? 'MemoryAboveWatermark' : was
  if (was === 'MemoryAboveWatermark') return isBelow(bytes) && isAbove(cpu) ? 'CpuAboveWatermark' : was
  return isAbove(cpu) ? 'CpuAboveWatermark' : 'MemoryAboveWatermark'
}

/** What suppression would let offline pods use on top; without it, what the watermark leaves. */
function headroomMilli(use: Use, suppression: SuppressionState | undefined, watermarkPermyriad: number): number {
  const room =
    suppression === undefined
      ? (use.capacityMilli * watermarkPermyriad) / 10_000 - use.usedMilli
      : suppression.allowanceMilli - suppression.inputs.offlineMilli
  return Math.max(0, Math.floor(room))
}

function score(cpu: Level, bytes: Level): number {
  return Math.round(100 * Math.max(0, 1 - Math.max(cpu.used / cpu.high, bytes.used / bytes.high)))
}
