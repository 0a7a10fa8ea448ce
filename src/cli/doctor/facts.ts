/** Everything that `doctor` knows of a node, as plain data: what judging it needs, and all that tests have to make up. */
import type { StateSurvey } from '../../actuate/index.ts'
import type { KernelSurvey } from '../../kernel/index.ts'
import type { KubeletSurvey } from '../../kubelet/index.ts'

/** Where the pods come from, as the agent's own source saw it within a few seconds. */
export type PodsSurvey =
  | { readonly source: string; readonly everRead: boolean; readonly pods: number; readonly problems: readonly string[] }
  /** The configuration asks for a source that there is not. */
  | { readonly problem: string; readonly hint: string }

export interface ApiSurvey {
  /** URL; empty for none. */
  readonly server: string
  readonly nodeName: string
  /** Why this node could not be read there; undefined when it was read, or not asked for. */
  readonly problem: string | undefined
  /** Whether conditions of the node may be written; undefined where that was not asked. */
  readonly condition?: 'permitted' | { readonly problem: string }
}

/** Who answers at the agent's HTTP address: nobody, an agent, or something else. Undefined where nothing is to be served. */
export type HttpSurvey = 'nobody' | 'agent' | 'other'

export interface NodeFacts {
  readonly kernel: KernelSurvey
  readonly kubelet: KubeletSurvey
  readonly state: StateSurvey
  readonly pods: PodsSurvey
  readonly api: ApiSurvey
  readonly http: HttpSurvey | undefined
}
