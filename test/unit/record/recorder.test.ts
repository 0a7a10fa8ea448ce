/** Liveness and readiness, what a status is made from, the logger's own destination, and the cost of a hot tick. */
import { spawnSync } from 'node:child_process'
import { describe, expect, it } from 'vitest'
import { formatDuration } from '../../../src/record/index.ts'
import { labelled, table, wrap } from '../../../src/record/layout.ts'
import { pod, recorder, REGISTERED, STARTED_MS, tick, WEB } from './fixtures.ts'

describe('live', () => {
  it('counts from the start until the first tick', () => {
    const record = recorder()
    expect(record.live(STARTED_MS + 4000, 5000)).toEqual({ ok: true, detail: 'the agent started 4.0 s ago' })
    expect(record.live(STARTED_MS + 6000, 5000)).toEqual({ ok: false, detail: 'the agent started 6.0 s ago, more than 5.0 s' })
  })

  it('is that the loop turns, whether or not its ticks succeed', () => {
    const record = recorder()
    record.tick(tick({ nowMs: 20_000 }))
    expect(record.live(21_000, 5000).ok).toBe(true)
    expect(record.live(26_000, 5000).ok).toBe(false)
    record.tickFailed('boom', { nowMs: 25_000, wallMs: 0 })
    expect(record.live(26_000, 5000)).toEqual({ ok: true, detail: 'the last tick was 1.0 s ago' })
  })
})

describe('ready', () => {
  it('needs a tick', () => {
    const record = recorder()
    expect(record.ready().ok).toBe(false)
    record.tickFailed(new Error('no such file'), { nowMs: 1, wallMs: 1 })
    expect(record.ready().checks[0]).toEqual({ name: 'tick', ok: false, detail: 'failing for 1 tick: no such file' })
    record.tick(tick())
    expect(record.ready()).toEqual({
      ok: true,
      checks: [
        { name: 'tick', ok: true, detail: 'the node has been sensed' },
        { name: 'pods', ok: true, detail: '3 pods from /pods' },
      ],
    })
    expect(record.lastTick()?.snapshot.seq).toBe(1)
    record.tick(tick({ pods: [WEB] }))
    expect(record.ready().checks[1]).toMatchObject({ detail: '1 pod from /pods' })
  })

  it('needs every resource registered where a kubelet is expected', () => {
    const record = recorder()
    record.tick(tick())
    record.resources([
      REGISTERED,
      { ...REGISTERED, resource: 'be-memory', fullName: 'kube-agent.io/be-memory', registered: false },
    ])
    expect(record.ready().ok).toBe(false)
    expect(record.ready().checks.at(-1)).toEqual({
      name: 'kubelet kube-agent.io/be-memory',
      ok: false,
      detail: 'not registered yet',
    })
    record.resources([REGISTERED])
    expect(record.ready().ok).toBe(true)
  })

  it('needs a pod source that was read', () => {
    const record = recorder()
    record.tick(tick({ pods: [], problems: ['/pods: ENOENT'] }))
    expect(record.ready().checks[1]).toEqual({ name: 'pods', ok: false, detail: 'no pods: /pods: ENOENT' })
    record.tick(tick({ seq: 2, pods: [] }))
    expect(record.ready().ok).toBe(true)
    record.tick(tick({ seq: 3, problems: ['/pods/one-of-them.yaml: not YAML'] }))
    expect(record.ready().ok).toBe(true)
  })
})

describe('cost', () => {
  it('of a hot tick with 250 pods is far below the 50 ms between two', () => {
    const record = recorder()
    const pods = Array.from({ length: 250 }, (_, index) => pod(`p${index}`, index % 2 === 0 ? 'BE' : 'OT'))
    record.tick(tick({ pods }))
    const hot = tick({ pods, pace: 'hot', seq: 2, nowMs: 11_050 })
    for (let round = 0; round < 200; round++) record.tick(hot)
    const from = performance.now()
    for (let round = 0; round < 200; round++) record.tick(hot)
    expect((performance.now() - from) / 200).toBeLessThan(2)
  })
})

describe('logger', () => {
  it('writes JSON lines to standard error and flushes them when the process exits', () => {
    const source = `
      import { createLogger } from './src/record/index.ts'
      const logger = createLogger('info')
      for (let n = 0; n < 500; n++) logger.info({ n }, 'line')
      logger.debug({}, 'hidden')
      process.exit(0)`
    const child = spawnSync('node', ['--import', 'tsx', '--input-type=module', '-e', source], { encoding: 'utf8' })
    const lines = child.stderr.trim().split('\n')
    expect(child.stdout).toBe('')
    expect(lines).toHaveLength(500)
    expect(JSON.parse(lines.at(-1) ?? '')).toMatchObject({ level: 'info', n: 499, msg: 'line' })
  })
})

describe('layout', () => {
  it.each([
    [0, '0 ms'],
    [999, '999 ms'],
    [12_400, '12.4 s'],
    [185_000, '3 min 5 s'],
    [8_040_000, '2 h 14 min'],
    [788_400_000, '9 d 3 h'],
  ])('writes %d ms as %j', (ms, text) => {
    expect(formatDuration(ms)).toBe(text)
  })

  it('wraps at spaces, and cuts words that are longer than a line', () => {
    expect(wrap('a b', 2)).toEqual(['  a b'])
    expect(wrap(`a ${'x'.repeat(120)} b`, 0)).toEqual(['a', 'x'.repeat(100), `${'x'.repeat(20)} b`])
    expect(labelled('label', `one ${'y'.repeat(94)}`, 6)).toEqual(['label one', `      ${'y'.repeat(94)}`])
  })

  it('aligns the first column to the left and numbers to the right', () => {
    expect(
      table(
        [
          ['name', 'n'],
          ['a', '100'],
          ['bcd', '7'],
        ],
        ['left'],
      ),
    ).toEqual(['name    n', 'a     100', 'bcd     7'])
  })
})
