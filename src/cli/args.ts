/** Command lines: a table of verbs and their flags over node:util's parseArgs, with errors that name the flag and the nearest one. */
import { parseArgs, type ParseArgsConfig } from 'node:util'
import { AgentError, errnoOf, messageOf } from '../model/index.ts'

export interface Flag {
  readonly type: 'boolean' | 'string'
  readonly short?: string
  /** May be given several times; read with textFlags. */
  readonly multiple?: boolean
  /** What stands for the value in the help: `FILE`. */
  readonly value?: string
  readonly help: string
}

export type Flags = Readonly<Record<string, Flag>>

export interface Parsed {
  readonly flags: Readonly<Record<string, string | boolean | readonly string[] | undefined>>
  readonly operands: readonly string[]
}

/** Flags that every verb has. */
export const COMMON_FLAGS: Flags = {
  help: { type: 'boolean', short: 'h', help: 'Show this help.' },
}

/** Flags of the verbs that read a configuration. */
export const CONFIG_FLAGS: Flags = {
  config: { type: 'string', short: 'c', value: 'FILE', help: 'Configuration file (YAML). Without one, the defaults.' },
  set: {
    type: 'string',
    multiple: true,
    value: 'KEY=VALUE',
    help: 'Override one setting, as in --set loop.hotMs=100. May be repeated.',
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

/** The help page of a verb. */
export function renderHelp(usage: string, summary: string, details: string, flags: Flags): string {
  const rows = Object.entries({ ...flags, ...COMMON_FLAGS }).map(([name, flag]): [string, string] => {
    const long = `--${name}${flag.value === undefined ? '' : ` ${flag.value}`}`
    return [flag.short === undefined ? `    ${long}` : `-${flag.short}, ${long}`, flag.help]
  })
  const width = Math.max(...rows.map(([left]) => left.length))
  const options = rows.map(([left, help]) => `  ${left.padEnd(width)}  ${help}`).join('\n')
  return `${summary}\n\nUsage: ${usage}\n\n${details === '' ? '' : `${details.trim()}\n\n`}Options:\n${options}\n`
}
