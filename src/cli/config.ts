/** The verb `config`: check a file, or show what is in force and where each value came from. */
import { adviceOn, loadConfig, renderConfig, renderConfigJson } from '../config/index.ts'
import { AgentError, EXIT } from '../model/index.ts'
import { CONFIG_FLAGS } from './args.ts'
import { configOf } from './settings.ts'
import { print, type Verb } from './verb.ts'

export const config: Verb = {
  usage: 'kube-agent config check FILE | kube-agent config show [--config FILE]',
  summary: 'Check a configuration file, or show the effective configuration.',
  details: `
check  reads FILE, reports every problem with its line and column, and exits 3 if there is one. Settings
       that are legal and probably not meant are noted on standard error.
show   prints every setting with its value and its origin: default, FILE:LINE or a flag.`,
  flags: { ...CONFIG_FLAGS, json: { type: 'boolean', help: 'Print JSON.' } },
  maxOperands: 2,
  run: async (parsed) => {
    const [action, file] = parsed.operands
    if (action === 'check') {
      if (file === undefined) throw new AgentError('E_USAGE', 'config check wants a FILE')
      const { config: checked } = loadConfig({ file })
      for (const line of adviceOn(checked)) process.stderr.write(`note: ${line}\n`)
      print(`${file}: valid`)
    } else if (action === 'show' && file === undefined) {
      const loaded = configOf(parsed)
      print(parsed.flags['json'] === true ? renderConfigJson(loaded) : renderConfig(loaded))
    } else {
      throw new AgentError('E_USAGE', `config wants check FILE or show, got ${JSON.stringify(parsed.operands.join(' '))}`)
    }
    return Promise.resolve(EXIT.ok)
  },
}
