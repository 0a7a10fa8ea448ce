/** The configuration a command line asks for: files, overrides by --set, and the flags that are settings of their own. */
import { parse } from 'yaml'
import { loadConfig, type ConfigSources, type LoadedConfig, type Override } from '../config/index.ts'
import { AgentError, messageOf, MODES, type Mode, redact } from '../model/index.ts'
import { textFlag, textFlags, type Parsed } from './args.ts'

/** What each of PATH_FLAGS sets: a setting, and what of the flag's directory it is. */
const PATH_SETTINGS: Readonly<Record<string, readonly (readonly [setting: string, below: string])[]>> = {
  'path.proc': [['proc', '']],
  'path.sys': [['sys', '']],
  'path.cgroup': [['cgroup', '']],
  // Kubelet: device-plugins is below /var/lib/kubelet whatever --root-dir says, pod-resources is below --root-dir. A kubelet for which that
  // is not the same needs the two settings themselves.
  'path.kubelet': [
    ['devicePlugins', '/device-plugins'],
    ['podResources', '/pod-resources'],
  ],
}

/**
 * Where the configuration of a verb comes from. A flag of its own (--mode, --path.proc) wins over --set, whichever stands first. Throws
 * E_USAGE for a bad --set or --mode, and for a --path.kubelet that is no absolute path.
 */
export function configSources(parsed: Parsed): ConfigSources {
  const overrides: Override[] = []
  for (const set of textFlags(parsed, 'set')) overrides.push(...set.split(/,(?=[\w.]+=)/).map(overrideOf))
  const mode = textFlag(parsed, 'mode')
  if (mode !== undefined) overrides.push({ path: ['mode'], value: checkMode(mode), origin: '--mode' })
  overrides.push(...pathOverrides(parsed))
  const named = textFlags(parsed, 'config')
  return { file: named.length > 0 ? named : environmentFiles(process.env), overrides }
}

function pathOverrides(parsed: Parsed): readonly Override[] {
  return Object.entries(PATH_SETTINGS).flatMap(([flag, settings]) => {
    // Shells complete a directory with a slash at its end, which a setting does not take.
    const directory = textFlag(parsed, flag)?.replace(/(?<=.)\/$/, '')
    if (directory === undefined) return []
    return settings.map(([setting, below]): Override => {
      // The schema refuses what is wrong with a setting; this one would become a path by what is put after it.
      if (below !== '' && !directory.startsWith('/'))
        throw new AgentError('E_USAGE', `--${flag} wants an absolute path, got ${JSON.stringify(directory)}`)
      return { path: ['paths', setting], value: `${directory}${below}`, origin: `--${flag}` }
    })
  })
}

/** Files that are laid one over the other where no flag names any: what runs beside the agent, in its container, so goes by the same ones. */
export function environmentFiles(environment: Readonly<Record<string, string | undefined>>): readonly string[] {
  return (environment['KUBE_AGENT_CONFIG'] ?? '').split(':').filter((file) => file !== '')
}

/** Loads the configuration of a verb. Throws what configSources throws, and E_CONFIG for what the schema refuses. */
export function configOf(parsed: Parsed): LoadedConfig {
  return loadConfig(configSources(parsed))
}

function overrideOf(text: string): Override {
  const at = text.indexOf('=')
  if (at <= 0) throw new AgentError('E_USAGE', `--set wants KEY=VALUE, got ${quoted(text)}`)
  const key = text.slice(0, at)
  return { path: key.split('.'), value: valueOf(key, text.slice(at + 1)), origin: '--set' }
}

function valueOf(key: string, text: string): unknown {
  try {
    return parse(text) as unknown
  } catch (thrown) {
    const [problem = ''] = messageOf(thrown).split('\n')
    throw new AgentError('E_USAGE', `--set ${key}: ${quoted(text)} is no YAML value: ${problem.replace(/:$/, '')}`)
  }
}

/** The log of an agent that does not start has it too. */
function quoted(text: string): string {
  return JSON.stringify(redact(text).text)
}

function checkMode(text: string): Mode {
  const mode = MODES.find((known) => known === text)
  if (mode === undefined) throw new AgentError('E_USAGE', `--mode wants one of ${MODES.join(', ')}, got ${JSON.stringify(text)}`)
  return mode
}
