/**
 * The command line as the completions of all shells see it: verbs with their flags and operands, from the table of verbs, so that a new verb
 * or flag is completed without anybody's doing.
 */
import { COMMON_FLAGS, type Completes, type Flag } from '../args.ts'
import type { Verb } from '../verb.ts'

export interface FlagModel {
  readonly long: string
  readonly short: string | undefined
  readonly help: string
  /** What to offer for its value; undefined for a flag without one. */
  readonly value: Completes | undefined
}

export interface VerbModel {
  readonly name: string
  readonly summary: string
  readonly flags: readonly FlagModel[]
  /** What to offer for each operand. */
  readonly operands: readonly OperandModel[]
}

export type OperandModel = Completes | { readonly after: Readonly<Record<string, Completes>> }

/** Every verb of the table. */
export function modelOf(verbs: Readonly<Record<string, Verb>>): readonly VerbModel[] {
  return Object.entries(verbs).map(([name, { summary, flags, maxOperands, operands }]) => ({
    name,
    summary,
    flags: Object.entries({ ...flags, ...COMMON_FLAGS }).map(flagModel),
    // Where a verb takes operands and says nothing of them they are most likely files.
    operands: operands ?? Array.from({ length: maxOperands }, () => 'file' as const),
  }))
}

function flagModel([long, { type, short, help, value, completes }]: readonly [string, Flag]): FlagModel {
  const byDefault: Completes = value === 'FILE' || value === 'DIR' || value === 'OUT' ? 'file' : []
  return { long, short, help, value: type === 'boolean' ? undefined : (completes ?? byDefault) }
}

/** In single quotes for any shell that is like Bourne's: nothing in it means anything. */
export function quoted(text: string): string {
  return `'${text.replaceAll("'", String.raw`'\''`)}'`
}
