/** Events about pods that went, or should go, for the sake of online work: the rung that asked, and what the pod used. */
import {
  type EvictingRung,
  type EvictionOutcome,
  type EvictionWish,
  formatBytes,
  formatMilliCpu,
  formatPermyriad,
} from '../model/index.ts'
import type { ClusterEvent } from './events-object.ts'

/** At which use of the CPUs, or at how much memory available, a rung is climbed; permyriad. */
export type RungThresholds = Readonly<Record<EvictingRung, number>>

export interface EvictionNews {
  readonly wish: EvictionWish
  readonly is: EvictionOutcome
  readonly detail?: string
}

/** The event of an outcome that is worth one; undefined for the others. */
export function evictionEvent({ wish, is, detail }: EvictionNews, thresholds: RungThresholds): ClusterEvent | undefined {
  const { namespace, name, uid } = wish
  const about = { kind: 'Pod', namespace, name, uid } as const
  const why = `${reasonOf(wish.rung, thresholds)}; the ${wish.qosClass} pod used ${useOf(wish)}`
  switch (is) {
    case 'evicted':
      return { about, type: 'Warning', reason: 'OfflinePodEvicted', message: `Evicted: ${why}` }
    case 'forced':
      return { about, type: 'Warning', reason: 'OfflinePodEvicted', message: `Deleted past its disruption budget: ${why}` }
    case 'blocked': {
      // Without what the pod uses, which changes from one try to the next: the same event again is counted, another one is written.
      const message = `Should be evicted, but a disruption budget forbids it: ${reasonOf(wish.rung, thresholds)}. ${detail ?? ''}`
      return { about, type: 'Warning', reason: 'OfflinePodEvictionBlocked', message: message.trim() }
    }
    case 'dryRun':
      return {
        about,
        type: 'Normal',
        reason: 'OfflinePodWouldBeEvicted',
        message: `Would be evicted, but for the dry run: ${why}`,
      }
    case 'asked':
    case 'gone':
    case 'failed':
      return undefined
  }
}

function reasonOf(rung: EvictingRung, thresholds: RungThresholds): string {
  const threshold = formatPermyriad(thresholds[rung])
  switch (rung) {
    case 'cpuEvict':
      return `online work runs short of CPU (${rung}: from ${threshold} of the node in use, or while it waits for CPU)`
    case 'memoryEvictOt':
    case 'memoryEvictBe':
      return `the node runs short of memory (${rung}: at ${threshold} available or less)`
  }
}

const useOf = ({ usesMilli, usesBytes }: EvictionWish): string =>
  `${formatMilliCpu(usesMilli)} of CPU and ${formatBytes(usesBytes)} of memory`
