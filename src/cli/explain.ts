/** The verb `explain`: why a pod, a CPU or a resource is as it is. Asks the running agent, and looks for itself when none answers. */
import { AgentError, EXIT } from '../model/index.ts'
import { renderExplanation } from '../record/index.ts'
import { realNow } from '../compose.ts'
import { CONFIG_FLAGS } from './args.ts'
import { ADDRESS_FLAGS, ask } from './client.ts'
import { lookOnce } from './once.ts'
import { configOf } from './settings.ts'
import { print, type Verb } from './verb.ts'

export const explain: Verb = {
  usage: 'kube-agent explain (pod NAMESPACE/NAME | cpu N | resource NAME | group PATH)',
  summary: 'Explain why a pod, a CPU, a resource or a cgroup is as it is.',
  details: `
Shows what the kernel holds, what the agent wants and why, which claims lost, and what was there
before the agent. Asks the running agent; when none answers, takes a look of its own, which knows
nothing of the past.

Examples: kube-agent explain pod shop/web
          kube-agent explain cpu 3
          kube-agent explain resource be-cpu`,
  flags: { ...CONFIG_FLAGS, ...ADDRESS_FLAGS, json: { type: 'boolean', help: 'Print JSON.' } },
  maxOperands: 2,
  run: async (parsed) => {
    const subject = parsed.operands.join(' ')
    if (subject === '') throw new AgentError('E_NO_SUBJECT', 'explain wants a subject')
    const { config } = configOf(parsed)
    const json = parsed.flags['json'] === true
    try {
      const path = `/explain?subject=${encodeURIComponent(subject)}`
      const answer = await ask(parsed, config, path, json ? 'application/json' : 'text/plain')
      if (answer.status !== 200) throw new AgentError('E_NO_SUBJECT', answer.body.split('\n')[0] ?? '')
      print(answer.body)
    } catch (thrown) {
      if (!(thrown instanceof AgentError) || thrown.code !== 'E_NO_AGENT' || parsed.flags['address'] !== undefined) throw thrown
      process.stderr.write('no agent is running: this is a look at the node as it is now\n')
      const { recorder } = await lookOnce(config)
      const explanation = recorder.explain(subject, realNow().nowMs)
      print(json ? JSON.stringify(explanation, undefined, 2) : renderExplanation(explanation))
    }
    return EXIT.ok
  },
}
