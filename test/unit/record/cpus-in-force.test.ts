/**
 * Which CPUs pods may run on while cpuNarrow is in force: status, its map, the classes of `top` and the page, and explain say the same, and
 * what the cpusets say. The node is the desktop of the fixtures: CPUs 0-7, of which 0,4 are reserved and 3,7 dedicated.
 */
import { describe, expect, it } from 'vitest'
import { CpuSet } from '../../../src/cpu/index.ts'
import type { Claim, ClassifiedPod, PlacementState } from '../../../src/model/index.ts'
import { cpusInForce, renderExplanation, renderStatus } from '../../../src/record/index.ts'
import { FLINK, pod, recorder, SUPPRESSION, tick, type TickParts, TRAIN, WEB } from './fixtures.ts'

/** Without the breaks of long lines. */
const flat = (text: string): string => text.replaceAll(/\n +(?=[a-z(])/g, ' ')

const set = (cpus: string): CpuSet => CpuSet.parse(cpus)

/** A claim as placement or the rung makes it. */
function bound({ reading, qosClass }: ClassifiedPod, cpus: string, by: 'placement' | 'narrow'): readonly [Claim] {
  const because: Claim['because'] =
    by === 'narrow'
      ? { code: 'suppress.narrow', dedicated: '', nodePermyriad: 9700, enterPermyriad: 9000 }
      : { code: 'placement.besteffort', qosClass: qosClass === 'OT' ? 'OT' : 'BE', dedicated: '', shared: cpus }
  const rule = by === 'narrow' ? 'suppressCpu' : 'placement'
  return [{ group: reading.group, kind: 'cpuset', value: set(cpus), rule, because }]
}

/** All CPUs but the reserved are in the pool, and offline pods may use 1-3 and 5-7. */
const SHARED: Partial<PlacementState> = {
  pool: set('1-3,5-7'),
  dedicated: CpuSet.EMPTY,
  bestEffort: set('1-3,5-7'),
  unpinned: set('1-3,5-7'),
}
const LADDER = { ...SUPPRESSION, ladder: { inForce: ['cpuNarrow'] as const } }
const NARROWED: TickParts = {
  suppression: LADDER,
  placement: SHARED,
  claims: [bound(FLINK, '3,7', 'narrow'), bound(TRAIN, '3,7', 'narrow')],
}
const WHOLE: TickParts = {
  placement: SHARED,
  claims: [bound(FLINK, '1-3,5-7', 'placement'), bound(TRAIN, '1-3,5-7', 'placement')],
}

function told(parts: TickParts) {
  const record = recorder()
  record.tick(tick(parts))
  const status = record.status(12_000, { pods: true })
  const explained = (cpu: number): string => renderExplanation(record.explain(`cpu ${cpu}`, 12_000))
  return { record, status, page: renderStatus(status), explained }
}

const cpusOf = ({ status }: ReturnType<typeof told>, qosClass: string): string | undefined =>
  status.classes?.find((each) => each.qosClass === qosClass)?.cpus

describe('while cpuNarrow is in force', () => {
  it('status has the narrowed set, what it was, and the rung', () => {
    const { page, status } = told(NARROWED)
    expect(page).toContain('\n  best effort   1-3, 5-7, narrowed to 3, 7 by cpuNarrow\n')
    expect(status.placement).toMatchObject({ bestEffort: '3,7', narrowedFrom: '1-3,5-7' })
  })

  it('the map gives offline pods only what they have, and its caption says why', () => {
    const { page, status } = told(NARROWED)
    const [, caption = '', cores] = /^(CPU map: [^]*?)\n {2}socket 0 node 0 core 0 {2}(.*)$/m.exec(page) ?? []
    expect(caption.replaceAll('\n', ' ')).toBe(
      'CPU map: L online pool, l online pool and offline pods, S reserved; offline pods are narrowed to 3, 7 by cpuNarrow',
    )
    expect(cores).toBe('SS LL LL ll')
    expect(status.cpuMapNote).toBe('offline pods are narrowed to 3, 7 by cpuNarrow')
  })

  it('the classes of top and the page have the narrowed set', () => {
    const narrowed = told(NARROWED)
    expect([cpusOf(narrowed, 'BE'), cpusOf(narrowed, 'OT'), cpusOf(narrowed, 'LS')]).toEqual(['3,7', '3,7', '1-3,5-7'])
  })

  it('explain of a CPU that was taken counts no pod that is bound elsewhere', () => {
    const text = told(NARROWED).explained(1)
    expect(flat(text)).toContain(
      'whose         the online pool; no offline pod runs there: offline pods are narrowed to 3, 7 by cpuNarrow\n',
    )
    expect(text).toContain('  not in best effort  1-3, 5-7, narrowed to 3, 7 by cpuNarrow\n')
    expect(text).toMatch(/^BE +no +0 of 1$/m)
    expect(text).toMatch(/^OT +no +0 of 1$/m)
  })

  it('explain of a CPU that is left counts those that are bound to it', () => {
    const text = told(NARROWED).explained(7)
    expect(text).toContain('whose         the online pool; offline pods may run there too, narrowed to 3, 7 by cpuNarrow\n')
    expect(text).toMatch(/^BE +yes +1 of 1$/m)
  })

  it('pods that were pinned are told of by where they run now', () => {
    const other = pod('spark', 'BE')
    const parts: TickParts = {
      ...NARROWED,
      pods: [WEB, FLINK, other],
      placement: {
        ...SHARED,
        pinned: [
          { uid: 'uid-flink', cpus: set('2-3') },
          { uid: 'uid-spark', cpus: set('5-6') },
        ],
      },
      claims: [bound(FLINK, '3', 'narrow'), bound(other, '3,7', 'narrow')],
    }
    const { page, explained, record } = told(parts)
    expect(page).toContain('  BE pod        default/flink: 2-3, narrowed to 3 by cpuNarrow\n')
    expect(page).toContain('  BE pod        default/spark: 5-6, narrowed to 3, 7 by cpuNarrow\n')
    expect(explained(7)).toMatch(/^BE +yes +1 of 2$/m)
    expect(explained(3)).toMatch(/^BE +yes +2 of 2$/m)
    expect(explained(3)).toContain('the online pool; offline pods may run there too, narrowed')
    expect(explained(5)).toMatch(/^BE +no +0 of 2$/m)
    expect(renderExplanation(record.explain('pod default/spark', 12_000))).toContain('no longer its own')
  })

  it('what LSR pods share is less too', () => {
    const api = pod('api', 'LSR')
    const exclusive = [{ uid: 'uid-api', qosClass: 'LSR', cpus: set('2,6'), shared: set('6') }] as const
    const placement = { ...SHARED, pool: set('1,3,5,7'), bestEffort: set('1,3,5-7'), exclusive }
    const { page, explained, record } = told({ ...NARROWED, pods: [api, FLINK], placement })
    expect(page).toContain('  LSR pod       default/api: 2, 6\n')
    expect(page).toContain('core 0  SS LL RR ll')
    expect(flat(explained(6))).toContain(
      'LSR pod default/api; nobody else runs there: offline pods are narrowed to 3, 7 by cpuNarrow',
    )
    expect(renderExplanation(record.explain('pod default/api', 12_000))).toContain('nobody else runs there.')
  })
})

describe('else', () => {
  it('all of them have what placement gives', () => {
    const whole = told(WHOLE)
    expect(whole.page).toContain('\n  best effort   1-3, 5-7\n')
    expect(whole.page).toContain('\nCPU map: l online pool and offline pods, S reserved\n')
    expect(cpusOf(whole, 'BE')).toBe('1-3,5-7')
    expect(whole.explained(1)).toContain('the online pool; offline pods may run there too\n')
    expect(whole.status).not.toHaveProperty('cpuMapNote')
  })

  it('a rung that leaves all of them to offline pods takes nothing', () => {
    const { decision } = tick({ ...NARROWED, placement: { ...SHARED, bestEffort: set('3,7') } })
    expect(cpusInForce(decision)).toEqual({ bestEffort: set('3,7') })
  })

  it('a pod that is bound to CPUs of its own is counted there only', () => {
    const parts = { ...WHOLE, claims: [bound(FLINK, '2', 'placement'), bound(TRAIN, '1-3,5-7', 'placement')] }
    expect(told(parts).explained(1)).toMatch(/^BE +yes +0 of 1$/m)
    expect(told(parts).explained(2)).toMatch(/^BE +yes +1 of 1$/m)
    expect(told(parts).explained(1)).toMatch(/^LS +yes +1 of 1 \(1 not bound to any CPUs\)$/m)
  })
})
