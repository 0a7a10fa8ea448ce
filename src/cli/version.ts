/** The verb `version`. */
import { EXIT } from '../model/index.ts'
import { JSON_FLAG } from './args.ts'
import { print, type Verb } from './verb.ts'

/** Set by the bundler from package.json. */
declare const KUBE_AGENT_VERSION: string | undefined

export const VERSION: string = typeof KUBE_AGENT_VERSION === 'string' ? KUBE_AGENT_VERSION : 'development'

export const version: Verb = {
  usage: 'kube-agent version [--json]',
  summary: 'Print the version.',
  details: '',
  flags: JSON_FLAG,
  maxOperands: 0,
  run: async ({ flags }) => {
    const { version: node } = process
    print(flags['json'] === true ? JSON.stringify({ version: VERSION, node }) : `kube-agent ${VERSION} (node ${node})`)
    return Promise.resolve(EXIT.ok)
  },
}
