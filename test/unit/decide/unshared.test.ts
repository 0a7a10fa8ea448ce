/** Which pods offline work can't keep from a CPU, by the CPUs that placement gave them. */
import { describe, expect, it } from 'vitest'
import { decide, EMPTY_MEMORY, unsharedGroups } from '../../../src/decide/index.ts'
import { configOf } from '../../support/config.ts'
import { type PodLiteral, snapshotOf } from '../../support/snapshots.ts'

const pod = (uid: string, qosClass: string, qos: 'Guaranteed' | 'Burstable' = 'Guaranteed'): PodLiteral => ({
  uid,
  qos,
  requestsMilli: 2000,
  labels: { 'kube-agent.io/qos-class': qosClass },
})

function unshared(pods: readonly PodLiteral[], config = configOf()): string[] {
  return [...unsharedGroups(decide(snapshotOf({ pods }), EMPTY_MEMORY, config).decision)]
}

describe('pods with whose CPUs offline work shares none', () => {
  it('are those on cores of their own, whatever their kubelet class, and not those that share theirs', () => {
    const pods = [pod('alone', 'LSX'), pod('bursts', 'LSX', 'Burstable'), pod('half', 'LSR'), pod('ls', 'LS')]
    expect(unshared(pods)).toEqual(['/kubepods/podalone', '/kubepods/burstable/podbursts'])
  })

  it('are LSR pods too where offline work may use none of their CPUs', () => {
    expect(unshared([pod('half', 'LSR')], configOf({ placement: { lsrSharePermyriad: 0 } }))).toEqual(['/kubepods/podhalf'])
  })

  it('are none that runs on the pool for want of CPUs, and none where nothing is placed', () => {
    expect(unshared([{ ...pod('large', 'LSX'), requestsMilli: 64_000 }])).toEqual([])
    expect(unshared([pod('alone', 'LSX')], configOf({ placement: { enabled: false } }))).toEqual([])
  })
})
