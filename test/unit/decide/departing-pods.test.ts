/** Pods that suppression must not stand in the way of: those that are on their way out, and the agent's own. 8 CPUs. */
import { describe, expect, it } from 'vitest'
import { decide, EMPTY_MEMORY, type Memory } from '../../../src/decide/index.ts'
import type { Decision, EvictionOutcome, EvictionRecord, NodeSnapshot } from '../../../src/model/index.ts'
import { childGroup } from '../../../src/model/index.ts'
import { configOf } from '../../support/config.ts'
import { OFFLINE_ROOT, type PodLiteral, snapshotOf } from '../../support/snapshots.ts'

const QUICK = { enterMs: 0, exitMs: 60_000, coolDownMs: 0 }
const PODS: readonly PodLiteral[] = [
  { uid: 'ot1', asks: { 'ot-cpu': 20 }, usesMilli: 300 },
  { uid: 'ot2', asks: { 'ot-cpu': 20 }, usesMilli: 200 },
]
const groupOf = (uid: string): string => `${OFFLINE_ROOT}/pod${uid}`

/** Decisions of a full node, every 500 ms, on which every rung is climbed as soon as it can be. */
function ticks(alter: (snapshot: NodeSnapshot) => NodeSnapshot, evicts = false): Decision[] {
  const config = configOf({
    cpuNarrow: QUICK,
    cpuFreeze: { ...QUICK, enabled: !evicts },
    cpuEvict: { ...QUICK, enabled: evicts },
    evict: { enabled: true, holdMs: 0, intervalMs: 1000 },
  })
  let memory: Memory = EMPTY_MEMORY
  return Array.from({ length: 12 }, (_, index) => {
    const evictions = { impossible: undefined } as unknown as { impossible?: string }
    const snapshot = snapshotOf({ nowMs: index * 500, pods: PODS, nodeMilli: 7600, offlineMilli: 500, evictions })
    const { decision, memory: after } = decide(alter(snapshot), memory, config)
    memory = after
    return decision
  })
}

const frozenBy = (decision: Decision | undefined): string[] =>
  ['ot1', 'ot2'].filter((uid) => decision?.desired.get(groupOf(uid), 'freeze') !== undefined)
const wishedIn = (all: readonly Decision[]): string[] => [
  ...new Set(all.flatMap(({ evictions }) => evictions.map(({ uid }) => uid))),
]

function ending(snapshot: NodeSnapshot): NodeSnapshot {
  const pods = snapshot.pods.pods.map((reading) =>
    reading.spec.uid === 'ot1' ? { ...reading, spec: { ...reading.spec, isEnding: true as const } } : reading,
  )
  return { ...snapshot, pods: { ...snapshot.pods, pods } }
}

function evicted(is: EvictionOutcome): (snapshot: NodeSnapshot) => NodeSnapshot {
  const wish = { uid: 'ot1', namespace: 'default', name: 'ot1', qosClass: 'OT', rung: 'memoryEvictOt', dryRun: false } as const
  const record: EvictionRecord = { wish: { ...wish, usesMilli: 0, usesBytes: 0, priority: 0 }, is, atMs: 0 }
  return (snapshot) => ({ ...snapshot, evictions: { ...snapshot.evictions, recent: [record] } })
}

const own = (snapshot: NodeSnapshot): NodeSnapshot => ({
  ...snapshot,
  ownGroups: [groupOf('ot1'), childGroup(groupOf('ot1'), 'main')],
})

describe('cpuFreeze', () => {
  it('freezes every OT pod that stays', () => {
    expect(frozenBy(ticks((snapshot) => snapshot).at(-1))).toEqual(['ot1', 'ot2'])
  })

  it('lets a pod run that was deleted: frozen it could not end, and under cgroup v1 not even be killed (I45)', () => {
    expect(frozenBy(ticks(ending).at(-1))).toEqual(['ot2'])
  })

  it.each([
    ['evicted', ['ot2']],
    ['forced', ['ot2']],
    ['asked', ['ot1', 'ot2']],
    ['blocked', ['ot1', 'ot2']],
    ['dryRun', ['ot1', 'ot2']],
  ] as const)('of a pod whose eviction is %s freezes %j', (is, frozen) => {
    expect(frozenBy(ticks(evicted(is)).at(-1))).toEqual(frozen)
  })

  it('never freezes the pod that the agent runs in: nobody would be left to thaw it', () => {
    expect(frozenBy(ticks(own).at(-1))).toEqual(['ot2'])
  })
})

describe('cpuEvict', () => {
  it('asks for pods in their order', () => {
    expect(wishedIn(ticks((snapshot) => snapshot, true))[0]).toBe('ot1')
  })

  it('does not ask for a pod that goes already, nor for that of the agent (I63)', () => {
    expect(wishedIn(ticks(ending, true))).toEqual(['ot2'])
    expect(wishedIn(ticks(own, true))).toEqual(['ot2'])
  })
})
