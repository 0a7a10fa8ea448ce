/**
 * The level of the log while the agent runs: shown to whoever may look, changed only from the node itself. It is the one thing that can be
 * changed over HTTP, and it reaches no further than how much is logged, which has bounds of its own (record/log-limit.ts). A reload of the
 * configuration puts back the configured level.
 */
import { changeLevel, LOG_LEVELS, type Logger, type LogLevel } from '../record/index.ts'
import { type Answer, json, refuse, text } from './answers.ts'
import type { Request } from './request.ts'

/** The longest body that can be a level, with blanks around it, in bytes. */
export const MAX_LEVEL_BYTES = 64

const HOW = 'Change it from this node: curl -X PUT -d debug http://127.0.0.1:PORT/loglevel'

/** The level in force. */
export function showLogLevel({ format }: Request, logger: Logger): Answer {
  return format === 'json' ? json(200, { level: logger.level, levels: LOG_LEVELS }) : text(200, `${logger.level}\n`)
}

/** Takes a new level from the body of a request, and tells the log of it. */
export function setLogLevel({ accept, body = '', peer, origin }: Request, logger: Logger): Answer {
  if (!isLoopback(peer)) return refuse(403, { message: 'the log level can be changed from this node only', hint: HOW }, accept)
  // Browsers name the origin of every PUT: no page, however it got there, is to change anything.
  if (origin !== undefined) return refuse(403, { message: 'the log level is not changed for browsers', hint: HOW }, accept)
  const level = body.trim()
  if (!isLevel(level))
    return refuse(
      400,
      { message: `the body is not one of ${LOG_LEVELS.join(', ')}`, hint: HOW.replace(' it ', ' the level ') },
      accept,
    )
  changeLevel(logger, level, 'PUT /loglevel')
  return text(200, `${level}\n`)
}

function isLevel(text: string): text is LogLevel {
  return LOG_LEVELS.some((level) => level === text)
}

/** An IPv4 peer of a socket that listens on IPv6 too is shown as IPv6. */
function isLoopback(peer: string): boolean {
  return /^(?:::ffff:)?127\.\d+\.\d+\.\d+$/.test(peer) || peer === '::1'
}
