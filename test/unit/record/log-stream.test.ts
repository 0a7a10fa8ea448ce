/** The log's descriptor in every kind of trouble: nothing is thrown, what waits is whole and in order, what is dropped is counted, an end is in time. */
import { afterEach, describe, expect, it, vi } from 'vitest'
import { LogStream, type LogWriter } from '../../../src/record/log-stream.ts'

const errno = (code: string): Error => Object.assign(new Error(`${code}: a test, write`), { code })

/** A descriptor that takes all, or answers with an errno, or (`hangs`) never. */
class TestWriter implements LogWriter {
  text = ''
  tries = 0
  is: 'fine' | 'hangs' | 'ENOSPC' | 'EIO' | 'EPIPE' | 'EAGAIN' = 'fine'
  /** Bytes that one call takes. */
  mostBytes = Infinity

  write(_fd: number, bytes: Uint8Array, done: (error: Error | null, written: number) => void): void {
    if (this.is === 'hangs') return
    setTimeout(() => {
      try {
        done(null, this.writeSync(_fd, bytes))
      } catch (thrown) {
        done(thrown as Error, 0)
      }
    }, 0)
  }

  writeSync(_fd: number, bytes: Uint8Array): number {
    this.tries += 1
    if (this.is !== 'fine') throw errno(this.is)
    const part = bytes.subarray(0, this.mostBytes)
    this.text += Buffer.from(part).toString('latin1')
    return part.length
  }
}

interface Bed {
  readonly writer: TestWriter
  readonly stream: LogStream
  readonly told: [lost: number, problem: string][]
}

function open(): Bed {
  const writer = new TestWriter()
  const told: [number, string][] = []
  const onLost = (lost: number, problem: string): void => {
    told.push([lost, problem])
    stream.write(`lost ${lost}\n`)
  }
  const stream = new LogStream({ fd: 2, onLost, now: () => performance.now(), writer })
  return { writer, stream, told }
}

const lines = (from: number, to: number): string[] => Array.from({ length: to - from }, (_, index) => `line ${from + index}\n`)

afterEach(() => void vi.useRealTimers())

describe('a descriptor that answers with an error', () => {
  it.each(['ENOSPC', 'EIO', 'EPIPE'] as const)(
    'of %s is tried again, and has every line whole and in order once it takes them',
    async (code) => {
      vi.useFakeTimers()
      const { writer, stream, told } = open()
      const all = lines(0, 50)
      writer.is = code
      for (const line of all.slice(0, 20)) stream.write(line)
      await vi.advanceTimersByTimeAsync(10_000)
      // Neither given up nor tried without a pause.
      expect(writer.tries).toBeGreaterThan(5)
      expect(writer.tries).toBeLessThan(15)
      expect(stream.run).toMatchObject({ lastError: `${code}: a test, write`, failuresInARow: writer.tries })
      for (const line of all.slice(20)) stream.write(line)
      writer.is = 'fine'
      writer.mostBytes = 7
      await vi.advanceTimersByTimeAsync(5000)
      expect(writer.text).toBe(all.join(''))
      expect(stream.run.failuresInARow).toBe(0)
      expect(told).toEqual([])
    },
  )

  it('drops what comes when 4 MiB wait, and tells once how many lines that were', async () => {
    vi.useFakeTimers()
    const { writer, stream, told } = open()
    writer.is = 'ENOSPC'
    const line = `${'x'.repeat(1023)}\n`
    for (let count = 0; count < 4096 + 10; count += 1) stream.write(line)
    await vi.advanceTimersByTimeAsync(3000)
    expect(told).toEqual([])
    writer.is = 'fine'
    await vi.advanceTimersByTimeAsync(3000)
    expect(told).toEqual([[10, 'ENOSPC: a test, write']])
    expect(writer.text).toBe(`${line.repeat(4096)}lost 10\n`)
  })
})

describe('a reader who is behind', () => {
  it('gets all of it later, and is told of as failing once it took nothing for five seconds', async () => {
    vi.useFakeTimers()
    const { writer, stream } = open()
    writer.is = 'EAGAIN'
    stream.write('one\n')
    await vi.advanceTimersByTimeAsync(4000)
    stream.write('two\n')
    expect(stream.run.failures).toBe(0)
    await vi.advanceTimersByTimeAsync(2000)
    for (const line of lines(0, 10)) stream.write(line)
    expect(stream.run).toMatchObject({ failures: 1, lastError: expect.stringContaining('takes nothing') as unknown })
    writer.is = 'fine'
    await vi.advanceTimersByTimeAsync(1000)
    expect(writer.text).toBe(`one\ntwo\n${lines(0, 10).join('')}`)
    expect(stream.run.failuresInARow).toBe(0)
  })
})

describe('flush', () => {
  it.each([
    ['fine', 0, 250],
    ['ENOSPC', 0, 250],
    ['EAGAIN', 250, 500],
  ] as const)('of a descriptor that is %s calls back after %d to %d ms', async (is, leastMs, mostMs) => {
    vi.useFakeTimers()
    const { writer, stream } = open()
    writer.is = is
    stream.write('a line\n')
    const fromMs = performance.now()
    let tookMs = Infinity
    stream.flush(() => (tookMs = performance.now() - fromMs))
    await vi.advanceTimersByTimeAsync(5000)
    expect(tookMs).toBeGreaterThanOrEqual(leastMs)
    expect(tookMs).toBeLessThanOrEqual(mostMs)
    expect(writer.text).toBe(is === 'fine' ? 'a line\n' : '')
  })

  it('calls back at once with nothing to write, and never while a write does not come back', async () => {
    vi.useFakeTimers()
    const { writer, stream } = open()
    const done = vi.fn()
    stream.flush(done)
    expect(done).toHaveBeenCalledOnce()
    writer.is = 'hangs'
    stream.write('a line\n')
    stream.flush(done)
    await vi.advanceTimersByTimeAsync(60_000)
    expect(done).toHaveBeenCalledOnce()
  })
})

describe('the flush at the exit', () => {
  it.each([
    ['ENOSPC', 100],
    ['EIO', 100],
    ['EAGAIN', 2000],
  ] as const)('ends within %s in time', (is, mostMs) => {
    const { writer, stream } = open()
    writer.is = 'hangs'
    stream.write('on its way\n')
    for (const line of lines(0, 5)) stream.write(line)
    writer.is = is
    const fromMs = performance.now()
    stream.flushSync()
    expect(performance.now() - fromMs).toBeLessThan(mostMs)
    expect(writer.tries).toBeGreaterThan(0)
  })

  it('has all that waits, also where each call takes some of it', () => {
    const { writer, stream } = open()
    writer.is = 'hangs'
    stream.write('on its way\n')
    for (const line of lines(0, 5000)) stream.write(line)
    writer.is = 'fine'
    writer.mostBytes = 4096
    stream.flushSync()
    expect(writer.text).toBe(lines(0, 5000).join(''))
  })

  it('writes nothing behind a write that has not come back for long', () => {
    vi.useFakeTimers()
    const { writer, stream } = open()
    writer.is = 'hangs'
    stream.write('on its way\n')
    stream.write('behind it\n')
    vi.advanceTimersByTime(1000)
    writer.is = 'fine'
    stream.flushSync()
    expect(writer.text).toBe('')
  })
})
