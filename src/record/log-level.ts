/**
 * The level of the log while the agent runs. The configured one is in force at the start and after each reload; in between somebody may ask
 * for another one, by a PUT to /loglevel or by the signal SIGUSR2. There is one level in force, that of the logger itself.
 */
import type { Logger } from 'pino'

/** From the one that tells everything to the one that tells the worst only. */
export const LOG_LEVELS = ['trace', 'debug', 'info', 'warn', 'error'] as const
export type LogLevel = (typeof LOG_LEVELS)[number]

/** Who puts a level in force. */
type ChangedBy = 'PUT /loglevel' | 'SIGUSR2' | 'reload'

/** Puts another level in force. It is logged if one of the two levels lets it through. */
export function changeLevel(logger: Logger, level: LogLevel, by: ChangedBy): void {
  const from = logger.level
  if (from === level) return
  const tell = (): void => logger.info({ from, to: level, by }, 'log level changed')
  if (logger.isLevelEnabled('info')) {
    tell()
    logger.level = level
  } else {
    logger.level = level
    tell()
  }
}

export class LogLevels {
  readonly #logger: Logger
  #configured: LogLevel

  /** Of a logger whose level is the configured one. */
  constructor(logger: Logger, configured: LogLevel) {
    this.#logger = logger
    this.#configured = configured
  }

  get inForce(): string {
    return this.#logger.level
  }

  get configured(): LogLevel {
    return this.#configured
  }

  /** Takes the level of a configuration that was read again, and puts it in force, whatever has been asked for since. */
  configure(level: LogLevel): void {
    this.#configured = level
    changeLevel(this.#logger, level, 'reload')
  }

  /** To the level with all details, and from there back to the configured one. Where that has them already, it is to the next that has more. */
  toggle(): void {
    const detailed: LogLevel = this.#configured === 'debug' ? 'trace' : 'debug'
    changeLevel(this.#logger, this.inForce === detailed ? this.#configured : detailed, 'SIGUSR2')
  }
}
