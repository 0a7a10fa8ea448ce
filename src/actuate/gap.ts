/**
 * The reserve of a restore journal: a line that says nothing, and that is written over in place where no line can be added any more. The agent goes
 * on writing knobs then, and what it wrote would be known to its memory alone: killed, it would leave values that the next one takes for
 * somebody else's. The line that takes the place of the reserve says that there may be such.
 *
 * It is a header like that at the top, which says nothing new to any agent. Bytes that are there already need no room: a disk that is full, or
 * a quota that is used up, takes them.
 */
import { formatRecord, type Header, parseRecord } from './records.ts'

const LINE_FEED = 0x0a

/** Where the line is, in bytes, its line feed included. */
export interface Reserve {
  readonly at: number
  readonly bytes: number
}

/** The line that may be written over. */
export function reserveLine(made: Omit<Header, 'is'>): string {
  return formatRecord({ is: 'header', ...made })
}

/** What is written over it, of the same length. */
export function gapLine({ bytes }: Reserve): string {
  return formatRecord({ is: 'gap' }, bytes)
}

/** The reserve of a file: its last header, unless that is at the top. Used where it was written over; undefined in a file of an agent before. */
export function reserveOf(file: Buffer): Reserve | 'used' | undefined {
  for (let end = file.lastIndexOf(LINE_FEED); end > 0;) {
    const before = file.lastIndexOf(LINE_FEED, end - 1)
    if (before < 0) return undefined
    const is = parseRecord(file.toString('utf8', before + 1, end))?.is
    if (is === 'gap') return 'used'
    if (is === 'header') return { at: before + 1, bytes: end - before }
    end = before
  }
  return undefined
}
