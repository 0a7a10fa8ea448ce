/** What happens in a demo, as plain data: the live view, the plain lines and --json all show these and nothing else. */
import type { TickRecord } from '../../model/index.ts'

export interface PhaseSummary {
  readonly phase: string
  /** Lowest and highest allowance while the phase lasted, in milli-CPU; undefined before the first decision. */
  readonly allowanceMilli: readonly [number, number] | undefined
  readonly lsMilli: number
  readonly beMilli: number
  readonly otMilli: number
  readonly writes: number
}

export interface DemoSummary {
  readonly bed: 'real' | 'simulated'
  readonly phases: readonly PhaseSummary[]
  /** From the moment the online workload was told to spike to the first narrowing write, in milliseconds on the bed's clock. */
  readonly reactionMs: number | undefined
  /** The spike came while offline pods were at their floor already, as on a busy machine: there was nothing to narrow. */
  readonly spikeAtFloor: boolean
  readonly knobsRestored: number
  readonly filesSame: number
  readonly filesDifferent: readonly string[]
  readonly kubeletViolations: readonly string[]
}

export type DemoEvent =
  | { readonly event: 'start'; readonly bed: 'real' | 'simulated'; readonly text: string }
  /** The pages are served at this URL while the play lasts. */
  | { readonly event: 'http'; readonly address: string }
  | { readonly event: 'phase'; readonly atMs: number; readonly phase: string; readonly text: string }
  | { readonly event: 'note'; readonly atMs: number; readonly text: string }
  | { readonly event: 'tick'; readonly atMs: number; readonly record: TickRecord }
  | ({ readonly event: 'summary' } & DemoSummary)

export type Show = (event: DemoEvent) => void
