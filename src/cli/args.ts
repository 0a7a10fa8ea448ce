/** Command lines: a table of verbs and their flags over node:util's parseArgs, with errors that name the flag and the nearest one. */
import { parseArgs, type ParseArgsConfig } from 'node:util'
import { AgentError, errnoOf, messageOf } from '../model/index.ts'
import { labelled } from '../record/index.ts'

export interface Flag {
  readonly type: 'boolean' | 'string'
  readonly short?: string
  /** May be given several times; read with textFlags. */
  readonly multiple?: boolean
  /** What stands for the value in the help: `FILE`. */
  readonly value?: string
  /** What shells offer for the value; by default files where `value` is FILE or DIR, and else nothing. */
  readonly completes?: Completes
  readonly help: string
}

/** What shells offer in the place of a value or an operand: these words, or what only a look can tell. */
export type Completes = readonly string[] | 'file' | 'pod' | 'setting'

export type Flags = Readonly<Record<string, Flag>>

export interface Parsed {
  readonly flags: Readonly<Record<string, string | boolean | readonly string[] | undefined>>
  readonly operands: readonly string[]
}

/** Flags that every verb has. */
export const COMMON_FLAGS: Flags = {
  help: { type: 'boolean', short: 'h', help: 'Show this help.' },
}

/** The flag of every verb that prints data. */
export const JSON_FLAG: Flags = { json: { type: 'boolean', help: 'Print JSON.' } }

/** Flags of the verbs that read a configuration. */
export const CONFIG_FLAGS: Flags = {
  config: {
    type: 'string',
    short: 'c',
    multiple: true,
    value: 'FILE',
    help: 'Configuration file (YAML). Of several, a later one wins. Without one, KUBE_AGENT_CONFIG, then the defaults.',
  },
  set: {
    type: 'string',
    multiple: true,
    value: 'KEY=VALUE',
    completes: 'setting',
    help: 'Override one setting, as in --set loop.hotMs=100. May be repeated.',
  },
}

/** Flags of the verbs that read the host: shorthands of settings, for a host whose file systems are mounted elsewhere. */
export const PATH_FLAGS: Flags = {
  'path.proc': { type: 'string', value: 'DIR', help: 'Where the procfs of the host is mounted: paths.proc.' },
  'path.sys': { type: 'string', value: 'DIR', help: 'Where the sysfs of the host is mounted: paths.sys.' },
  'path.cgroup': { type: 'string', value: 'DIR', help: 'Where the cgroup tree of the host is mounted: paths.cgroup.' },
  'path.kubelet': {
    type: 'string',
    value: 'DIR',
    help: 'Where /var/lib/kubelet of the host is mounted: paths.devicePlugins and paths.podResources lie in it.',
  },
}

/** Parses the words after the verb. Throws E_USAGE on an unknown flag, a missing value or too many operands. */
export function parseWords(verb: string, words: readonly string[], flags: Flags, maxOperands: number): Parsed {
  const options: NonNullable<ParseArgsConfig['options']> = {}
  for (const [name, flag] of Object.entries({ ...COMMON_FLAGS, ...flags })) {
    options[name] = {
      type: flag.type,
      multiple: flag.multiple === true,
      ...(flag.short === undefined ? {} : { short: flag.short }),
    }
  }
  let parsed
  try {
    parsed = parseArgs({ args: [...words], options, allowPositionals: true, strict: true })
  } catch (thrown) {
    if (errnoOf(thrown)?.startsWith('ERR_PARSE_ARGS') !== true) throw thrown
    throw new AgentError('E_USAGE', messageOf(thrown).split('. ')[0] ?? '', { hint: `See kube-agent ${verb} --help.` })
  }
  if (parsed.positionals.length > maxOperands) {
    throw new AgentError('E_USAGE', `unexpected word ${JSON.stringify(parsed.positionals[maxOperands])}`, {
      hint: `See kube-agent ${verb} --help.`,
    })
  }
  const values: Record<string, string | boolean | readonly string[] | undefined> = {}
  for (const [name, value] of Object.entries(parsed.values))
    values[name] = Array.isArray(value) ? value.filter((text) => typeof text === 'string') : value
  return { flags: values, operands: parsed.positionals }
}

/** A flag's text, or undefined. */
export function textFlag(parsed: Parsed, name: string): string | undefined {
  const value = parsed.flags[name]
  return typeof value === 'string' ? value : undefined
}

/** Every text of a flag that may be repeated, in the order given. */
export function textFlags(parsed: Parsed, name: string): readonly string[] {
  const value = parsed.flags[name]
  return typeof value === 'object' ? value : []
}

const UNIT_MS: Readonly<Record<string, number>> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000 }

/**
 * A flag's length of time in milliseconds: `500ms`, `1.5s`, `2m`, `1h`, or a bare number of seconds; undefined where it was not given. Throws
 * E_USAGE for anything else, and for what lies outside of `leastMs` to `mostMs`.
 */
export function durationFlag(
  parsed: Parsed,
  name: string,
  { leastMs, mostMs }: { readonly leastMs: number; readonly mostMs: number },
): number | undefined {
  const text = textFlag(parsed, name)
  if (text === undefined) return undefined
  const [, digits = '', unit = ''] = /^(\d{1,9}(?:\.\d{1,3})?)(ms|s|m|h)?$/.exec(text) ?? []
  if (digits === '')
    throw new AgentError('E_USAGE', `--${name} wants a time such as 500ms, 1s or 2m, got ${JSON.stringify(text)}`)
  const ms = Number(digits) * (UNIT_MS[unit === '' ? 's' : unit] ?? 0)
  if (ms < leastMs || ms > mostMs)
    throw new AgentError(
      'E_USAGE',
      `--${name} wants a time from ${leastMs / 1000} s to ${mostMs / 1000} s, got ${JSON.stringify(text)}`,
    )
  return ms
}

/** A flag's TCP port, 0 to 65535; undefined where it was not given. Throws E_USAGE for anything else. */
export function portFlag(parsed: Parsed, name: string): number | undefined {
  const text = textFlag(parsed, name)
  if (text === undefined) return undefined
  if (!/^\d{1,5}$/.test(text) || Number(text) > 65_535)
    throw new AgentError('E_USAGE', `--${name} wants a port from 0 (any free one) to 65535, got ${JSON.stringify(text)}`)
  return Number(text)
}

/** The help page of a verb. */
export function renderHelp(usage: string, summary: string, details: string, flags: Flags): string {
  const rows = Object.entries({ ...flags, ...COMMON_FLAGS }).map(([name, flag]): [string, string] => {
    const long = `--${name}${flag.value === undefined ? '' : ` ${flag.value}`}`
    return [flag.short === undefined ? `    ${long}` : `-${flag.short}, ${long}`, flag.help]
  })
  const column = Math.max(...rows.map(([left]) => left.length)) + 4
  const options = rows.flatMap(([left, help]) => labelled(`  ${left}`, help, column)).join('\n')
  return `${summary}\n\n${labelled('Usage:', usage, 'Usage: '.length).join('\n')}\n\n${details === '' ? '' : `${details.trim()}\n\n`}Options:\n${options}\n`
}
