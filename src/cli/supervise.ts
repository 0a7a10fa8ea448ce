/**
 * What the agent tells a service manager that asks for it (sd_notify(3), NOTIFY_SOCKET): that it is ready, how it stands, that it stops, and
 * the keep-alive of the watchdog. The keep-alive is sent by finished ticks and by nothing else: an agent whose ticks fail or hang is
 * restarted, however well its timers run. A synchronous call that never returns can't be seen from inside; this, and a livenessProbe on
 * /livez, is how it is seen from outside.
 */
import { execFile } from 'node:child_process'
import type { TickSink } from '../agent/index.ts'
import { openDatagrams, type SendDatagram } from '../kernel/index.ts'
import { errnoOf, messageOf } from '../model/index.ts'
import type { Logger } from '../record/index.ts'

type Environment = Readonly<Record<string, string | undefined>>

/** How long after the first tick the manager still waits for the kubelet: limits are in force by then, and must not be given up. */
const READY_PATIENCE_MS = 30_000
const STATUS_MS = 10_000
/** Of the watchdog's time, between two keep-alives: what is left is for a late tick. */
const KEEP_ALIVES = 4
/** The watchdog's time must be so many calm pauses at least. */
const LEAST_TICKS = 3
const HELPER = 'systemd-notify'
const HELPER_MS = 5_000

export interface SupervisionOptions {
  readonly environment: Environment
  readonly logger: Logger
  /** Longest pause between two ticks. */
  readonly calmMs: number
  /** Whether the agent does its work. */
  readonly isReady: () => boolean
  /** How it stands, in one line. */
  readonly brief: (nowMs: number) => string
  /** Opens the way to the manager; another one in tests. Throws where koffi is missing. */
  readonly open?: (socket: string) => SendDatagram
}

/** Undefined without a manager that wants to be told, and where there is no way to tell it. */
export function openSupervision(options: SupervisionOptions): Supervision | undefined {
  const socket = options.environment['NOTIFY_SOCKET'] ?? ''
  if (socket === '') return undefined
  return new Supervision(options, openWay(socket, options))
}

/** koffi's sendto(2), or a helper process for each message where that is not there. */
function openWay(socket: string, { open = openDatagrams, logger, environment }: SupervisionOptions): SendDatagram {
  try {
    return open(socket)
  } catch (thrown) {
    const problem = errnoOf(thrown) === 'MODULE_NOT_FOUND' ? 'the optional package koffi is not installed' : messageOf(thrown)
    logger.warn({ problem, instead: HELPER }, 'service manager is told by a helper process')
    return helperWay(environment, logger)
  }
}

/** One helper at a time: a message that finds one running is dropped, except the first and the last, which wait for its end. */
function helperWay(environment: Environment, logger: Logger): SendDatagram {
  // Only what finds the program and the socket is handed on.
  const env = { PATH: environment['PATH'] ?? '/usr/bin:/bin', NOTIFY_SOCKET: environment['NOTIFY_SOCKET'] ?? '' }
  let running = false
  let waiting: string | undefined
  let problem = ''
  const ended = (error: Error | null): void => {
    running = false
    const isMissing = errnoOf(error) === 'ENOENT'
    const now = isMissing ? `neither koffi nor ${HELPER} is installed` : error === null ? '' : messageOf(error).trim()
    if (isMissing) logger.error({ problem: now }, 'service manager can not be told: use Type=exec and no WatchdogSec')
    else if (now !== '' && now !== problem) logger.warn({ problem: now }, 'service manager could not be told')
    problem = now
    const next = waiting
    waiting = undefined
    // Without the program there is nothing to be tried again.
    if (next !== undefined && !isMissing) send(next)
    running ||= isMissing
  }
  const send = (text: string): undefined => {
    if (running) {
      if (/^(?:READY|STOPPING)=/m.test(text)) waiting = text
      return
    }
    running = true
    execFile(HELPER, text.split('\n'), { env, timeout: HELPER_MS, killSignal: 'SIGKILL' }, ended).unref()
  }
  return send
}

export class Supervision {
  readonly #options: SupervisionOptions
  readonly #send: SendDatagram
  /** Infinity where no keep-alive is asked for. */
  readonly #keepAliveMs: number
  #problem: string | undefined
  #isReady = false
  #firstMs: number | undefined
  #keptAliveMs = -Infinity
  #toldMs = -Infinity

  constructor(options: SupervisionOptions, send: SendDatagram) {
    this.#options = options
    this.#send = send
    this.#keepAliveMs = this.#watchdogMs() / KEEP_ALIVES
  }

  /** A sink that tells the manager of each tick that the given one was told of. */
  watch(sink: TickSink): TickSink {
    return {
      tick: (record) => {
        sink.tick(record)
        this.#ticked(record.snapshot.nowMs)
      },
      tickFailed: (thrown, at) => sink.tickFailed(thrown, at),
      guardBeat: (lateMs, late) => sink.guardBeat(lateMs, late),
    }
  }

  /** The agent ends of itself. */
  stopping(): void {
    this.#tell('STOPPING=1\nSTATUS=stopping')
  }

  #ticked(nowMs: number): void {
    this.#firstMs ??= nowMs
    const lines: string[] = []
    if (!this.#isReady && this.#becomesReady(nowMs, this.#firstMs)) {
      this.#isReady = true
      lines.push('READY=1')
    }
    if (this.#keepAliveMs < Infinity && nowMs - this.#keptAliveMs >= this.#keepAliveMs) {
      this.#keptAliveMs = nowMs
      lines.push('WATCHDOG=1')
    }
    if (lines.includes('READY=1') || nowMs - this.#toldMs >= STATUS_MS) {
      this.#toldMs = nowMs
      lines.push(`STATUS=${this.#options.brief(nowMs).replaceAll(/\s+/g, ' ')}`)
    }
    if (lines.length > 0) this.#tell(lines.join('\n'))
  }

  #becomesReady(nowMs: number, firstMs: number): boolean {
    const { isReady, logger } = this.#options
    if (isReady()) return true
    if (nowMs - firstMs < READY_PATIENCE_MS) return false
    logger.warn({ afterMs: READY_PATIENCE_MS }, 'service manager is told of readiness though /readyz is not')
    return true
  }

  /** Time after which the manager takes the agent for dead. One too short for the calm pace is made longer. */
  #watchdogMs(): number {
    const { environment, calmMs, logger } = this.#options
    const pid = environment['WATCHDOG_PID'] ?? ''
    const us = Number(environment['WATCHDOG_USEC'] ?? '')
    if (!(us > 0) || !Number.isFinite(us) || (pid !== '' && Number(pid) !== process.pid)) return Infinity
    const leastMs = calmMs * LEAST_TICKS
    if (us / 1000 >= leastMs) return us / 1000
    logger.warn({ watchdogMs: us / 1000, leastMs }, 'WatchdogSec is too short for loop.calmMs: the manager is asked for more')
    this.#tell(`WATCHDOG_USEC=${leastMs * 1000}`)
    return leastMs
  }

  /** Never throws: a manager that does not listen is no reason for a tick to fail. Told once per change. */
  #tell(text: string): void {
    let problem: string | undefined
    try {
      problem = this.#send(text)
    } catch (thrown) {
      problem = messageOf(thrown)
    }
    if (problem !== undefined && problem !== this.#problem)
      this.#options.logger.warn({ problem }, 'service manager could not be told')
    this.#problem = problem
  }
}
