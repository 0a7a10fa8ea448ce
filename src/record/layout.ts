/**
 * Plain text for terminals: aligned columns, wrapped and clipped lines, durations, counted nouns. No colours, since the same text goes over
 * HTTP, into tickets and through grep.
 */

/** A terminal that is wide enough for a page and still fits beside another window. */
export const WIDTH = 100

/**
 * A duration in its two most telling units: `340 ms`, `12.4 s`, `3 min 5 s`, `2 h 14 min`, `9 d 3 h`. `ms` may not be
 * negative.
 */
export function formatDuration(ms: number): string {
  if (ms < 1000) return `${Math.round(ms)} ms`
  if (ms < 60_000) return `${(ms / 1000).toFixed(1)} s`
  const minutes = Math.floor(ms / 60_000)
  if (minutes < 60) return `${minutes} min ${Math.floor((ms % 60_000) / 1000)} s`
  const hours = Math.floor(minutes / 60)
  return hours < 24 ? `${hours} h ${minutes % 60} min` : `${Math.floor(hours / 24)} d ${hours % 24} h`
}

/** `1 unit`, `12 units`. */
export function count(amount: number, noun: string): string {
  return `${amount} ${noun}${amount === 1 ? '' : 's'}`
}

/** At most `width` characters, with an ellipsis for what was cut. */
export function clip(text: string, width: number): string {
  return text.length <= width ? text : `${text.slice(0, Math.max(0, width - 1))}…`
}

/** Text broken at spaces into lines that fit into WIDTH after `indent` spaces; a word that is longer is cut in pieces. */
export function wrap(text: string, indent: number): readonly string[] {
  const width = WIDTH - indent
  const lines: string[] = []
  let line = ''
  for (const word of text.split(/\s+/)) {
    let rest = word
    if (line !== '' && line.length + 1 + rest.length > width) {
      lines.push(line)
      line = ''
    }
    for (; rest.length > width; rest = rest.slice(width)) lines.push(rest.slice(0, width))
    line = line === '' ? rest : `${line} ${rest}`
  }
  return [...lines, line].map((part) => `${' '.repeat(indent)}${part}`)
}

/** A label in a column of its own and a text beside it, wrapped under itself. */
export function labelled(label: string, text: string, column: number): readonly string[] {
  const [first = '', ...rest] = wrap(text, column)
  return [`${`${label} `.padEnd(column)}${first.trimStart()}`, ...rest]
}

/**
 * Rows in columns two spaces apart: the first to the left, the others as `align` says, to the right without it. No
 * trailing spaces.
 */
export function table(rows: readonly (readonly string[])[], align: readonly ('left' | 'right')[]): readonly string[] {
  const widths: number[] = []
  for (const row of rows) for (const [index, cell] of row.entries()) widths[index] = Math.max(widths[index] ?? 0, cell.length)
  return rows.map((row) =>
    row
      .map((cell, index) =>
        (align[index] ?? 'right') === 'left' ? cell.padEnd(widths[index] ?? 0) : cell.padStart(widths[index] ?? 0),
      )
      .join('  ')
      .trimEnd(),
  )
}

/** A CPU list with room to break lines in; `-` for the empty one. */
export function spread(cpus: { toString(): string }): string {
  const text = cpus.toString()
  return text === '' ? '-' : text.replaceAll(',', ', ')
}
