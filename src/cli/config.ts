/** The verb `config`: check a file, or show what is in force and where each value came from. */
import { adviceOn, configJsonSchema, loadConfig, renderConfig, renderConfigJson } from '../config/index.ts'
import { AgentError, EXIT } from '../model/index.ts'
import { CONFIG_FLAGS, PATH_FLAGS } from './args.ts'
import { configOf } from './settings.ts'
import { print, type Verb } from './verb.ts'

export const config: Verb = {
  usage: 'kube-agent config (check FILE | show | schema) [--config FILE]',
  summary: 'Check a configuration file, or show the effective configuration or its schema.',
  details: `
check  reads FILE, reports every problem with its line and column, and exits 3 if there is one. Settings
       that are legal and probably not meant are noted on standard error.
show   prints every setting with its value and its origin: default, FILE:LINE or a flag.
schema prints the JSON Schema of the configuration (draft 2020-12), for editors and for checks before a
       file reaches a node. What may not be combined, and how settings relate, only check knows.`,
  flags: { ...CONFIG_FLAGS, ...PATH_FLAGS, json: { type: 'boolean', help: 'Print JSON.' } },
  maxOperands: 2,
  operands: [['check', 'show', 'schema'], { after: { check: 'file' } }],
  run: async (parsed) => {
    const [action, file] = parsed.operands
    if (action === 'check') {
      if (file === undefined) throw new AgentError('E_USAGE', 'config check wants a FILE')
      const { config: checked } = loadConfig({ file })
      for (const line of adviceOn(checked)) process.stderr.write(`note: ${line}\n`)
      print(parsed.flags['json'] === true ? JSON.stringify({ file, valid: true, advice: adviceOn(checked) }) : `${file}: valid`)
    } else if (action === 'show' && file === undefined) {
      const loaded = configOf(parsed)
      print(parsed.flags['json'] === true ? renderConfigJson(loaded) : renderConfig(loaded))
    } else if (action === 'schema' && file === undefined) {
      print(JSON.stringify(configJsonSchema(), null, 2))
    } else {
      throw new AgentError('E_USAGE', `config wants check FILE, show or schema, got ${JSON.stringify(parsed.operands.join(' '))}`)
    }
    return Promise.resolve(EXIT.ok)
  },
}
