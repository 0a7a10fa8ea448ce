/** What a verb of the command line is. */
import type { ExitCode } from '../model/index.ts'
import type { Completes, Flags, Parsed } from './args.ts'

export interface Verb {
  readonly usage: string
  readonly summary: string
  /** More text for --help; empty when the summary says it all. */
  readonly details: string
  readonly flags: Flags
  readonly maxOperands: number
  /** What shells offer for each operand, or after which one before it; by default files. */
  readonly operands?: readonly (Completes | { readonly after: Readonly<Record<string, Completes>> })[]
  readonly run: (parsed: Parsed) => Promise<ExitCode>
}

/** Writes to standard output. */
export function print(text: string): void {
  process.stdout.write(text.endsWith('\n') ? text : `${text}\n`)
}
