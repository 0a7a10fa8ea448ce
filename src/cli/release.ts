/** The verb `release`: puts back every knob that still holds what the agent wrote, for an agent that is gone. */
import { lockOwner, type ReleaseReport, takeLock } from '../actuate/index.ts'
import { openNode, openWriting, realNow } from '../compose.ts'
import { AgentError, EXIT } from '../model/index.ts'
import { renderOutcome, renderValue } from '../record/index.ts'
import { releaseNode } from '../agent/index.ts'
import { CONFIG_FLAGS, JSON_FLAG, PATH_FLAGS } from './args.ts'
import { withdrawFromCluster } from './cluster.ts'
import { configOf } from './settings.ts'
import { print, type Verb } from './verb.ts'

export const release: Verb = {
  usage: 'kube-agent release [--json] [--config FILE]',
  summary: 'Put every knob back to what it was before the agent.',
  details: `
Reads the restore journal and writes the original to each knob that still holds what the agent wrote.
Knobs that somebody else has written since are left alone and named. What the agent has told the
cluster of the node (condition, annotations, label, taint) is taken back where there is an API server.
Refuses while an agent runs: stop it first. Exits 1 if a knob could not be restored, the node's marks not
taken back, or the journal not read in full; it may be run again.`,
  flags: { ...CONFIG_FLAGS, ...PATH_FLAGS, ...JSON_FLAG },
  maxOperands: 0,
  run: async (parsed) => {
    process.umask(0o077)
    const { config } = configOf(parsed)
    const owner = await lockOwner(config.paths.state)
    if (owner !== undefined)
      throw new AgentError('E_LOCKED', `an agent runs on this node (pid ${owner}) and would suppress again`)
    const node = openNode(config)
    const unlock = await takeLock(config.paths.state)
    try {
      const writing = openWriting(config, node)
      const report = releaseNode(node.kernel, writing, realNow().nowMs)
      writing.journal.end()
      const marks = await withdrawFromCluster(config, process.env)
      const trouble = { marks, damage: writing.journal.health.damage }
      print(
        parsed.flags['json'] === true ? JSON.stringify(releaseData(report, trouble), undefined, 2) : releaseText(report, trouble),
      )
      return report.failed.length === 0 && marks === undefined && trouble.damage === undefined ? EXIT.ok : EXIT.failed
    } finally {
      unlock()
    }
  },
}

/** What stays undone beside knobs. */
interface Trouble {
  /** Why the node's marks were not taken back. */
  readonly marks: string | undefined
  /** What could not be read of the journal, and where it is kept. */
  readonly damage: string | undefined
}

/** What became of each knob that is not simply restored, and how many there are of each kind. */
function releaseData({ restored, unchanged, vanished, foreign, oneWay, failed }: ReleaseReport, { marks, damage }: Trouble) {
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
    failed: failed.map(({ step, outcome }) => ({ group: step.group, knob: step.kind, outcome: renderOutcome(outcome) })),
    ...(marks === undefined ? {} : { notTakenBack: marks }),
    ...(damage === undefined ? {} : { damagedJournal: damage }),
  }
}

function releaseText(report: ReleaseReport, trouble: Trouble): string {
  const { restored, unchanged, vanished, leftAlone, kept, failed } = releaseData(report, trouble)
  const { marks, damage } = trouble
  return [
    ...leftAlone.map(({ group, knob, holds }) => `left alone: ${knob} of ${group} holds ${holds}, which somebody else wrote`),
    ...kept.map(
      ({ group, knob, holds }) =>
        `kept: ${knob} of ${group} holds ${holds}, which this kernel does not take back; it ends with the group`,
    ),
    ...failed.map(({ group, knob, outcome }) => `not restored: ${knob} of ${group}: ${outcome}`),
    `${restored} restored, ${unchanged} as before already, ${vanished} gone with their group, ${leftAlone.length} left alone, ${failed.length} failed`,
    ...(marks === undefined ? [] : [`not taken back in the cluster: ${marks}`]),
    ...(damage === undefined ? [] : [`the restore journal is damaged: ${damage}`]),
  ].join('\n')
}
