/** All findings on a node, in the order in which they are shown, and what they come to. Pure. */
import type { Config } from '../../config/index.ts'
import { EXIT, type ExitCode } from '../../model/index.ts'
import type { NodeFacts } from './facts.ts'
import { type Finding, type State, STATES } from './finding.ts'
import { judgeCgroups, judgeIdentity, judgeKnobs } from './judge-cgroups.ts'
import { judgeCluster, judgeConfig } from './judge-cluster.ts'
import { judgeCpus, judgeKernel, judgePressure } from './judge-kernel.ts'
import { judgeKubelet } from './judge-kubelet.ts'
import { judgePermissions, judgeState } from './judge-process.ts'

export function judge(facts: NodeFacts, config: Config): readonly Finding[] {
  return [
    ...judgeKernel(facts, config),
    ...judgeCpus(facts, config),
    ...judgeCgroups(facts, config),
    ...judgeKnobs(facts, config),
    ...judgeIdentity(facts, config),
    ...judgePressure(facts, config),
    ...judgeKubelet(facts, config),
    ...judgePermissions(facts, config),
    ...judgeState(facts, config),
    ...judgeCluster(facts, config),
    ...judgeConfig(config),
  ]
}

/** How many findings there are of each state. */
export function countStates(findings: readonly Finding[]): Readonly<Record<State, number>> {
  return Object.fromEntries(
    STATES.map((state) => [state, findings.filter((finding) => finding.state === state).length]),
  ) as Record<State, number>
}

/** 4 where the agent could not do its main job, or, when `strict`, would do it with a loss. */
export function exitCodeOf(findings: readonly Finding[], { strict }: { readonly strict: boolean }): ExitCode {
  const { fail, warn } = countStates(findings)
  return fail > 0 || (strict && warn > 0) ? EXIT.environment : EXIT.ok
}
