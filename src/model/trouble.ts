/**
 * What keeps the agent from doing its work on this node, for as long as nobody mends it. The cluster is told of it in a condition of the node;
 * what passes by itself is told in events. Source: node-problem-detector, for permanent problems as conditions and temporary ones as events.
 */

/** Worst first: the first that is so is the reason of the condition. CamelCase and lasting, since alerts and scripts go by them. */
export const TROUBLES = [
  'TicksFailing',
  'RestoreJournalFailing',
  'RestoreJournalDamaged',
  'WritesRefused',
  'SourcesFailing',
  'RulesAbstaining',
  'KubeletUnregistered',
  'KnobsContested',
  'ConfigRejected',
  'SinksFailing',
] as const
export type TroubleReason = (typeof TROUBLES)[number]

export interface Trouble {
  readonly reason: TroubleReason
  /** One line, which names what is concerned. */
  readonly text: string
}
