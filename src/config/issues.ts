/**
 * What is wrong with a configuration, as data for programs and as the lines of one error for people. Messages quote what stands in the file,
 * and end in logs and on pages: what looks like a secret is taken out of them.
 */
import { AgentError, oneLine, redact } from '../model/index.ts'
import { showKey } from './leaves.ts'
import type { Position } from './source.ts'

/** One mistake. */
export interface Issue {
  /** The file or the flag that it stands in. */
  readonly source: string
  /** Undefined for a flag, and for what is wrong with a file as a whole. */
  readonly position?: Position | undefined
  /** Of the file among the layers; flags come after all files. */
  readonly rank: number
  /** Names of the blocks and the setting; undefined for what concerns none. */
  readonly path?: readonly string[] | undefined
  readonly message: string
}

/** One mistake for programs. `line` and `column` count from 1, and are left out where it has no place in a file. */
export interface ConfigIssue {
  /** The file or the flag that it stands in. */
  readonly source: string
  readonly line?: number
  readonly column?: number
  /** Dotted, as in `loop.hotMs`; left out for what concerns no key. */
  readonly key?: string
  readonly text: string
}

/** E_CONFIG with each mistake; the message has one line for each, `FILE:LINE:COLUMN: KEY: TEXT`. */
export class ConfigError extends AgentError {
  readonly issues: readonly ConfigIssue[]

  constructor(issues: readonly ConfigIssue[], more: number) {
    super('E_CONFIG', [...issues.map(lineOf), ...(more === 0 ? [] : [`and ${more} more`])].join('\n'))
    this.issues = issues
  }
}

/** More than this nobody reads; a file that is no configuration at all may have one for every line. */
export const MAX_ISSUES = 100
/** The longest names every key that there is. */
const MAX_LINE = 2000

/** The error that tells the first of the issues, in reading order: file by file from top to bottom, then what has no position, then flags. */
export function configError(issues: readonly Issue[]): ConfigError {
  const orderOf = ({ rank, position }: Issue) => [rank, position?.line ?? Infinity, position?.column ?? 0] as const
  const ordered = issues.toSorted((left, right) => {
    const [one, other] = [orderOf(left), orderOf(right)]
    const index = one.findIndex((number, at) => number !== other[at])
    return index < 0 ? 0 : (one[index] ?? 0) - (other[index] ?? 0)
  })
  return new ConfigError(ordered.slice(0, MAX_ISSUES).map(told), Math.max(0, issues.length - MAX_ISSUES))
}

function told({ source, position, path, message }: Issue): ConfigIssue {
  return {
    source,
    ...position,
    ...(path === undefined ? {} : { key: oneLine(path.map(showKey).join('.'), MAX_LINE) }),
    text: oneLine(redact(message).text, MAX_LINE),
  }
}

function lineOf({ source, line, column, key, text }: ConfigIssue): string {
  const place = line === undefined ? source : `${source}:${line}:${column ?? 1}`
  return `${place}: ${key === undefined ? '' : `${key}: `}${text}`
}
