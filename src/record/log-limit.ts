/**
 * How many lines a minute are logged: a fault with a new text on every tick, or a pod source with a thousand broken objects, must not fill
 * the node's disk or cost the loop its time. Errors and warnings have a budget of their own, so that no flood of others hides them; lines
 * beyond it are counted, and the count is a line at the end of the minute.
 */
import type { LoggerOptions } from 'pino'

const WINDOW_MS = 60_000

export type LogBand = 'problems' | 'news' | 'details'

/** Lines a minute. A reader of details has asked for many. */
export const LOG_LINES_PER_MINUTE: Readonly<Record<LogBand, number>> = { problems: 300, news: 600, details: 12_000 }

/** Pino: the numbers of the levels. */
const INFO = 30
const WARN = 40

function bandOf(level: number): LogBand {
  if (level >= WARN) return 'problems'
  return level >= INFO ? 'news' : 'details'
}

interface Window {
  lines: number
  suppressed: number
}

/** The hook that lets a line through or counts it. A minute begins with its first line. */
export function limitLines(): NonNullable<NonNullable<LoggerOptions['hooks']>['logMethod']> {
  const open = new Map<LogBand, Window>()
  return function limit(words, write, level): void {
    const band = bandOf(level)
    const window = open.get(band) ?? { lines: 0, suppressed: 0 }
    if (window.lines === 0) {
      open.set(band, window)
      const end = setTimeout(() => {
        open.delete(band)
        const { suppressed } = window
        // As a line of the band it is told of: whoever reads that band is to see it, and it can't be suppressed itself.
        if (suppressed > 0)
          write.apply(this, [{ suppressed, band, perMinute: LOG_LINES_PER_MINUTE[band] }, 'log lines suppressed'])
      }, WINDOW_MS)
      // The log must not keep the process alive.
      end.unref()
    }
    window.lines += 1
    if (window.lines > LOG_LINES_PER_MINUTE[band]) window.suppressed += 1
    else write.apply(this, words)
  }
}
