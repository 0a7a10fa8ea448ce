/** Columns and bars of the live view: padded and cut by what is seen, coloured after that. */
import type { Colours } from '../colour.ts'

/** Text that has to keep its column, whatever somebody has named a pod: what is not printable ASCII is a question mark. */
export function plain(text: string): string {
  return text.replaceAll(/[^\x20-\x7e]/g, '?')
}

/** A line of a sentence: without control characters, which would speak to the terminal. */
export function sentence(text: string): string {
  return text.replaceAll(/[\p{Cc}\p{Cf}]+/gu, ' ')
}

/** Cut to `width` columns with an ellipsis, and padded to them. */
export function fit(text: string, width: number, align: 'left' | 'right' = 'left'): string {
  const cut = text.length <= width ? text : `${text.slice(0, Math.max(0, width - 1))}…`
  return align === 'left' ? cut.padEnd(width) : cut.padStart(width)
}

export interface BarPart {
  readonly amount: number
  readonly char: string
  readonly paint: (text: string) => string
}

export interface BarScale {
  readonly columns: number
  /** What a full bar stands for. */
  readonly full: number
  /** Where a line is drawn across the bar. */
  readonly mark?: number | undefined
  readonly colours: Colours
}

/** Parts one after the other, then dots; the mark is drawn over whatever is there. */
export function bar(parts: readonly BarPart[], { columns, full, mark, colours }: BarScale): string {
  const columnOf = (amount: number): number =>
    full <= 0 ? 0 : Math.min(columns, Math.max(0, Math.round((amount / full) * columns)))
  const cells: string[] = []
  let sum = 0
  for (const { amount, char, paint } of parts) {
    sum += amount
    while (cells.length < columnOf(sum)) cells.push(paint(char))
  }
  while (cells.length < columns) cells.push(colours.dim('·'))
  if (mark !== undefined && columns > 0) cells[Math.min(columns - 1, columnOf(mark))] = colours.red('│')
  return cells.join('')
}
