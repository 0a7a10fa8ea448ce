/** The command line of a running agent, for its page /flagz. */
import { redact } from '../model/index.ts'
import type { FlagInForce } from '../serve/index.ts'
import type { Flags, Parsed } from './args.ts'
import { environmentFiles } from './settings.ts'

type Environment = Readonly<Record<string, string | undefined>>

/**
 * Every flag of a verb with what it was given; files that the environment names are the flag --config by another way. What looks like a secret
 * is taken out: of two --set for one setting nothing checks the first.
 */
export function flagsInForce(flags: Flags, parsed: Parsed, environment: Environment): readonly FlagInForce[] {
  return Object.keys(flags).map((name): FlagInForce => {
    const value = parsed.flags[name]
    const values = typeof value === 'object' ? value : value === undefined ? [] : [String(value)]
    if (values.length > 0) return { name, values: values.map((text) => redact(text).text), from: 'command line' }
    const files = name === 'config' ? environmentFiles(environment) : []
    return files.length === 0 ? { name, values } : { name, values: files, from: 'KUBE_AGENT_CONFIG' }
  })
}
