/** The codes of errors as a table for the README: what each exits with, what has happened, and what to do next. */
import { ERRORS } from '../../src/model/index.ts'
import { markdownTable } from './table.ts'

/** A markdown table of the whole catalogue, in its order. */
export function errorsReference(): string {
  const rows = Object.entries(ERRORS).map(([code, { exit, meaning, hint }]) => [`\`${code}\``, String(exit), meaning, hint])
  return markdownTable(['Code', 'Exit', 'What has happened', 'What to do'], rows)
}
