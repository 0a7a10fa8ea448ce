/** The verb `release`: puts back every knob that still holds what the agent wrote. A running agent is asked to; for one that is gone this does it. */
import { releaseNode } from '../agent/index.ts'
import { openNode, openWriting, realNow } from '../compose.ts'
import type { Config } from '../config/index.ts'
import { EXIT } from '../model/index.ts'
import { CONFIG_FLAGS, JSON_FLAG, PATH_FLAGS } from './args.ts'
import { withdrawFromCluster } from './cluster.ts'
import { lockNode } from './node-lock.ts'
import { askAgent } from './release-ask.ts'
import { type ReleaseOutcome, releaseOutcome } from './release-report.ts'
import { configOf } from './settings.ts'
import { print, type Verb } from './verb.ts'

export const release: Verb = {
  usage: 'kube-agent release [--json] [--config FILE]',
  summary: 'Put every knob back to what it was before the agent.',
  details: `
Reads the restore journal and writes the original to each knob that still holds what the agent wrote.
Knobs that somebody else has written since are left alone and named. Marks on groups (user.kube-agent)
go with what they told of. What the agent has told the cluster of the node (condition, annotations,
label, taint) is taken back where there is an API server.
A running agent is asked to do it over the socket of its lock. It then decides as in mode observe and
writes nothing more until it is restarted, which is what makes it enforce again; see kube-agent status.
Exits 1 if a knob could not be restored, a mark or what the cluster was told not taken back, or the
journal not read in full, and 4 if the agent does not take the request; it may be run again.`,
  flags: { ...CONFIG_FLAGS, ...PATH_FLAGS, ...JSON_FLAG },
  maxOperands: 0,
  run: async (parsed) => {
    process.umask(0o077)
    const { config } = configOf(parsed)
    const asked = await askAgent(config.paths.state)
    const { isWhole, text, data } = asked?.outcome ?? (await releaseAlone(config))
    const isData = parsed.flags['json'] === true
    if (asked === undefined) print(isData ? JSON.stringify(data, undefined, 2) : text)
    else print(isData ? JSON.stringify({ ...data, agent: asked.pid }, undefined, 2) : `${text}\n${standsDown(asked.pid)}`)
    return isWhole ? EXIT.ok : EXIT.failed
  },
}

function standsDown(pid: number): string {
  return `the agent with pid ${pid} has done this; it runs on and writes nothing more: restart it to enforce again`
}

/** Does it here. Throws E_LOCKED where an agent has come meanwhile, or one with another state directory runs on this cgroup root. */
async function releaseAlone(config: Config): Promise<ReleaseOutcome> {
  const node = openNode(config)
  const { unlock } = await lockNode(config, node)
  try {
    const writing = openWriting(config, node)
    const report = releaseNode(node.kernel, writing, realNow().nowMs)
    writing.journal.end()
    const { marks, health } = writing.journal
    const inCluster = await withdrawFromCluster(config, process.env)
    return releaseOutcome(report, { inCluster, onGroups: marks.left, damage: health.damage })
  } finally {
    unlock()
  }
}
