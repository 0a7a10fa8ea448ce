/** The verb `release`: puts back every knob that still holds what the agent wrote, for an agent that is gone. */
import { lockOwner, takeLock } from '../actuate/index.ts'
import { openNode, openWriting, realNow } from '../compose.ts'
import { AgentError, EXIT, formatKnobValue, type KnobSetting } from '../model/index.ts'
import { renderOutcome } from '../record/index.ts'
import { releaseNode } from '../release-node.ts'
import { CONFIG_FLAGS } from './args.ts'
import { configOf } from './settings.ts'
import { print, type Verb } from './verb.ts'

export const release: Verb = {
  usage: 'kube-agent release [--config FILE]',
  summary: 'Put every knob back to what it was before the agent.',
  details: `
Reads the restore journal and writes the original to each knob that still holds what the agent wrote.
Knobs that somebody else has written since are left alone and named. Refuses while an agent runs:
stop it first. Exits 1 if a knob could not be restored.`,
  flags: CONFIG_FLAGS,
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
      for (const { group, kind, value } of report.foreign) {
        print(
          `left alone: ${kind} of ${group} holds ${formatKnobValue({ kind, value } as KnobSetting)}, which somebody else wrote`,
        )
      }
      for (const { group, kind, value } of report.oneWay) {
        print(
          `kept: ${kind} of ${group} holds ${formatKnobValue({ kind, value } as KnobSetting)}, which this kernel does not take back; it ends with the group`,
        )
      }
      for (const { step, outcome } of report.failed)
        print(`not restored: ${step.kind} of ${step.group}: ${renderOutcome(outcome)}`)
      print(
        `${report.restored} restored, ${report.unchanged} as before already, ${report.vanished} gone with their group, ${report.foreign.length} left alone, ${report.failed.length} failed`,
      )
      return report.failed.length === 0 ? EXIT.ok : EXIT.failed
    } finally {
      unlock()
    }
  },
}
