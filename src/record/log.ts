/**
 * Logs: one JSON line per change, with a stable `msg` and the data in fields, so that lines can be counted and filtered. Written
 * without a worker and without waiting: a reader of the log that has stalled, or a full disk, must not stall the loop that suppresses
 * offline work, so lines beyond a bound are dropped rather than waited for (log-stream.ts). How many lines there may be a minute is bounded
 * as well (log-limit.ts), and the level can be changed (log-level.ts).
 */
import { performance } from 'node:perf_hooks'
import { type DestinationStream, type Logger as PinoLogger, pino, stdTimeFunctions } from 'pino'
import type { RunState, SuppressionState } from '../model/index.ts'
import { type Change, isFrequent } from './changes.ts'
import { viewOf } from './journal.ts'
import type { LadderChange } from './ladder-changes.ts'
import type { LogLevel } from './log-level.ts'
import { limitLines } from './log-limit.ts'
import { LogStream } from './log-stream.ts'

export type Logger = PinoLogger
const STDERR = 2

/** A logger to `destination`, a stream that takes one line at a time. @default standard error */
export function createLogger(level: LogLevel, destination?: DestinationStream): Logger {
  if (destination === undefined) return openLog(level).logger
  return pino(
    {
      level,
      base: null,
      timestamp: stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
      hooks: { logMethod: limitLines() },
    },
    destination,
  )
}

/** A logger to standard error, and how writing to that goes. What still waits is written when the process exits. */
export function openLog(level: LogLevel): { readonly logger: Logger; readonly run: RunState } {
  const stream = new LogStream({
    fd: STDERR,
    onLost: (lost, problem) => logger.warn({ lost, problem }, 'log lines lost'),
    now: () => performance.now(),
  })
  const logger = createLogger(level, stream)
  process.on('exit', () => stream.flushSync())
  return { logger, run: stream.run }
}

const MESSAGES: Readonly<Record<Change['kind'], string>> = {
  drift: 'knob written by others',
  write: 'knob written',
  refused: 'write refused',
  allowance: 'allowance changed',
  offer: 'offer changed',
  abstain: 'abstention changed',
  pod: 'pod changed',
  finding: 'pod asks for something odd',
  signal: 'node signal changed',
  error: 'error',
  released: 'mode changed',
  rung: 'rung changed',
  blockedRung: 'rung out of reach',
  pressure: 'pressure guard changed',
  swing: 'allowance swings',
  sales: 'sales changed',
  io: 'io changed',
  eviction: 'eviction',
}

/** What somebody should look at is a warning; that it is over is not. */
function ladderLevel(change: LadderChange): 'info' | 'warn' {
  // Nothing of it is in force.
  if (change.kind !== 'eviction' && change.observed !== undefined) return 'info'
  switch (change.kind) {
    case 'rung':
      return change.state.ladder.inForce.length > change.was.length ? 'warn' : 'info'
    case 'blockedRung':
      return change.waiting === undefined ? 'info' : 'warn'
    case 'pressure':
      return change.event === 'futile' ? 'warn' : 'info'
    case 'swing':
      return change.state.swings ? 'warn' : 'info'
    case 'sales':
      return change.stop === undefined ? 'info' : 'warn'
    case 'io':
      return change.event === 'futile' || (change.event === 'devices' && (change.state?.missingDevices.length ?? 0) > 0)
        ? 'warn'
        : 'info'
    case 'eviction':
      return change.record === undefined || change.record.is === 'gone' || change.record.is === 'dryRun' ? 'info' : 'warn'
  }
}

export class ChangeLog {
  readonly #logger: Logger
  #toldAllowanceMilli: number | undefined

  constructor(logger: Logger) {
    this.#logger = logger
  }

  /** One line for each change; nothing for a tick without any. `seq` is the tick's number, to find its lines together. */
  logTick(changes: readonly Change[], seq: number): void {
    for (const change of changes) {
      const level = this.#levelOf(change)
      if (!this.#logger.isLevelEnabled(level)) continue
      const { text, ...fields } = viewOf(change)
      this.#logger[level]({ tick: seq, ...fields, text }, MESSAGES[change.kind])
    }
  }

  /**
   * While the node is hot the allowance moves many times a second, and the quotas of OT pods with it. At `info` only its large
   * moves are told, and the writes that follow from it not at all; `debug` and the journal have them all.
   */
  #levelOf(change: Change): 'debug' | 'info' | 'warn' | 'error' {
    switch (change.kind) {
      case 'allowance':
        return this.#isLarge(change.state) ? 'info' : 'debug'
      case 'write':
        return isFrequent(change) ? 'debug' : 'info'
      case 'drift':
        return change.news.is === 'retried' ? 'info' : 'warn'
      case 'refused':
      case 'finding':
      case 'released':
        return 'warn'
      case 'abstain':
        return change.began && change.abstention.code !== 'starting' ? 'warn' : 'info'
      case 'error':
        return 'error'
      case 'offer':
      case 'pod':
      case 'signal':
        return 'info'
      case 'rung':
      case 'blockedRung':
      case 'pressure':
      case 'swing':
      case 'sales':
      case 'io':
      case 'eviction':
        return ladderLevel(change)
    }
  }

  /** A tenth of the node since the last line, or the floor. */
  #isLarge({ allowanceMilli, inputs, bound }: SuppressionState): boolean {
    const told = this.#toldAllowanceMilli
    const moved = told === undefined || Math.abs(allowanceMilli - told) * 10 >= inputs.capacityMilli
    const sank = bound === 'floor' && told !== allowanceMilli
    if (!moved && !sank) return false
    this.#toldAllowanceMilli = allowanceMilli
    return true
  }
}
