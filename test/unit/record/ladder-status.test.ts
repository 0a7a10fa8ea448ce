/** Status and explain of a node whose ladders are climbed: every line, the problems, the one-line form; pages are golden. */
import { describe, expect, it } from 'vitest'
import type { Claim, SuppressionState } from '../../../src/model/index.ts'
import { IoLimits, NO_DEVICE_LIMITS } from '../../../src/model/index.ts'
import { CpuSet } from '../../../src/cpu/index.ts'
import { briefStatus, renderExplanation, renderStatus } from '../../../src/record/index.ts'
import { BLOCKED, FLINK, GIB, IO, MEMORY, OFFER, recorder, SUPPRESSION, tick, type TickParts, TRAIN, WISH } from './fixtures.ts'

const SQUEEZED: SuppressionState = {
  ...SUPPRESSION,
  bound: 'pressure',
  pressure: { source: 'online groups', permyriad: 3100, boundPermyriad: 2000, is: 'cut' },
  steadiness: { turns: 7, dwellMs: 8000, swings: true },
  ladder: {
    inForce: ['cpuNarrow', 'cpuFreeze'],
    changedMs: 9000,
    waiting: { rung: 'cpuEvict', for: 'impossible', detail: 'evict.enabled is false' },
  },
}

const CLAIMS: readonly (readonly [Claim, ...Claim[]])[] = [
  [
    {
      group: TRAIN.reading.group,
      kind: 'freeze',
      value: 1,
      rule: 'suppressCpu',
      because: { code: 'suppress.freeze', nodePermyriad: 9700, enterPermyriad: 9500 },
    },
  ],
  [
    {
      group: TRAIN.reading.group,
      kind: 'memoryHigh',
      value: GIB,
      rule: 'suppressMemory',
      because: {
        code: 'memory.high',
        rung: 'memoryHighOt',
        qosClass: 'OT',
        availablePermyriad: 937,
        enterPermyriad: 1200,
        workingSetBytes: 1.2 * GIB,
      },
    },
  ],
  [
    {
      group: TRAIN.reading.group,
      kind: 'ioMax',
      value: IoLimits.of([['8:0', { ...NO_DEVICE_LIMITS, writeBps: 5_000_000 }]]),
      rule: 'suppressIo',
      because: { code: 'io.limits', sharePermyriad: 2500, groups: 1, reservedDevices: [] },
    },
  ],
  [
    {
      group: TRAIN.reading.group,
      kind: 'cpuset',
      value: CpuSet.parse('3,7'),
      rule: 'suppressCpu',
      because: { code: 'suppress.narrow', dedicated: '3,7', nodePermyriad: 9700, enterPermyriad: 9000 },
    },
    {
      group: TRAIN.reading.group,
      kind: 'cpuset',
      value: CpuSet.parse('2-3,6-7'),
      rule: 'placement',
      because: { code: 'placement.besteffort', qosClass: 'OT', dedicated: '3,7', shared: '2,6' },
    },
  ],
]

const PARTS: TickParts = {
  suppression: SQUEEZED,
  memory: MEMORY,
  io: { ...IO, missingDevices: ['sdb'] },
  wishes: [{ ...WISH, uid: 'uid-flink', name: 'flink', qosClass: 'BE', rung: 'memoryEvictBe' }],
  evictions: {
    recent: [
      BLOCKED,
      { ...BLOCKED, wish: { ...WISH, uid: 'gone', name: 'old' }, is: 'failed', atMs: 5000, detail: '403: not allowed' },
    ],
    counts: { asked: 0, evicted: 3, forced: 0, blocked: 1, gone: 0, failed: 1, dryRun: 0 },
  },
  claims: CLAIMS,
  actual: [
    [TRAIN.reading.group, 'freeze', 1],
    [
      TRAIN.reading.group,
      'ioMax',
      IoLimits.of([
        ['8:0', { ...NO_DEVICE_LIMITS, writeBps: 5_000_000 }],
        ['8:16', { ...NO_DEVICE_LIMITS, readBps: 1_000_000 }],
      ]),
    ],
  ],
}

const columns = (text: string): number => Math.max(...text.split('\n').map((line) => line.length))

