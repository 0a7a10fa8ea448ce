/**
 * The command line that the agent was started with, flag by flag (KEP-4828: /flagz beside /statusz). What the settings have become by it and
 * by the files is on /configz; what stands here can be no secret, since a flag names files or gives settings, and those hold none.
 */
import { oneLine } from '../model/index.ts'
import { type Answer, json, refuse, text } from './answers.ts'
import type { PageContext } from './pages.ts'
import type { Request } from './request.ts'

/** A flag that the agent knows. */
export interface FlagInForce {
  /** Without the dashes. */
  readonly name: string
  /** In the order given, of which the last one wins; empty where it was not given. */
  readonly values: readonly string[]
  /** Where the values come from; undefined without any. */
  readonly from?: string
}

const HEAD = `Flags of this agent, for people and not for parsing: the form may change. ?format=json is for programs.
What each setting has become by them and by files is on /configz.
`
/** A path has 4096 characters at most; a line need not. */
const MAX_VALUE = 300

/** The flags as `--name=value` lines, or as `{ flags: { name: [value, …] } }`. */
export function flagz({ format, accept }: Request, { flags }: PageContext): Answer {
  if (flags === undefined) return refuse(404, { message: 'the command line is not shown here' }, accept)
  if (format === 'json') return json(200, { flags: Object.fromEntries(flags.map(({ name, values }) => [name, values])) })
  const rows = flags.flatMap(rowsOf)
  const width = Math.max(...rows.map(({ flag }) => flag.length))
  return text(200, `${HEAD}\n${rows.map(({ flag, from }) => `${flag.padEnd(width)}  ${from}\n`).join('')}`)
}

interface Row {
  readonly flag: string
  readonly from: string
}

function rowsOf({ name, values, from = '' }: FlagInForce): readonly Row[] {
  if (values.length === 0) return [{ flag: `--${name}`, from: 'not given' }]
  return values.map((value) => ({ flag: `--${name}=${oneLine(value, MAX_VALUE)}`, from }))
}
