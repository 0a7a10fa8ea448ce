/** What becomes of pods whose own quotas inside can't be followed, and of the offline pods beside them (I82). */
import { describe, expect, it } from 'vitest'
import { decide, EMPTY_MEMORY } from '../../../src/decide/index.ts'
import type { Decision, GroupPath, NodeSnapshot } from '../../../src/model/index.ts'
import { quotaMilliCpu } from '../../../src/model/index.ts'
import { DEFAULTS } from '../../support/config.ts'
import { OFFLINE_ROOT, type PodLiteral, readingOf, snapshotOf, type SnapshotLiteral } from '../../support/snapshots.ts'

const BE = { 'be-cpu': 40, 'be-memory': 2 } as const
const ODD: PodLiteral = { uid: 'odd', asks: BE, usesMilli: 100 }
const OTHERS: readonly PodLiteral[] = [
  { uid: 'a', asks: BE, usesMilli: 100 },
  { uid: 'b', asks: BE, usesMilli: 100 },
]
const groupOf = (pod: PodLiteral): GroupPath => readingOf(pod, 0).group

/** The decision on a node that has been so for some seconds. */
function decideOn(
  literal: SnapshotLiteral & { readonly pods: readonly PodLiteral[] },
  change: (snapshot: NodeSnapshot) => NodeSnapshot = (snapshot) => snapshot,
): Decision {
  const at = (nowMs: number): NodeSnapshot =>
    change({
      ...snapshotOf({ dialect: 'v1', nodeMilli: 7000, offlineMilli: 500, ...literal, nowMs }),
      unfollowed: { groups: [groupOf(literal.pods[0] ?? ODD)], barsRoot: true },
    })
  let decided = decide(at(0), EMPTY_MEMORY, DEFAULTS)
  for (let nowMs = 1000; nowMs <= 6000; nowMs += 1000) decided = decide(at(nowMs), decided.memory, DEFAULTS)
  return decided.decision
}

const frozen = (decision: Decision, pod: PodLiteral): unknown => decision.desired.get(groupOf(pod), 'freeze')?.setting.value
const told = (decision: Decision): unknown[] =>
  decision.findings.flatMap((finding) => (finding.code === 'unfollowed' ? [[finding.name, finding.standsStill]] : []))

describe('an offline pod whose quotas can not be followed', () => {
  it('stands still and is told of, and the others together are held to the allowance, as the root is to be', () => {
    const decision = decideOn({ pods: [ODD, ...OTHERS] })
    const { desired, suppression } = decision
    expect(frozen(decision, ODD)).toBe(1)
    expect(desired.get(groupOf(ODD), 'freeze')?.winner.because).toEqual({ code: 'suppress.unfollowed' })
    expect(told(decision)).toEqual([['odd', true]])
    const milli = (group: GroupPath): number => {
      const setting = desired.get(group, 'quota')?.setting
      return setting?.kind === 'quota' ? quotaMilliCpu(setting.value) : Number.NaN
    }
    expect(milli(OFFLINE_ROOT)).toBe(suppression?.allowanceMilli)
    expect(OTHERS.reduce((sum, pod) => sum + milli(groupOf(pod)), 0)).toBeLessThanOrEqual(suppression?.allowanceMilli ?? 0)
    for (const pod of OTHERS) expect(frozen(decision, pod)).toBeUndefined()
    expect(desired.get(groupOf(ODD), 'quota')?.winner.because.code).toBe('limits.quota')
  })

  it('that was deleted does not stand still: it has to end', () => {
    const ending = (snapshot: NodeSnapshot): NodeSnapshot => ({
      ...snapshot,
      pods: {
        ...snapshot.pods,
        pods: snapshot.pods.pods.map((pod) => (pod.spec.uid === 'odd' ? { ...pod, spec: { ...pod.spec, isEnding: true } } : pod)),
      },
    })
    const decision = decideOn({ pods: [ODD, ...OTHERS] }, ending)
    expect(frozen(decision, ODD)).toBeUndefined()
    expect(told(decision)).toEqual([['odd', false]])
  })

  it('is only told of where the kernel can not freeze', () => {
    const decision = decideOn({ pods: [ODD, ...OTHERS], missing: ['freeze'] })
    expect(frozen(decision, ODD)).toBeUndefined()
    expect(told(decision)).toEqual([['odd', false]])
  })

  it('is only told of while the kernel takes the root’s quota, and holds all to the allowance by that', () => {
    const decision = decideOn({ pods: [ODD, ...OTHERS] }, (snapshot) => ({
      ...snapshot,
      unfollowed: { groups: [groupOf(ODD)], barsRoot: false },
    }))
    expect(frozen(decision, ODD)).toBeUndefined()
    expect(told(decision)).toEqual([['odd', false]])
    expect(decision.desired.get(groupOf(ODD), 'quota')?.winner.because.code).toBe('limits.quota')
  })

  it('stands still for its own quota’s sake where an online pod lives below the same root', () => {
    const decision = decideOn({ pods: [ODD, ...OTHERS, { uid: 'untagged', usesMilli: 50 }] }, (snapshot) => ({
      ...snapshot,
      unfollowed: { groups: [groupOf(ODD)], barsRoot: false },
    }))
    expect(frozen(decision, ODD)).toBe(1)
  })

  it('that has ended is neither', () => {
    const decision = decideOn({ pods: [{ ...ODD, phase: 'Succeeded' }, ...OTHERS] })
    expect(told(decision)).toEqual([])
  })
})

describe('an online pod whose quotas can not be followed', () => {
  it('is told of and left alone', () => {
    const untagged: PodLiteral = { uid: 'untagged', usesMilli: 100 }
    const decision = decideOn({ pods: [untagged, ...OTHERS] })
    expect(frozen(decision, untagged)).toBeUndefined()
    expect(told(decision)).toEqual([['untagged', false]])
  })
})
