/** What `plan` prints of a tick: the page is golden. */
import { describe, expect, it } from 'vitest'
import { planData, planText } from '../../src/cli/plan.ts'
import { CPUS_STEP, MEMORY, ROOT_STEP, SUPPRESSION, tick, WEB, WISH } from './record/fixtures.ts'

const BUSY = tick({
  mode: 'plan',
  plan: [ROOT_STEP, CPUS_STEP],
  problems: ['/pods/broken.yaml: line 3, column 1: a mapping is not closed'],
  abstentions: [{ code: 'silent', rule: 'capacity' }],
  memory: MEMORY,
  wishes: [WISH],
  suppression: {
    ...SUPPRESSION,
    bound: 'pressure',
    pressure: { source: 'online groups', permyriad: 3100, boundPermyriad: 2000, is: 'cut' },
    ladder: { inForce: ['cpuNarrow'], changedMs: 8700 },
  },
})

describe('plan', () => {
  it('prints the golden page, at most 100 columns wide', async () => {
    const text = planText(BUSY)
    await expect(text).toMatchFileSnapshot('../golden/plan.txt')
    expect(Math.max(...text.split('\n').map((line) => line.length))).toBeLessThanOrEqual(100)
  })

  it('says that there is nothing to change', () => {
    expect(planText(tick({ offers: [] }))).toContain('Nothing to change: 3 pods, every knob is as it should be.')
    expect(planText(tick({ offers: [], pods: [WEB] }))).toContain('Nothing to change: 1 pod, every knob')
  })

  it('gives programs the same steps', () => {
    const data = planData(BUSY)
    expect(data.steps).toMatchObject([
      { group: '/kubepods/besteffort', knob: 'quota', from: 'max', to: '600m (60000/100000 us)' },
      { knob: 'cpuset', from: '0-7', to: '2-3,6-7' },
    ])
    expect(JSON.parse(JSON.stringify(data))).toMatchObject({ offers: [{ resource: 'be-cpu', units: 12 }, {}] })
  })
})
