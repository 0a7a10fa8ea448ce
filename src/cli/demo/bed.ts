/**
 * What the demo plays on: a small node that can start pods, change what they do and show every knob. Two of them exist, this machine's
 * own cgroups and processes, and the simulated node; the scenario does not know which.
 */
import type { Agent, Publisher, TickSink } from '../../agent/index.ts'
import type { Config } from '../../config/index.ts'
import type { Instant, PodSpec } from '../../model/index.ts'

export interface DemoPod {
  readonly spec: PodSpec
  /** How many processes share the pod's work. */
  readonly processes: number
}

export interface Bed {
  readonly kind: 'real' | 'simulated'
  /** One line on what this is and why. */
  readonly description: string
  readonly cpus: number
  now(): Instant
  /** Lets time pass while the agent runs, until `untilMs` on the bed's clock. */
  runUntil(untilMs: number): Promise<void>
  /** Starts a pod with nothing to do yet. Its knobs are photographed before the agent can see it. */
  startPod(pod: DemoPod): Promise<void>
  setDemand(uid: string, demandMilli: number): void
  /** Compares every photographed knob with what it reads now. */
  compare(): { readonly same: number; readonly different: readonly string[] }
  /** Makes the agent; `config` is complete but for the paths that the bed itself chooses. */
  makeAgent(config: Config, sink: TickSink, publisher: Publisher): Agent
  /** Configuration that the bed needs, by dotted key. */
  readonly settings: Readonly<Record<string, unknown>>
  /** Stops the agent's loop; a tick after a release would suppress again. */
  stopAgent(): void
  /** Directory for the stand-in kubelet's sockets. */
  readonly kubeletDirectory: string
  /** Ends every process, removes every group and file. Safe to call twice. */
  close(): Promise<void>
}
