/** Levels of the log while the agent runs: what a signal does to them, what a reload does, and what is told of it. */
import { describe, expect, it } from 'vitest'
import { changeLevel, LogLevels, type LogLevel, Recorder, renderStatus } from '../../../src/record/index.ts'
import { capturedLogger, tick } from './fixtures.ts'

const open = (configured: LogLevel) => {
  const { logger, lines } = capturedLogger(configured)
  return { logger, lines, levels: new LogLevels(logger, configured) }
}

describe('a toggle', () => {
  it.each([
    ['info', 'debug'],
    ['warn', 'debug'],
    ['error', 'debug'],
    ['debug', 'trace'],
    ['trace', 'debug'],
  ] as const)('of a log that is configured as %s goes to %s, and back', (configured, other) => {
    const { logger, levels } = open(configured)
    const seen = [1, 2, 3, 4].map(() => {
      levels.toggle()
      return logger.level
    })
    expect(seen).toEqual([other, configured, other, configured])
  })

  it('is told of in both directions at a level that shows in one of the two, with who asked for it', () => {
    for (const configured of ['info', 'warn', 'error'] as const) {
      const { lines, levels } = open(configured)
      levels.toggle()
      levels.toggle()
      expect(lines).toMatchObject([
        { level: 'info', msg: 'log level changed', from: configured, to: 'debug', by: 'SIGUSR2' },
        { level: 'info', msg: 'log level changed', from: 'debug', to: configured, by: 'SIGUSR2' },
      ])
    }
  })

  it('after a level that was asked for over HTTP gives the details first, and then the configured one', () => {
    const { logger, levels } = open('info')
    changeLevel(logger, 'error', 'PUT /loglevel')
    levels.toggle()
    expect(logger.level).toBe('debug')
    levels.toggle()
    expect(logger.level).toBe('info')
  })

  it('goes back to what the last reload has configured', () => {
    const { logger, levels, lines } = open('info')
    levels.toggle()
    levels.configure('warn')
    expect(logger.level).toBe('warn')
    expect(lines.at(-1)).toMatchObject({ from: 'debug', to: 'warn', by: 'reload' })
    levels.toggle()
    levels.toggle()
    expect([logger.level, levels.configured]).toEqual(['warn', 'warn'])
  })
})

describe('the status', () => {
  it('has the level in force, and says in words when it is not the configured one', () => {
    const { logger, levels } = open('info')
    const options = { version: '0.1.0', nodeName: 'node-a', maxDecisions: 1, startedWallMs: 0, startedMs: 0 }
    const recorder = new Recorder({ ...options, logger, levels })
    recorder.tick(tick())
    expect(recorder.status(12_000).log).toEqual({ level: 'info', configured: 'info' })
    expect(renderStatus(recorder.status(12_000))).not.toMatch(/^log /m)
    levels.toggle()
    expect(recorder.status(12_000).log).toEqual({ level: 'debug', configured: 'info' })
    expect(renderStatus(recorder.status(12_000))).toMatch(/^log {11}level debug, configured info: SIGHUP puts that back$/m)
    expect(new Recorder({ ...options, logger }).status(12_000).log).toBeUndefined()
  })
})
