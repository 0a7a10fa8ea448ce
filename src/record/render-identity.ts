/**
 * Scheduling identity in words: which backend each class gets on this node, and what was passed over, for the status, and for one pod in
 * explain. Where a class gets nothing, that is said.
 */
import type { IdentityState, QosClass } from '../model/index.ts'
import { QOS_CLASSES } from '../model/index.ts'

/** `BE weight, OT idle; none for LSX, LSR, LS, SYSTEM, UNTAGGED`. */
export function renderIdentity({ backends, rootIdle, raisesOnline, passedOver, coreScheduling }: IdentityState): string {
  const given = QOS_CLASSES.filter((qosClass) => backends[qosClass] !== 'none')
  const bare = QOS_CLASSES.filter((qosClass) => backends[qosClass] === 'none')
  const lacking = passedOver.filter((one) => one.lacking).map(({ backend }) => backend)
  const parts = [
    given.length === 0 ? 'none' : given.map((qosClass) => `${qosClass} ${backends[qosClass]}`).join(', '),
    ...(given.length === 0 || bare.length === 0 ? [] : [`none for ${bare.join(', ')}`]),
    ...(rootIdle ? ['the root of all offline pods is idle'] : []),
    ...(raisesOnline ? ['the highest weight for online pods below the best-effort root'] : []),
    ...(lacking.length === 0 ? [] : [`${lacking.join(', ')} can't be used: see capabilities`]),
    ...passedOver.filter((one) => !one.lacking).map(({ backend, reason }) => `not ${backend}: ${reason}`),
    ...(coreScheduling === undefined ? [] : [`core scheduling: ${coreScheduling}`]),
  ]
  return parts.join('; ')
}

/** What tells a pod of one class from those of others; `isBeside`: it is online and lives below the best-effort root. */
export function renderClassIdentity(
  { backends, raisesOnline }: IdentityState,
  qosClass: QosClass,
  { isBeside }: { readonly isBeside: boolean },
): string {
  const backend = backends[qosClass]
  if (isBeside && raisesOnline) {
    const raised = 'the highest weight beside offline pods, while there are any'
    return backend === 'none' ? raised : `${backend}, and ${raised}`
  }
  return backend === 'none' ? 'none: the agent gives this class nothing, and the weights of the kubelet stand' : backend
}
