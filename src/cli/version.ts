/** The verb `version`. */
import { EXIT } from '../model/index.ts'
import { print, type Verb } from './verb.ts'

/** Set by the bundler from package.json. */
declare const KUBE_AGENT_VERSION: string | undefined

export const VERSION: string = typeof KUBE_AGENT_VERSION === 'string' ? KUBE_AGENT_VERSION : 'development'

export const version: Verb = {
  usage: 'kube-agent version',
  summary: 'Print the version.',
  details: '',
  flags: {},
  maxOperands: 0,
  run: async () => {
    print(`kube-agent ${VERSION} (node ${process.version})`)
    return Promise.resolve(EXIT.ok)
  },
}
