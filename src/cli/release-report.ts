/** What a release tells: what became of each knob that is not simply restored, and what else stays undone. */
import type { ReleaseReport } from '../actuate/index.ts'
import { renderOutcome, renderValue } from '../record/index.ts'

/** What stays undone beside knobs. */
export interface ReleaseTrouble {
  /** Why the marks of the node in the cluster were not taken back. */
  readonly inCluster: string | undefined
  /** Why marks of groups were not removed. */
  readonly onGroups: string | undefined
  /** What could not be read of the journal, and where it is kept. */
  readonly damage: string | undefined
  /** What a running agent was writing meanwhile. */
  readonly underWay?: string | undefined
}

/** What a release came to, as the verb tells it: in the same words whoever did it. */
export interface ReleaseOutcome {
  /** Whether nothing is left to do; the exit code follows. */
  readonly isWhole: boolean
  readonly text: string
  readonly data: Readonly<Record<string, unknown>>
}

/** The report of a release, for people and for programs. */
export function releaseOutcome(report: ReleaseReport, trouble: ReleaseTrouble): ReleaseOutcome {
  const isWhole = report.failed.length + report.unknown.length === 0 && Object.values(trouble).every((text) => text === undefined)
  return { isWhole, text: releaseText(report, trouble), data: releaseData(report, trouble) }
}

/** Whether what another process has sent is one. */
export function isReleaseOutcome(value: unknown): value is ReleaseOutcome {
  if (typeof value !== 'object' || value === null) return false
  const { isWhole, text, data } = value as Partial<Record<keyof ReleaseOutcome, unknown>>
  return typeof isWhole === 'boolean' && typeof text === 'string' && typeof data === 'object' && data !== null
}

/** Why nothing could be tried: the reason is with the controller, which is looked for where the configuration says. */
const UNREAD = "it can't be read, though its group is there; see what kube-agent doctor says of its controller"
const UNKNOWN = 'a later version put it on record, and that one or a later one has to put it back; its record is kept'

/** What became of each knob that is not simply restored, and how many there are of each kind. */
function releaseData(
  { restored, unchanged, vanished, foreign, oneWay, failed, unknown }: ReleaseReport,
  { inCluster, onGroups, damage, underWay }: ReleaseTrouble,
) {
  const held = ({ group, kind, value }: ReleaseReport['foreign'][number]) => ({
    group,
    knob: kind,
    holds: renderValue(kind, value),
  })
  return {
    restored,
    unchanged,
    vanished,
    leftAlone: foreign.map(held),
    kept: oneWay.map(held),
    failed: failed.map(({ group, kind, outcome }) => ({
      group,
      knob: kind,
      outcome: outcome.is === 'unread' ? UNREAD : renderOutcome(outcome),
    })),
    ...(unknown.length === 0 ? {} : { unknown: unknown.map(({ group, kind }) => ({ group, knob: kind })) }),
    ...(inCluster === undefined ? {} : { notTakenBack: inCluster }),
    ...(onGroups === undefined ? {} : { stillMarked: onGroups }),
    ...(damage === undefined ? {} : { damagedJournal: damage }),
    ...(underWay === undefined ? {} : { underWay }),
  }
}

function releaseText(report: ReleaseReport, trouble: ReleaseTrouble): string {
  const { restored, unchanged, vanished, leftAlone, kept, failed, unknown = [] } = releaseData(report, trouble)
  const { inCluster, onGroups, damage, underWay } = trouble
  return [
    ...leftAlone.map(({ group, knob, holds }) => `left alone: ${knob} of ${group} holds ${holds}, which somebody else wrote`),
    ...kept.map(
      ({ group, knob, holds }) =>
        `kept: ${knob} of ${group} holds ${holds}, which this kernel does not take back; it ends with the group`,
    ),
    ...failed.map(({ group, knob, outcome }) => `not restored: ${knob} of ${group}: ${outcome}`),
    ...unknown.map(({ group, knob }) => `not restored: ${knob} of ${group}: ${UNKNOWN}`),
    `${restored} restored, ${unchanged} as before already, ${vanished} gone with their group, ${leftAlone.length} left alone, ${failed.length} failed`,
    ...(inCluster === undefined ? [] : [`not taken back in the cluster: ${inCluster}`]),
    ...(onGroups === undefined ? [] : [`groups are still marked: ${onGroups}`]),
    ...(damage === undefined ? [] : [`the restore journal is damaged: ${damage}`]),
    ...(underWay === undefined ? [] : [`not over: ${underWay}`]),
  ].join('\n')
}
