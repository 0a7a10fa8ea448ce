/** The verb `doctor`: what on a node stands in the way of the agent, before it runs there or while it does, and what to do about it. */
import { CONFIG_FLAGS, PATH_FLAGS, textFlag } from './args.ts'
import { colours } from './colour.ts'
import { gatherFacts } from './doctor/gather.ts'
import { countStates, exitCodeOf, judge } from './doctor/judge.ts'
import { renderFindings } from './doctor/text.ts'
import { configOf } from './settings.ts'
import { print, type Verb } from './verb.ts'
import { VERSION } from './version.ts'

export const doctor: Verb = {
  usage: 'kube-agent doctor [--config FILE] [--strict] [--json]',
  summary: 'Check whether this node has what the agent needs.',
  details: `
Looks at the kernel, the cgroups, every knob, the kubelet, permissions, the state directory, the pods
and the API server, and says of each what was found and what to do. It needs no running agent, does
not disturb one, and writes nothing. Each finding is ok, a note, a warning (the main job is done with
a loss) or a failure (it can't be done here). Judged as for mode enforce, whatever the mode is, and by
what this process may do: run it as the agent is run, as its user or in its pod. The pod of an agent
that only observes fails for the rights and mounts that it is not given. Most is known on the host.

Exits 4 when there is a failure, and with --strict also when there is a warning; 0 otherwise.`,
  flags: {
    ...CONFIG_FLAGS,
    ...PATH_FLAGS,
    'kubelet-config': {
      type: 'string',
      value: 'FILE',
      help: "The kubelet's configuration file, where its process does not tell.",
    },
    strict: { type: 'boolean', help: 'Let warnings fail the command too.' },
    json: { type: 'boolean', help: 'Print JSON.' },
  },
  maxOperands: 0,
  run: async (parsed) => {
    const { config } = configOf(parsed)
    const facts = await gatherFacts(config, { environment: process.env, kubeletConfig: textFlag(parsed, 'kubelet-config') })
    const findings = judge(facts, config)
    if (parsed.flags['json'] === true) {
      const { kernel, api } = facts
      const node = { name: api.nodeName, kernel: kernel.release }
      print(JSON.stringify({ version: VERSION, node, summary: countStates(findings), findings }, undefined, 2))
    } else print(renderFindings(findings, colours(process.stdout)))
    return exitCodeOf(findings, { strict: parsed.flags['strict'] === true })
  },
}
