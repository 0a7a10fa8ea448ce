/**
 * The terminal that the live view runs on: takes the screen and the keyboard, and gives both back however the program ends or pauses. A
 * crash is told on the screen that was there before, or nobody would see it.
 */
import type { EventEmitter } from 'node:events'
import type { ReadStream, WriteStream } from 'node:tty'
import { openFullScreen, type FullScreen } from '../screen.ts'
import { type Key, keysOf } from './state.ts'

export interface TerminalEvents {
  readonly onKey: (key: Key) => void
  /** The screen has to be drawn: it was resized, or is back. */
  readonly onDraw: () => void
  /** SIGTERM, SIGHUP or SIGINT came, or there is no terminal any more. */
  readonly onEnd: () => void
}

export interface Terminal {
  readonly screen: FullScreen
  readonly size: () => { readonly columns: number; readonly rows: number }
  /** Gives the terminal back and stops the program, as Ctrl-Z does, until somebody lets it go on. */
  suspend(): void
  close(): void
}

const END_SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const
/** For a stop that the kernel has ignored, since no shell waits for this program: it goes on at once. */
const STOPPED_MS = 50
/** What a terminal is that does not say how large it is. */
const SIZE = { columns: 80, rows: 24 }

/** Takes the terminal. Without a keyboard (`< /dev/null`) there are no keys, and Ctrl-C comes as a signal. */
export function openTerminal(input: ReadStream, output: WriteStream, events: TerminalEvents): Terminal {
  const size = (): { columns: number; rows: number } => ({
    columns: output.columns > 0 ? output.columns : SIZE.columns,
    rows: output.rows > 0 ? output.rows : SIZE.rows,
  })
  const screen = openFullScreen((text) => void output.write(text), size)
  const takeKeys = (take: boolean): void => {
    if (input.isTTY) input.setRawMode(take)
  }
  const take = (): void => {
    takeKeys(true)
    screen.enter()
    events.onDraw()
  }
  const giveBack = (): void => {
    screen.leave()
    takeKeys(false)
  }
  const suspend = (): void => {
    giveBack()
    // Without a listener the signal does what it does to any program: the kernel stops this one, unless no shell could let it go on.
    process.off('SIGTSTP', suspend)
    process.kill(process.pid, 'SIGTSTP')
    setTimeout(() => {
      if (closed) return
      process.on('SIGTSTP', suspend)
      take()
    }, STOPPED_MS)
  }
  // Stopped without being asked (SIGSTOP), it could not give the screen back: whoever was there in between has written to it.
  const resumed = (): void => {
    giveBack()
    take()
  }
  const resized = (): void => {
    screen.spoil()
    events.onDraw()
  }
  const heard = (chunk: Buffer): void => {
    for (const key of keysOf(chunk.toString('utf8'))) events.onKey(key)
  }
  // A keyboard that is gone is a terminal that is gone; an empty standard input only means that nobody presses keys.
  const noKeys = (): void => {
    if (input.isTTY) events.onEnd()
  }
  const unlisten = [
    ...END_SIGNALS.map((signal) => listen(process, signal, events.onEnd)),
    listen(process, 'SIGCONT', resumed),
    listen(process, 'exit', giveBack),
    listen(process, 'uncaughtExceptionMonitor', giveBack),
    listen(output, 'resize', resized),
    listen(output, 'error', events.onEnd),
    listen(input, 'data', heard),
    listen(input, 'end', noKeys),
    listen(input, 'error', events.onEnd),
  ]
  process.on('SIGTSTP', suspend)
  let closed = false
  const close = (): void => {
    if (closed) return
    closed = true
    giveBack()
    for (const stop of unlisten) stop()
    process.off('SIGTSTP', suspend)
    input.pause()
  }
  takeKeys(true)
  screen.enter()
  return { screen, size, suspend, close }
}

/** Listens until the function that it returns is called. */
function listen(emitter: EventEmitter, event: string, listener: (chunk: Buffer) => void): () => void {
  emitter.on(event, listener)
  return () => void emitter.off(event, listener)
}
