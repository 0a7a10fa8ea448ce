/** What the agent itself wants to know of a node's pods, whatever is decided about them. */
import { hasEnded, type NodeSnapshot, type PodReading } from '../model/index.ts'

/** Whether the best-effort root is empty, and known to be: no pod is there, none is on its way, and none that is unlisted may be. */
export function hasNothingOffline({ pods, unlistedGroups }: NodeSnapshot): boolean {
  const mayRun = ({ spec, present }: PodReading): boolean => spec.kubeletQos === 'BestEffort' && (present || !hasEnded(spec))
  return pods.everRead && unlistedGroups.length === 0 && !pods.pods.some(mayRun)
}
