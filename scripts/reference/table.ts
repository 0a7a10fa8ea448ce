/** Tables in Markdown, as the references of the README are made of, in the form that prettier leaves as it is: its check covers the README. */

/** A table with a head, its columns aligned. A bar within a cell would begin another one, so it is escaped; cells have no line breaks. */
export function markdownTable(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const lines = [head, ...rows].map((cells) => cells.map((cell) => cell.replaceAll('|', String.raw`\|`)))
  const widths = head.map((_, column) => Math.max(3, ...lines.map((cells) => cells[column]?.length ?? 0)))
  const line = (cells: readonly string[]) => `| ${cells.map((cell, column) => cell.padEnd(widths[column] ?? 0)).join(' | ')} |\n`
  const [first = [], ...others] = lines
  return `${line(first)}${line(widths.map((width) => '-'.repeat(width)))}${others.map(line).join('')}`
}

/** A text as it is typed. */
export function code(text: string): string {
  return `\`${text}\``
}

/** What Markdown would take for markup, taken literally. Within words `_` is no markup. */
export function prose(text: string): string {
  return text.replaceAll(/[\\*<`]|(?<!\w)_|_(?!\w)/g, String.raw`\$&`)
}
