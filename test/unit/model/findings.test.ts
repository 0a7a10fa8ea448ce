/** The texts about odd pods: short enough for an event, with a reason of their own, and ending in what to do. */
import { describe, expect, it } from 'vitest'
import type { FindingCode, PodProblem } from '../../../src/model/index.ts'
import { FINDING_REASONS, findingText } from '../../../src/model/index.ts'

const be = 'kube-agent.io/be-cpu'
const ot = 'kube-agent.io/ot-cpu'
const key = 'kube-agent.io/qos-class'

const EXAMPLES: { readonly [Code in FindingCode]: readonly Extract<PodProblem, { code: Code }>[] } = {
  halfAsked: [
    { code: 'halfAsked', has: be, lacks: 'kube-agent.io/be-memory' },
    { code: 'halfAsked', has: 'kube-agent.io/be-memory', lacks: be },
    { code: 'halfAsked', has: 'kube-agent.io/ot-memory', lacks: ot },
  ],
  initContainer: [{ code: 'initContainer', resource: be, container: 'fetch' }],
  labelContradicts: [
    { code: 'labelContradicts', key, value: 'LS', resource: be, taken: 'BE' },
    { code: 'labelContradicts', key, value: 'OT', resource: be, taken: 'OT' },
  ],
  labelIgnored: [{ code: 'labelIgnored', key, value: 'BE', kubeletQos: 'Burstable' }],
  labelUnknown: [{ code: 'labelUnknown', key, value: 'be', taken: 'UNTAGGED' }],
  twoKinds: [{ code: 'twoKinds', first: be, second: ot, taken: 'OT' }],
  requestsToo: [{ code: 'requestsToo', resource: be, kubeletQos: 'Burstable' }],
  noExclusiveCpus: [
    { code: 'noExclusiveCpus', qosClass: 'LSX', wantedCpus: 8, freeCpus: 6 },
    { code: 'noExclusiveCpus', qosClass: 'LSR', wantedCpus: 1, freeCpus: 0 },
  ],
  fraction: [{ code: 'fraction', resource: be, asked: '1500m', taken: 2 }],
  unfollowed: [
    { code: 'unfollowed', standsStill: true },
    { code: 'unfollowed', standsStill: false },
  ],
  noCpuRequest: [{ code: 'noCpuRequest', qosClass: 'LSR' }],
}

describe('findingText', () => {
  it('says of each problem what is odd, what happens and what to do', async () => {
    const texts = Object.values(EXAMPLES)
      .flat()
      .map(findingText)
      .map(({ reason, message }) => `${reason}: ${message}\n`)
    await expect(texts.join('')).toMatchFileSnapshot('../../golden/findings.txt')
  })

  it('has reasons that events and labels of metrics can hold, all different', () => {
    const reasons = Object.values(FINDING_REASONS)
    for (const reason of reasons) expect(reason).toMatch(/^[A-Z][A-Za-z]{2,63}$/)
    expect(new Set(reasons).size).toBe(reasons.length)
  })

  it('stays within 1000 bytes, whatever a manifest names', () => {
    const long = '𝒳'.repeat(500)
    for (const example of Object.values(EXAMPLES).flat()) {
      const grown = {
        ...example,
        ...('value' in example ? { value: long } : {}),
        ...('container' in example ? { container: long } : {}),
      }
      expect(Buffer.byteLength(findingText(grown).message)).toBeLessThanOrEqual(1000)
    }
  })
})
