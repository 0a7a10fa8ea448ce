/** The configuration a command line asks for: files, overrides by --set, and the flags that are settings of their own. */
import { parse } from 'yaml'
import { loadConfig, type ConfigSources, type LoadedConfig, type Override } from '../config/index.ts'
import { AgentError, messageOf, MODES, type Mode } from '../model/index.ts'
import { textFlag, textFlags, type Parsed } from './args.ts'

/** Where the configuration of a verb comes from. Throws E_USAGE for a bad --set or --mode. */
export function configSources(parsed: Parsed): ConfigSources {
  const overrides: Override[] = []
  for (const set of textFlags(parsed, 'set')) overrides.push(...set.split(/,(?=[\w.]+=)/).map(overrideOf))
  const mode = textFlag(parsed, 'mode')
  if (mode !== undefined) overrides.push({ path: ['mode'], value: checkMode(mode), origin: '--mode' })
  const named = textFlags(parsed, 'config')
  return { file: named.length > 0 ? named : environmentFiles(process.env), overrides }
}

/** Files that are laid one over the other where no flag names any: what runs beside the agent, in its container, so goes by the same ones. */
export function environmentFiles(environment: Readonly<Record<string, string | undefined>>): readonly string[] {
  return (environment['KUBE_AGENT_CONFIG'] ?? '').split(':').filter((file) => file !== '')
}

/** Loads the configuration of a verb. Throws E_USAGE for a bad --set or --mode, E_CONFIG for what the schema refuses. */
export function configOf(parsed: Parsed): LoadedConfig {
  return loadConfig(configSources(parsed))
}

function overrideOf(text: string): Override {
  const at = text.indexOf('=')
  if (at <= 0) throw new AgentError('E_USAGE', `--set wants KEY=VALUE, got ${JSON.stringify(text)}`)
  const key = text.slice(0, at)
  return { path: key.split('.'), value: valueOf(key, text.slice(at + 1)), origin: '--set' }
}

function valueOf(key: string, text: string): unknown {
  try {
    return parse(text) as unknown
  } catch (thrown) {
    const [problem = ''] = messageOf(thrown).split('\n')
    throw new AgentError('E_USAGE', `--set ${key}: ${JSON.stringify(text)} is no YAML value: ${problem.replace(/:$/, '')}`)
  }
}

function checkMode(text: string): Mode {
  const mode = MODES.find((known) => known === text)
  if (mode === undefined) throw new AgentError('E_USAGE', `--mode wants one of ${MODES.join(', ')}, got ${JSON.stringify(text)}`)
  return mode
}
