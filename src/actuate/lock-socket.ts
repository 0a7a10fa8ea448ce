/**
 * What is said over the socket of a lock. The holder tells its pid to whoever connects; who asks for more may ask it to release the node.
 *
 *   holder  `123\n`       its pid, at once
 *   caller  `release\n`   within half a second, or the holder ends
 *   holder  `begun\n`     from its loop; until then the caller may leave, and nothing has been done
 *   holder  one line      the report, and ends
 *
 * An agent of before this request tells its pid and ends: so does one that can't be asked. Only root can connect, and nobody is believed further
 * than it makes sense.
 */
import { connect, createServer, type Server, type Socket } from 'node:net'
import { errnoOf } from '../model/index.ts'

const ANSWER_MS = 2000
/** How long a holder waits for a request. */
const REQUEST_MS = 500
/** Kernel: PID_MAX_LIMIT is 2^22. */
const PID = /^\d{1,7}\n?$/
const MAX_ANSWER = 64
const MAX_REQUEST = 64
/** In characters: some hundred for each file of a node's pods, twice. */
const MAX_REPORT = 8 << 20
/** Further callers are hung up on. */
const MAX_CALLERS = 16
const RELEASE = 'release\n'
const BEGUN = 'begun\n'
/**
 * Kernel: what connect(2) answers where nobody listens: a dead socket or a plain file, no name at all, a link to itself, a socket of another kind.
 * Anything else (EAGAIN of one with too many callers, EMFILE of this process) says nothing, and a living agent must not pass for a dead one.
 */
const IS_DEAD: ReadonlySet<string> = new Set(['ECONNREFUSED', 'ENOENT', 'ELOOP', 'ENOTSOCK', 'ENOTDIR', 'EPROTOTYPE'])

/** Somebody asks the holder of the lock to release the node. */
export interface ReleaseRequest {
  /** Whether somebody still waits for it: who has left was told that nothing was done. */
  readonly isWanted: boolean
  /** Says that it is being done: from here on the caller waits for the report. */
  begin(): void
  /** Gives the report, any text without line breaks, and ends. */
  answer(report: string): void
}

/** What becomes of a request; undefined where there is nobody who could do it. */
export type ReleaseHandler = (request: ReleaseRequest) => void

/** A listening socket that does not keep the process alive, before it has a name. */
export class LockSocket {
  readonly #server: Server
  readonly #callers = new Set<Socket>()

  constructor(onRelease: ReleaseHandler | undefined) {
    this.#server = createServer((caller) => {
      this.#callers.add(caller)
      caller.once('close', () => this.#callers.delete(caller))
      caller.on('error', () => caller.destroy())
      caller.unref()
      if (onRelease === undefined) caller.end(`${process.pid}\n`)
      else attend(caller, onRelease)
    })
    this.#server.maxConnections = MAX_CALLERS
    this.#server.unref()
  }

  /** Resolves once callers get through. `name` is a path, or an abstract name after a NUL. Rejects with what bind(2) or listen(2) answers. */
  listen(name: string): Promise<void> {
    return new Promise<void>((resolve, reject) => {
      this.#server.once('error', reject)
      this.#server.listen(name, resolve)
    })
  }

  close(): void {
    this.#server.close()
    for (const caller of this.#callers) caller.destroy()
  }
}

function attend(caller: Socket, onRelease: ReleaseHandler): void {
  caller.write(`${process.pid}\n`)
  const timer = setTimeout(() => caller.end(), REQUEST_MS)
  timer.unref()
  caller.once('close', () => clearTimeout(timer))
  let text = ''
  const listen = (data: Buffer): void => {
    text += data.toString('latin1', 0, MAX_REQUEST)
    if (RELEASE.startsWith(text) && text !== RELEASE) return
    clearTimeout(timer)
    caller.off('data', listen)
    if (text === RELEASE) onRelease(new Request(caller))
    else caller.end()
  }
  caller.on('data', listen)
}

