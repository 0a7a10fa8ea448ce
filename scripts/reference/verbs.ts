/** Every verb of the command line, from the table that it is dispatched by. */
import { VERBS } from '../../src/cli/main.ts'
import { code, markdownTable, prose } from './table.ts'

export function verbsReference(): string {
  const rows = Object.values(VERBS).map(({ usage, summary }) => [code(usage), prose(summary)])
  return markdownTable(['Usage', 'What it does'], rows)
}
