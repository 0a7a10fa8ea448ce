/** The verb `config`: check a file, or show what is in force and where each value came from. */
import { adviceOn, ConfigError, configJsonSchema, loadConfig, renderConfig, renderConfigJson } from '../config/index.ts'
import { AgentError, EXIT, type ExitCode } from '../model/index.ts'
import { CONFIG_FLAGS, PATH_FLAGS } from './args.ts'
import { configOf } from './settings.ts'
import { print, type Verb } from './verb.ts'

export const config: Verb = {
  usage: 'kube-agent config (check FILE | show | schema) [--config FILE]',
  summary: 'Check a configuration file, or show the effective configuration or its schema.',
  details: `
check  reads FILE, reports every problem with its line and column, and exits 3 if there is one; with --json
       on standard output, as {"valid": false, "issues": [{"line", "column", "key", "text"}]}. Settings
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
      return Promise.resolve(check(file, parsed.flags['json'] === true))
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

/** Throws what loadConfig does, unless it is to be told as data. */
function check(file: string, asData: boolean): ExitCode {
  try {
    const advice = adviceOn(loadConfig({ file }).config)
    for (const line of advice) process.stderr.write(`note: ${line}\n`)
    print(asData ? JSON.stringify({ file, valid: true, advice }) : `${file}: valid`)
    return EXIT.ok
  } catch (thrown) {
    if (!asData || !(thrown instanceof AgentError)) throw thrown
    // A file that can't be read is one issue, without a place.
    const issues =
      thrown instanceof ConfigError ? thrown.issues.map(({ source: _file, ...issue }) => issue) : [{ text: thrown.message }]
    print(JSON.stringify({ file, valid: false, issues }))
    return thrown.exitCode
  }
}
