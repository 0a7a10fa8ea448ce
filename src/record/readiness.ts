/** Whether the loop turns, and whether the agent does its work: what the kubelet's probes ask. Pure. */
import type { ResourceState, TickRecord } from '../model/index.ts'
import { count, formatDuration } from './layout.ts'
import { renderReleased } from './render.ts'
import type { LoopStatus } from './status/status.ts'

export interface Liveness {
  readonly ok: boolean
  readonly detail: string
}

export interface ReadinessCheck {
  readonly name: string
  readonly ok: boolean
  readonly detail: string
}

export interface Readiness {
  readonly ok: boolean
  readonly checks: readonly ReadinessCheck[]
}

type Ticks = Pick<LoopStatus, 'ticks' | 'failedTicks' | 'failingTicks' | 'lastError'>

/** A tick finished or failed `ageMs` ago; alive while that is no more than `maxAgeMs`. */
export function livenessOf({ ticks, failedTicks }: Ticks, ageMs: number, maxAgeMs: number): Liveness {
  const age = Math.max(0, ageMs)
  const what = ticks + failedTicks === 0 ? 'the agent started' : 'the last tick was'
  const detail = `${what} ${formatDuration(age)} ago`
  return age <= maxAgeMs ? { ok: true, detail } : { ok: false, detail: `${detail}, more than ${formatDuration(maxAgeMs)}` }
}

export interface ReadinessView {
  readonly loop: Ticks
  readonly record: TickRecord | undefined
  /** Where a kubelet is expected; else empty. */
  readonly resources: readonly ResourceState[]
}

/** It has sensed the node, read the pods, and where a kubelet is expected is registered with it. */
export function readinessOf({ loop, record, resources }: ReadinessView): Readiness {
  const checks = [tickCheck(loop, record), podsCheck(record), ...resources.map(kubeletCheck), ...releasedCheck(record)]
  return { ok: checks.every(({ ok }) => ok), checks }
}

function tickCheck({ lastError, failingTicks }: Ticks, record: TickRecord | undefined): ReadinessCheck {
  if (failingTicks > 0)
    return { name: 'tick', ok: false, detail: `failing for ${count(failingTicks, 'tick')}: ${lastError ?? ''}` }
  if (record !== undefined) return { name: 'tick', ok: true, detail: 'the node has been sensed' }
  const detail = lastError === undefined ? 'no tick has finished yet' : `no tick has finished: ${lastError}`
  return { name: 'tick', ok: false, detail }
}

/** Ready all the same: it senses, answers and keeps its pods' allocations, as it does in mode observe. */
function releasedCheck(record: TickRecord | undefined): readonly ReadinessCheck[] {
  const at = record?.releasedWallMs
  return at === undefined ? [] : [{ name: 'mode', ok: true, detail: renderReleased(at) }]
}

function podsCheck(record: TickRecord | undefined): ReadinessCheck {
  const pods = record?.snapshot.pods
  if (pods === undefined) return { name: 'pods', ok: false, detail: 'the pod source has not been read yet' }
  const [problem] = pods.problems
  // A source that works has no pods or no problems; one that has never been read has only problems.
  const ok = pods.pods.length > 0 || problem === undefined
  return { name: 'pods', ok, detail: ok ? `${count(pods.pods.length, 'pod')} from ${pods.source}` : `no pods: ${problem ?? ''}` }
}

function kubeletCheck({ fullName, registered, lastError }: ResourceState): ReadinessCheck {
  return { name: `kubelet ${fullName}`, ok: registered, detail: registered ? 'registered' : (lastError ?? 'not registered yet') }
}
