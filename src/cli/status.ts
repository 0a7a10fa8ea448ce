/** The verb `status`: how the agent on this node is doing; the exit code follows. */
import { AgentError, EXIT } from '../model/index.ts'
import { CONFIG_FLAGS, JSON_FLAG, type Parsed } from './args.ts'
import { ADDRESS_FLAGS, ask, isUnanswered } from './client.ts'
import type { Config } from '../config/index.ts'
import { configOf } from './settings.ts'
import { print, type Verb } from './verb.ts'

export const status: Verb = {
  usage: 'kube-agent status [--brief] [--json] [--address HOST:PORT]',
  summary: 'Show how the agent on this node is doing.',
  details: `
Asks the running agent. With --brief it prints one line: OK and the essentials, or error and what is
wrong, also when no agent answers; --json without an agent gives the same as --brief --json. Exits 0
when that line would be OK, and 1 when it would not.`,
  flags: {
    ...CONFIG_FLAGS,
    ...ADDRESS_FLAGS,
    brief: { type: 'boolean', help: 'One line: OK, or error and why.' },
    ...JSON_FLAG,
  },
  maxOperands: 0,
  run: async (parsed) => {
    const { config } = configOf(parsed)
    const isData = parsed.flags['json'] === true
    if (parsed.flags['brief'] === true) {
      const verdict = await verdictOf(parsed, config).catch(asVerdict)
      print(isData ? JSON.stringify(verdict) : verdict.text)
      return verdict.ok ? EXIT.ok : EXIT.failed
    }
    try {
      const page = await ask(parsed, config, '/statusz', isData ? 'application/json' : 'text/plain')
      const { ok } = await verdictOf(parsed, config)
      print(page.body)
      return ok ? EXIT.ok : EXIT.failed
    } catch (thrown) {
      if (!isData) throw thrown
      // Who reads JSON gets some, the same as with --brief.
      print(JSON.stringify(asVerdict(thrown)))
      return EXIT.failed
    }
  },
}

interface Verdict {
  readonly ok: boolean
  readonly text: string
}

/** The agent's own line, unless it is not ready: it may be without errors and wait for its pods or its kubelet. */
async function verdictOf(parsed: Parsed, config: Config): Promise<Verdict> {
  const brief = await ask(parsed, config, '/statusz?brief', 'text/plain')
  const ready = await ask(parsed, config, '/readyz', 'text/plain')
  const text = brief.body.trim()
  if (brief.status !== 200 || !/^(OK|error)\b/.test(text))
    throw new AgentError('E_NO_AGENT', `what answers is no kube-agent: /statusz?brief gave ${brief.status}`)
  if (text.startsWith('OK') && ready.status !== 200) return { ok: false, text: `error: ${ready.body.trim()}` }
  return { ok: text.startsWith('OK'), text }
}

/** That nobody answers is an answer too, for a script that asks for one line. */
function asVerdict(thrown: unknown): Verdict {
  if (!isUnanswered(thrown)) throw thrown
  return { ok: false, text: `error: ${thrown.message}` }
}
