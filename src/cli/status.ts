/** The verb `status`: how the agent on this node is doing; the exit code follows. */
import { EXIT } from '../model/index.ts'
import { CONFIG_FLAGS } from './args.ts'
import { ADDRESS_FLAGS, ask } from './client.ts'
import { configOf } from './settings.ts'
import { print, type Verb } from './verb.ts'

export const status: Verb = {
  usage: 'kube-agent status [--brief] [--address HOST:PORT]',
  summary: 'Show how the agent on this node is doing.',
  details: 'Asks the running agent. Exits 0 when it is ready, 1 when it is not or when none answers.',
  flags: {
    ...CONFIG_FLAGS,
    ...ADDRESS_FLAGS,
    brief: { type: 'boolean', help: 'One line: OK, or error and why.' },
    json: { type: 'boolean', help: 'Print JSON.' },
  },
  maxOperands: 0,
  run: async (parsed) => {
    const { config } = configOf(parsed)
    const accept = parsed.flags['json'] === true ? 'application/json' : 'text/plain'
    const page = await ask(parsed, config, parsed.flags['brief'] === true ? '/statusz?brief' : '/statusz', accept)
    const ready = await ask(parsed, config, '/readyz', 'text/plain')
    print(page.body)
    return ready.status === 200 ? EXIT.ok : EXIT.failed
  },
}