describe('status of a squeezed node', () => {
  it('prints the golden lines', async () => {
    const record = recorder()
    record.tick(tick(PARTS))
    const page = renderStatus(record.status(11_250))
    const from = page.indexOf('\nsuppression') + 1
    const problems = page.slice(page.indexOf('no problems') + 1 || page.search(/^\d+ problems?$/m), from)
    await expect(`${problems}${page.slice(from, page.indexOf('\nidentity'))}`).toMatchFileSnapshot(
      '../../golden/status-ladders.txt',
    )
    expect(columns(page)).toBeLessThanOrEqual(100)
  })

  it('is data that survives JSON', () => {
    const record = recorder()
    record.tick(tick(PARTS))
    const status = record.status(11_000)
    expect(JSON.parse(JSON.stringify(status))).toEqual(status)
    expect(status.ladders).toMatchObject({
      pressure: { source: 'online groups', permyriad: 3100, is: 'cut' },
      steadiness: { swings: true },
      cpu: { inForce: ['cpuNarrow', 'cpuFreeze'] },
      memory: { availablePermyriad: 937 },
      io: { sharePermyriad: 2500 },
      salesStopped: true,
      evictions: { counts: { evicted: 3 }, recent: [{ pod: 'default/train', outcome: 'blocked', agoMs: 2000 }, {}] },
    })
  })

  it('names the rungs in its one line', () => {
    const record = recorder()
    record.tick(tick(PARTS))
    expect(briefStatus(record.status(11_000))).toMatch(
      /^OK .*, cpuNarrow, cpuFreeze, memoryHold, memoryHighOt in force, sales stopped, 4 warnings$/,
    )
  })

  it('says that a rule is off or silent rather than nothing', () => {
    const record = recorder()
    record.tick(tick({ suppression: null }))
    const page = renderStatus(record.status(11_000))
    for (const line of [
      /^CPU ladder +off or silent/m,
      /^memory +not guarded: the rule is off/m,
      /^IO +not held back: the rule is off/m,
      /^evictions +not possible: /m,
    ])
      expect(page).toMatch(line)
  })

  it('warns of a guard that stands aside, and of swinging', () => {
    const record = recorder()
    const pressure = { source: 'online groups', permyriad: 3100, boundPermyriad: 2000, is: 'futile' } as const
    record.tick(tick({ suppression: { ...SQUEEZED, ladder: { inForce: [] }, pressure } }))
    expect(record.status(11_000).problems.map(({ text }) => text.replace(/:.*/, ''))).toEqual([
      'some online task waits for CPU 31 % of the time (cut above 20 %)',
      'the allowance swings',
    ])
  })

  it('forgets a failed eviction after ten minutes', () => {
    const record = recorder()
    record.tick(tick({ evictions: { recent: [{ ...BLOCKED, is: 'failed' }] } }))
    expect(record.status(11_000).problems).toHaveLength(1)
    expect(record.status(9000 + 600_000).problems).toHaveLength(0)
  })
})

describe('late beats', () => {
  it('are a share, of all and of the last', () => {
    const record = recorder()
    record.tick(tick())
    for (let beat = 0; beat < 3000; beat++) record.guardBeat(1, beat < 600)
    expect(renderStatus(record.status(11_000))).toMatch(/^loop .* 3000 guard beats, 600 late \(20 %; 0 % of the last 2400\)$/m)
    expect(record.status(11_000).problems).toEqual([])
  })

  it('are a problem while they are many', () => {
    const record = recorder()
    record.tick(tick())
    for (let beat = 0; beat < 300; beat++) record.guardBeat(30, beat % 10 === 0)
    expect(record.status(11_000).problems).toEqual([
      {
        severity: 'warning',
        text: expect.stringMatching(/^10 % of the last 300 guard beats came late: the agent does not get its turn/) as string,
      },
    ])
    for (let beat = 0; beat < 2400; beat++) record.guardBeat(1, false)
    expect(record.status(11_000).problems).toEqual([])
    expect(record.status(11_000).loop.lastBeats).toEqual({ beats: 2400, late: 0 })
  })
})

describe('explain', () => {
  it('a pod that is narrowed, frozen, reclaimed, limited and kept by a budget', async () => {
    const record = recorder()
    record.tick(tick(PARTS))
    const text = ['pod default/train', 'pod default/flink', 'resource be-cpu']
      .map((subject) => renderExplanation(record.explain(subject, 12_000)))
      .join('\n')
    await expect(text).toMatchFileSnapshot('../../golden/explain-squeezed.txt')
    expect(columns(text)).toBeLessThanOrEqual(100)
  })

  it('takes IO limits of other devices for none of its business', () => {
    const record = recorder()
    record.tick(tick(PARTS))
    const explained = record.explain('pod default/train', 12_000)
    const ioMax = explained.is === 'pod' ? explained.knobs.find(({ knob }) => knob === 'ioMax') : undefined
    expect(ioMax?.note).toBeUndefined()
    expect(ioMax?.desired).toBe('8:0 rbps=max wbps=5000000 riops=max wiops=max')
  })

  it('does not take a weight or limit of the parent for the reason of a difference', () => {
    const record = recorder()
    const claim: Claim = {
      group: FLINK.reading.group,
      kind: 'ioWeight',
      value: 20,
      rule: 'suppressIo',
      because: { code: 'io.weight', qosClass: 'BE', pressed: false },
    }
    record.tick(
      tick({
        claims: [[claim]],
        actual: [
          [FLINK.reading.group, 'ioWeight', 100],
          ['/kubepods/besteffort', 'ioWeight', 50],
        ],
      }),
    )
    const explained = record.explain('pod default/flink', 12_000)
    expect(explained.is === 'pod' && explained.knobs.find(({ knob }) => knob === 'ioWeight')).not.toHaveProperty('note')
  })

  it('a resource that is held before an eviction', () => {
    const record = recorder()
    record.tick(tick({ offers: [{ ...OFFER, units: 4, because: { ...OFFER.because, bound: 'hold' } }] }))
    expect(renderExplanation(record.explain('be-cpu', 12_000))).toMatch(
      /^hold +sales are stopped: capacity shrinks before a pod is evicted$/m,
    )
  })
})

describe('stalls for memory that have proved futile', () => {
  it('are a problem of the status, and in its line about memory', () => {
    const record = recorder()
    record.tick(tick({ memory: { ...MEMORY, stallsFutile: true } }))
    const status = record.status(11_200)
    const told = /memory: .*which offline work is not the reason for/
    expect(status.problems.map(({ text }) => text).filter((text) => told.test(text))).toHaveLength(1)
    expect(status.ladders?.memory?.stallsFutile).toBe(true)
    expect(renderStatus(status).replaceAll(/\s+/g, ' ')).toContain('which offline work is not the reason for')
    record.tick(tick({ seq: 2, memory: MEMORY }))
    expect(record.status(11_200).problems.some(({ text }) => told.test(text))).toBe(false)
  })
})
