/** Whether sales of offline capacity are stopped, and by what: shared by status, journal, explain and metrics. */
import type { Decision, MemoryRung } from '../model/index.ts'
import { onlyObserves } from '../model/index.ts'

/** The rungs of memory behind it; none when an eviction is prepared. Undefined while sales go on. */
export function salesStop(decision: Decision): { readonly rungs: readonly MemoryRung[] } | undefined {
  const { memory, offers } = decision
  const rungs = onlyObserves(decision, 'suppressMemory') ? [] : (memory?.ladder.inForce ?? [])
  if (rungs.length > 0) return { rungs }
  return offers.some(({ because }) => because.bound === 'hold') ? { rungs } : undefined
}

/** Why nothing more is sold. */
export function renderSalesStop({ rungs }: { readonly rungs: readonly MemoryRung[] }): string {
  const why = rungs.length === 0 ? 'capacity shrinks before a pod is evicted' : `memory is short (${rungs.join(', ')} in force)`
  return `sales are stopped: ${why}`
}
