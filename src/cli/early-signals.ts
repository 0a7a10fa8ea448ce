/**
 * What comes before a verb listens. Kernel: a signal that a process does not listen to ends it, or is lost where it is process 1 of a container
 * (pid_namespaces(7)). The agent must meet with neither: a kubelet's SIGTERM of the first moments would be followed by SIGKILL half a minute
 * later, and whoever reloads the agents of many nodes must not hit one that is just starting or stopping.
 */
const early = new Set<NodeJS.Signals>()

/** Listens to signals for as long as the process lives, whoever else does, and remembers those that came. */
export function rememberSignals(signals: readonly NodeJS.Signals[]): void {
  for (const signal of signals) process.on(signal, () => early.add(signal))
}

/** Whether one of them has been remembered; it is forgotten by that. For whoever starts to listen now. */
export function cameEarly(...signals: readonly NodeJS.Signals[]): boolean {
  return signals.filter((signal) => early.delete(signal)).length > 0
}