class Request implements ReleaseRequest {
  readonly #caller: Socket

  constructor(caller: Socket) {
    this.#caller = caller
    // Read on: else nobody would see that the caller has left.
    caller.resume()
  }

  get isWanted(): boolean {
    return !this.#caller.destroyed && this.#caller.writable && !this.#caller.readableEnded
  }

  begin(): void {
    this.#caller.write(BEGUN)
  }

  answer(report: string): void {
    this.#caller.end(`${report}\n`)
  }
}

/** The pid that who listens tells, 0 for a living one that tells none; undefined where nobody listens. Takes two seconds at most. */
export function ownerOf(path: string): Promise<number | undefined> {
  return new Promise((resolve) => {
    let text = ''
    const socket = connect(path)
    const answer = (): void => {
      clearTimeout(timer)
      socket.destroy()
      // One that accepts but does not answer in time lives all the same.
      resolve(PID.test(text) ? Number(text) : 0)
    }
    // For the whole answer: a talkative one would never be idle.
    const timer = setTimeout(answer, ANSWER_MS)
    socket.on('data', (data) => {
      text += data.toString('latin1', 0, MAX_ANSWER)
      if (text.length >= MAX_ANSWER || text.includes('\n')) answer()
    })
    socket.once('end', answer)
    socket.once('error', (thrown) => {
      clearTimeout(timer)
      resolve(IS_DEAD.has(errnoOf(thrown) ?? '') ? undefined : 0)
    })
  })
}

/** Whether somebody listens; who can't be asked lives. Waits for nobody to answer. */
export function isHeld(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(path)
    socket.once('connect', () => {
      socket.destroy()
      resolve(true)
    })
    socket.once('error', (thrown) => resolve(!IS_DEAD.has(errnoOf(thrown) ?? '')))
  })
}

/**
 * What came of asking the holder to release the node: nobody holds the lock; it can't be asked; it did not begin in time, and will not for this
 * caller; it began and did not finish in time, or ended meanwhile; or its report.
 */
export type Asked =
  { readonly is: 'nobody' | 'deaf' | 'silent' | 'unfinished' | 'ended' } | { readonly is: 'released'; readonly report: string }

/** Asks who listens to release the node. `beginMs` and `finishMs` are how long it may take to begin, and to finish then. */
export function askRelease(
  path: string,
  { beginMs, finishMs }: { readonly beginMs: number; readonly finishMs: number },
): Promise<Asked> {
  return new Promise((resolve) => {
    const lines: string[] = []
    let [pieces, length]: [string[], number] = [[], 0]
    const socket = connect(path)
    const end = (asked: Asked): void => {
      clearTimeout(timer)
      socket.destroy()
      resolve(asked)
    }
    let timer = setTimeout(() => end({ is: 'silent' }), beginMs)
    const take = (line: string): void => {
      lines.push(line)
      if (lines.length === 2) {
        clearTimeout(timer)
        timer = setTimeout(() => end({ is: 'unfinished' }), finishMs)
      } else if (lines.length === 3) end({ is: 'released', report: line })
    }
    socket.setEncoding('utf8')
    socket.once('connect', () => socket.write(RELEASE))
    socket.on('data', (text: string) => {
      length += text.length
      if (length > MAX_REPORT) return end({ is: 'ended' })
      const [first = '', ...more] = text.split('\n')
      pieces.push(first)
      for (const next of more) {
        take(pieces.join(''))
        pieces = [next]
      }
    })
    const ended = (): void => end({ is: lines.length === 0 ? 'silent' : lines.length === 1 ? 'deaf' : 'ended' })
    socket.once('end', ended)
    socket.once('error', (thrown) => {
      const isNobody = lines.length === 0 && IS_DEAD.has(errnoOf(thrown) ?? '')
      if (isNobody) end({ is: 'nobody' })
      else ended()
    })
  })
}
