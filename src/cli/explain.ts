/** The verb `explain`: why a pod, a CPU, a resource or a knob is as it is. Asks the running agent, and looks for itself when none answers. */
import { AgentError, EXIT, OFFLINE_RESOURCES } from '../model/index.ts'
import { parseSubject, renderExplanation } from '../record/index.ts'
import { realNow } from '../compose.ts'
import { CONFIG_FLAGS, JSON_FLAG, PATH_FLAGS } from './args.ts'
import { ADDRESS_FLAGS, ask, isUnanswered, type Answer } from './client.ts'
import { lookOnce } from './once.ts'
import { configOf } from './settings.ts'
import { print, type Verb } from './verb.ts'

export const explain: Verb = {
  usage: 'kube-agent explain (pod NAMESPACE/NAME | cpu N | resource NAME | knob PATH | group PATH)',
  summary: 'Explain why a pod, a CPU, a resource or a kernel file is as it is.',
  details: `
Shows what the kernel holds, what the agent wants and why, which claims lost, what was there before
the agent, and the readings behind it with their ages. Asks the running agent; when none answers,
takes a look of its own, which knows nothing of the past.

Examples: kube-agent explain pod shop/web
          kube-agent explain cpu 3
          kube-agent explain resource be-cpu
          kube-agent explain knob /sys/fs/cgroup/kubepods/besteffort/cpu.max
          kube-agent explain knob shop/web quota`,
  flags: { ...CONFIG_FLAGS, ...PATH_FLAGS, ...ADDRESS_FLAGS, ...JSON_FLAG },
  maxOperands: 3,
  operands: [['pod', 'cpu', 'resource', 'knob', 'group'], { after: { pod: 'pod', resource: OFFLINE_RESOURCES, knob: 'file' } }],
  run: async (parsed) => {
    const subject = parsed.operands.join(' ')
    if (subject === '') throw new AgentError('E_NO_SUBJECT', 'explain wants a subject')
    // Words that name nothing are no reason to look at the node.
    parseSubject(subject)
    const { config } = configOf(parsed)
    const json = parsed.flags['json'] === true
    try {
      const path = `/explain?subject=${encodeURIComponent(subject)}`
      const answer = await ask(parsed, config, path, json ? 'application/json' : 'text/plain')
      if (answer.status !== 200) throw refusal(answer)
      print(answer.body)
    } catch (thrown) {
      if (!isUnanswered(thrown) || parsed.flags['address'] !== undefined) throw thrown
      process.stderr.write(whyLook(thrown))
      const { recorder } = await lookOnce(config)
      const explanation = recorder.explain(subject, realNow().nowMs)
      print(json ? JSON.stringify(explanation, undefined, 2) : renderExplanation(explanation))
    }
    return EXIT.ok
  },
}

/** That there is no agent is normal here; that one does not answer is news, and what to do about it too. */
function whyLook({ code, message, hint }: AgentError): string {
  const next = code === 'E_NO_AGENT' ? '' : `  ${hint} (${code})\n`
  return `kube-agent: ${message}; this is a look at the node as it is now\n${next}`
}

/** What the agent says of a subject that is not there: a message and a hint, as JSON or as two lines. */
function refusal({ body }: Answer): AgentError {
  const [message = '', hint] = body.startsWith('{') ? messageAndHint(body) : body.split('\n')
  return new AgentError('E_NO_SUBJECT', message, hint === undefined || hint === '' ? {} : { hint })
}

function messageAndHint(body: string): readonly string[] {
  const { message, hint } = JSON.parse(body) as { readonly message?: unknown; readonly hint?: unknown }
  return [message, hint].filter((text) => typeof text === 'string')
}
