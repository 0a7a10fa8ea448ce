/** One line per change, stable messages, data in fields; nothing in steady state. */
import { describe, expect, it } from 'vitest'
import type { Outcome } from '../../../src/model/index.ts'
import { capturedLogger, CPUS_STEP, recorder, SUPPRESSION, tick, writingTick } from './fixtures.ts'

describe('log', () => {
  it('writes one line per change, with the data in fields', () => {
    const { logger, lines } = capturedLogger()
    recorder(logger).tick(writingTick({ seq: 7 }))
    expect(lines.map(({ msg }) => msg)).toEqual([
      'pod changed',
      'pod changed',
      'pod changed',
      'allowance changed',
      'offer changed',
      'offer changed',
      'knob written',
    ])
    expect(lines.at(-1)).toMatchObject({
      level: 'info',
      tick: 7,
      kind: 'write',
      pod: 'default/flink',
      knob: 'cpuset',
      from: '0-7',
      to: '2-3,6-7',
      outcome: 'applied',
    })
    expect(lines.at(-1)?.['time']).toMatch(/^\d{4}-\d\d-\d\dT/)
  })

  it('is silent in steady state', () => {
    const { logger, lines } = capturedLogger('trace')
    const record = recorder(logger)
    record.tick(tick())
    const before = lines.length
    for (let seq = 2; seq < 200; seq++)
      record.tick(tick({ seq, nowMs: 11_000 + seq * 50, pace: seq % 20 === 0 ? 'calm' : 'hot' }))
    expect(lines.length).toBe(before)
  })

  it('tells a refused write once per change, as a warning', () => {
    const { logger, lines } = capturedLogger('warn')
    const record = recorder(logger)
    const outcomes: readonly Outcome[] = [
      { is: 'refused', errno: 'EINVAL' },
      { is: 'refused', errno: 'EINVAL' },
      { is: 'forbidden', errno: 'EROFS' },
    ]
    for (const [index, outcome] of outcomes.entries())
      record.tick(tick({ seq: index + 1, plan: [CPUS_STEP], outcomes: [outcome] }))
    expect(lines.map(({ level, msg, outcome }) => ({ level, msg, outcome }))).toEqual([
      { level: 'warn', msg: 'write refused', outcome: 'refused' },
      { level: 'warn', msg: 'write refused', outcome: 'forbidden' },
    ])
  })

  it('keeps small moves of the allowance, and the writes that follow it, at debug', () => {
    const moves = [600, 640, 1500, 1500 + 790, 160, 161]
    const told = (level: 'info' | 'debug') => {
      const { logger, lines } = capturedLogger(level)
      const record = recorder(logger)
      for (const [index, allowanceMilli] of moves.entries()) {
        const suppression = {
          ...SUPPRESSION,
          allowanceMilli,
          bound: allowanceMilli === 160 ? ('floor' as const) : SUPPRESSION.bound,
        }
        record.tick(writingTick({ seq: index + 1, nowMs: 11_000 + index * 70_000, suppression, pods: [], offers: [] }))
      }
      return lines
        .filter(({ kind, knob }) => kind === 'allowance' || knob === 'quota')
        .map(({ kind, to }) => (kind === 'write' ? 'quota' : to))
    }
    expect(told('info')).toEqual(['600m, OT 80m', '1500m, OT 80m', '160m, OT 80m'])
    expect(told('debug')).toHaveLength(moves.length * 2)
  })

  it('tells a failing tick once per message, with its stack', () => {
    const { logger, lines } = capturedLogger()
    const record = recorder(logger)
    for (const message of ['boom', 'boom', 'bang']) record.tickFailed(new Error(message), { nowMs: 2000, wallMs: 3000 })
    record.tick(tick({ pods: [], offers: [], suppression: null }))
    record.tickFailed(new Error('bang'), { nowMs: 12_000, wallMs: 3000 })
    expect(lines.map(({ msg, err }) => [msg, (err as { message: string }).message])).toEqual([
      ['tick failed', 'boom'],
      ['tick failed', 'bang'],
      ['tick failed', 'bang'],
    ])
    expect(record.journal({}).entries.map(({ text }) => text)).toEqual([
      'tick failed: boom',
      'tick failed: bang',
      'tick failed: bang',
    ])
  })

  it('tells of reloads', () => {
    const { logger, lines } = capturedLogger()
    const record = recorder(logger)
    record.configReload('applied')
    record.configReload('rejected', 'line 3: unknown key')
    expect(lines.map(({ level, msg }) => `${String(level)} ${String(msg)}`)).toEqual([
      'info configuration reloaded',
      'error configuration rejected, the last good one stays',
    ])
    expect(record.journal({}).entries.map(({ kind, text }) => `${kind} ${text}`)).toEqual([
      'error configuration rejected: line 3: unknown key',
    ])
  })

  it('tells of reloads without what looks like a secret: in the log, the journal, the status and what lasts', () => {
    const { logger, lines } = capturedLogger()
    const record = recorder(logger)
    record.configReload('rejected', 'a.yaml:3:9: got "https://admin:hunter2@10.0.0.1:6443"')
    for (let seq = 1; seq < 200; seq += 1) record.tick(tick({ seq, nowMs: 11_000 + seq * 1000 }))
    const status = record.status(211_000)
    expect(status.degraded).toMatchObject([{ reason: 'ConfigRejected' }])
    const told = [lines, record.journal({}).entries, status]
    for (const one of told) expect(JSON.stringify(one)).toContain('https://[redacted]@10.0.0.1:6443')
    expect(JSON.stringify(told)).not.toContain('hunter2')
  })
})
