/**
 * Writes that may reclaim memory for seconds, beside the loop: journaled before, one at a time, each told of once when it has ended, and none
 * that is wanted no more, outlives its group or escapes a release.
 */
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { Actuator, release, RestoreJournal } from '../../../src/actuate/index.ts'
import type { Dialect, KnobKind, Outcome, Plan, Step, StepResult } from '../../../src/model/index.ts'
import { diff } from '../../../src/plan/index.ts'
import { ModelKernel } from '../../../src/sim/index.ts'
import { NOTHING } from '../../support/journaled-node.ts'
import { MIB } from '../../support/settings.ts'
import { topologyOf } from '../../support/snapshots.ts'

const ROOT = '/kubepods/besteffort'
const pod = (index: number): string => `${ROOT}/pod${index}`
const PODS = [0, 1, 2, 3]

let directory: string
let kernel: ModelKernel
let journal: RestoreJournal
let actuator: Actuator
const unhandled: unknown[] = []
const noteUnhandled = (reason: unknown): number => unhandled.push(reason)

function openAll(dialect: Dialect): void {
  kernel = new ModelKernel({ dialect, topology: topologyOf('desktop') })
  kernel.slow.hold = true
  for (const group of ['/kubepods', ROOT, ...PODS.map(pod)]) kernel.makeGroup(group)
  for (const index of PODS)
    Object.assign(kernel.groups.get(pod(index)) ?? {}, { usageBytes: 1024 * MIB, inactiveFileBytes: 1024 * MIB })
  journal = openJournal()
  actuator = new Actuator(kernel, journal)
}

function openJournal(): RestoreJournal {
  return new RestoreJournal({
    stateDirectory: directory,
    bootId: 'one',
    maxBytes: 1 << 20,
    groupId: (group) => kernel.groupId(group),
  })
}

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'kube-agent-slow-'))
  unhandled.length = 0
  process.on('unhandledRejection', noteUnhandled)
  openAll('v2')
})

afterEach(async () => {
  await turn()
  process.off('unhandledRejection', noteUnhandled)
  expect(unhandled).toEqual([])
  rmSync(directory, { recursive: true, force: true })
})

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

async function endOne(): Promise<void> {
  expect(kernel.slow.finish()).toBe(true)
  await turn()
}

const narrow = (index: number, mib: number, kind: 'memoryHigh' | 'memoryMax' = 'memoryHigh'): Step => ({
  group: pod(index),
  kind,
  value: mib * MIB,
  from: null,
  phase: 'narrow',
  because: {
    code: 'claim',
    rule: 'suppressMemory',
    because: {
      code: 'memory.high',
      rung: 'memoryHighOt',
      qosClass: 'OT',
      availablePermyriad: 1000,
      enterPermyriad: 1200,
      workingSetBytes: 1,
    },
  },
})

const widen = (index: number, value: number | null): Step => ({ ...narrow(index, 1), kind: 'memoryHigh', value, phase: 'widen' })
const restored = (index: number, kind: 'memoryHigh' | 'memoryMax' = 'memoryHigh'): Step => ({
  ...narrow(index, 1),
  kind,
  value: null,
  phase: 'widen',
  because: { code: 'restore' },
})

const tick = (plan: Plan): Record<string, Outcome['is']> => named(actuator.apply(plan, { limited: true }))
const ended = (nowMs = 0): Record<string, Outcome['is']> => named(actuator.finished(nowMs))
const named = (results: readonly StepResult[]): Record<string, Outcome['is']> =>
  Object.fromEntries(results.map(({ step, outcome }) => [`${step.group.slice(ROOT.length + 1)} ${step.kind}`, outcome.is]))

const waiting = (): string[] =>
  kernel.slow.waiting.map(({ group, setting }) => `${group.slice(ROOT.length + 1)} ${JSON.stringify(setting.value)}`)
const reads = (index: number, kind: KnobKind = 'memoryHigh'): unknown => kernel.readKnob(pod(index), kind)

describe('a slow write', () => {
  it('has its original on disk before it begins, is begun in the tick, and told of once when it has ended', async () => {
    expect(tick([narrow(0, 512)])).toEqual({ 'pod0 memoryHigh': 'begun' })
    const text = readFileSync(journal.path, 'utf8')
    expect(text).toContain('"original"')
    expect(text).toContain('"wrote"')
    expect(ended()).toEqual({})
    await endOne()
    expect(ended()).toEqual({ 'pod0 memoryHigh': 'applied' })
    expect(ended()).toEqual({})
    expect(reads(0)).toBe(512 * MIB)
  })

  it('runs alone: the others wait their turn, and the next begins without a tick', async () => {
    expect(tick(PODS.map((index) => narrow(index, 512)))).toEqual({
      'pod0 memoryHigh': 'begun',
      'pod1 memoryHigh': 'begun',
      'pod2 memoryHigh': 'begun',
      'pod3 memoryHigh': 'begun',
    })
    for (const index of PODS) {
      expect(waiting()).toEqual([`pod${index} ${512 * MIB}`])
      await endOne()
    }
    expect(ended()).toEqual(Object.fromEntries(PODS.map((index) => [`pod${index} memoryHigh`, 'applied'])))
  })

  it('is not begun again by later plans while it runs or waits', async () => {
    const plan = [narrow(0, 512), narrow(1, 512)]
    tick(plan)
    for (let again = 0; again < 5; again += 1) expect(tick(plan)).toEqual({})
    expect(actuator.underWay).toBe(2)
    await endOne()
    await endOne()
    expect(kernel.slow.finish()).toBe(false)
    expect(kernel.writes.filter(({ setting }) => setting.kind === 'memoryHigh')).toHaveLength(2)
  })

  it('gives way to a newer value while it waits, and is followed by it when it runs', async () => {
    tick([narrow(0, 512), narrow(1, 512)])
    expect(tick([narrow(0, 400), narrow(1, 300)])).toEqual({ 'pod0 memoryHigh': 'begun', 'pod1 memoryHigh': 'begun' })
    const order: string[] = []
    while (kernel.slow.waiting.length > 0) {
      order.push(...waiting())
      await endOne()
    }
    expect(order).toEqual([`pod0 ${512 * MIB}`, `pod1 ${300 * MIB}`, `pod0 ${400 * MIB}`])
    expect([reads(0), reads(1)]).toEqual([400 * MIB, 300 * MIB])
  })

  it('is dropped while it waits when nobody wants it any more', async () => {
    tick([narrow(0, 512), narrow(1, 512)])
    tick([])
    expect(actuator.underWay).toBe(1)
    await endOne()
    expect(reads(1)).toBe(null)
    expect(ended()).toEqual({ 'pod0 memoryHigh': 'applied' })
  })

  it('drops out when its group has gone, and does not touch one that was made anew under the name', async () => {
    tick([narrow(0, 512), narrow(1, 512), narrow(2, 512)])
    kernel.removeGroup(pod(1))
    kernel.removeGroup(pod(2))
    kernel.makeGroup(pod(2))
    await endOne()
    expect(ended()).toEqual({ 'pod0 memoryHigh': 'applied', 'pod1 memoryHigh': 'vanished', 'pod2 memoryHigh': 'vanished' })
    expect(reads(2)).toBe(null)
    expect(journal.has(pod(2), 'memoryHigh')).toBe(false)
  })

  it('is told of once as busy when it takes longer than 30 s, and its end is told as well', async () => {
    tick([narrow(0, 512), narrow(1, 512)])
    expect(ended(1000)).toEqual({})
    expect(ended(31_000)).toEqual({})
    expect(ended(31_001)).toEqual({ 'pod0 memoryHigh': 'busy' })
    expect(ended(90_000)).toEqual({})
    expect(waiting()).toEqual([`pod0 ${512 * MIB}`])
    await endOne()
    expect(ended(90_025)).toEqual({ 'pod0 memoryHigh': 'applied' })
    expect(waiting()).toEqual([`pod1 ${512 * MIB}`])
  })

  it('that a kernel rejects or throws on is told of as failed, and the lane goes on', async () => {
    const write = kernel.writeKnobSlowly.bind(kernel)
    let calls = 0
    kernel.writeKnobSlowly = (group, setting) => {
      calls += 1
      if (calls === 1) return Promise.reject(new Error('a bug'))
      if (calls === 2) throw Object.assign(new Error('no more threads'), { code: 'EAGAIN' })
      return write(group, setting)
    }
    tick([narrow(0, 512), narrow(1, 512), narrow(2, 512)])
    await turn()
    expect(ended()).toEqual({ 'pod0 memoryHigh': 'failed', 'pod1 memoryHigh': 'failed' })
    await endOne()
    expect(ended()).toEqual({ 'pod2 memoryHigh': 'applied' })
  })

  it('that reads otherwise afterwards is a mismatch', async () => {
    tick([narrow(0, 512)])
    kernel.writeKnob(pod(0), { kind: 'memoryHigh', value: 700 * MIB })
    await endOne()
    expect(ended()).toEqual({ 'pod0 memoryHigh': 'mismatch' })
  })

  it('is no slow one when the group uses less than its new limit: a new pod is limited in the tick', () => {
    Object.assign(kernel.groups.get(pod(0)) ?? {}, { usageBytes: 10 * MIB })
    expect(tick([narrow(0, 512), narrow(0, 512, 'memoryMax')])).toEqual({
      'pod0 memoryHigh': 'applied',
      'pod0 memoryMax': 'applied',
    })
    expect(actuator.underWay).toBe(0)
  })

  it('finds a bounded queue: past 512 it waits for a later plan', async () => {
    const groups = Array.from({ length: 600 }, (_, index) => 10 + index)
    for (const index of groups) kernel.makeGroup(pod(index)).usageBytes = 1024 * MIB
    const plan = groups.map((index) => narrow(index, 512))
    expect(Object.keys(tick(plan))).toHaveLength(513)
    await endOne()
    expect(Object.keys(tick(plan.slice(1)))).toHaveLength(1)
    expect(actuator.underWay).toBe(513)
  })
})

describe('under v1 a slow write', () => {
  it('of a limit below what can be reclaimed is busy, as a quick one was, and the limit stays as it was', async () => {
    openAll('v1')
    Object.assign(kernel.groups.get(pod(0)) ?? {}, { inactiveFileBytes: 0 })
    expect(tick([narrow(0, 512, 'memoryMax')])).toEqual({ 'pod0 memoryMax': 'begun' })
    await endOne()
    expect(ended()).toEqual({ 'pod0 memoryMax': 'busy' })
    expect(reads(0, 'memoryMax')).toBe(null)
  })

  it('that comes after the widening that overtook it is told of, so that the next plan repairs it', async () => {
    openAll('v1')
    tick([narrow(0, 512, 'memoryMax')])
    expect(tick([restored(0, 'memoryMax')])).toEqual({ 'pod0 memoryMax': 'applied' })
    expect(journal.has(pod(0), 'memoryMax')).toBe(true)
    await endOne()
    expect(ended()).toEqual({ 'pod0 memoryMax': 'mismatch' })
    expect(journal.has(pod(0), 'memoryMax')).toBe(true)
    expect(tick([restored(0, 'memoryMax')])).toEqual({ 'pod0 memoryMax': 'applied' })
    expect(journal.has(pod(0), 'memoryMax')).toBe(false)
    expect(reads(0, 'memoryMax')).toBe(null)
  })
})

describe('widening beside a slow write', () => {
  it('is written at once, keeps its original on record until the write has ended, and has the last word', async () => {
    tick([narrow(0, 512)])
    expect(tick([restored(0)])).toEqual({ 'pod0 memoryHigh': 'applied' })
    expect(reads(0)).toBe(null)
    expect(journal.has(pod(0), 'memoryHigh')).toBe(true)
    await endOne()
    expect(ended()).toEqual({})
    expect(journal.has(pod(0), 'memoryHigh')).toBe(false)
  })

  it('takes the place of one that waits', async () => {
    tick([narrow(0, 512), narrow(1, 512)])
    tick([narrow(0, 512), widen(1, 900 * MIB)])
    await endOne()
    expect(waiting()).toEqual([])
    expect(reads(1)).toBe(900 * MIB)
  })
})

describe('a release beside slow writes', () => {
  const releaseNow = (): ReturnType<typeof release> =>
    release(
      {
        kernel,
        journal,
        actuator,
        plan: (actual, journaled) => diff({ desired: NOTHING, actual, journaled, capabilities: kernel.capabilities }),
      },
      0,
    )

  it('puts everything back, drops what waits, and keeps on record what the running one may still undo', async () => {
    tick(PODS.map((index) => narrow(index, 512)))
    const report = releaseNow()
    expect(report.failed).toEqual([])
    expect(report.foreign).toEqual([])
    expect(PODS.map((index) => reads(index))).toEqual([null, null, null, null])
    expect([...journal.entries.groups()]).toEqual([pod(0)])
    await endOne()
    expect(kernel.slow.waiting).toEqual([])
    expect(journal.entries.size).toBe(0)
  })

  it('under v1 restores with its next round what a write that ended after it has set', async () => {
    openAll('v1')
    tick([narrow(0, 512, 'memoryMax')])
    expect(releaseNow().foreign).toEqual([])
    await endOne()
    expect(reads(0, 'memoryMax')).toBe(512 * MIB)
    expect(releaseNow().restored).toBe(1)
    expect(reads(0, 'memoryMax')).toBe(null)
    expect(journal.entries.size).toBe(0)
  })

  it('by a later agent knows the value of a write during which the agent was killed, and that of none that waited', () => {
    tick([narrow(0, 512), narrow(1, 512)])
    // SIGKILL: what is on disk is all that is left.
    journal = openJournal()
    actuator = new Actuator(kernel, journal)
    const report = releaseNow()
    expect(report).toMatchObject({ restored: 1, unchanged: 1, failed: [], foreign: [] })
    expect([reads(0), reads(1)]).toEqual([null, null])
  })
})

describe('stopping', () => {
  it('begins nothing any more, resolves when the running write has ended, and leaves the ended journal alone', async () => {
    tick([narrow(0, 512), narrow(1, 512)])
    let isOver = false
    const stopped = actuator.stopSlowWrites().then(() => (isOver = true))
    await turn()
    expect(isOver).toBe(false)
    expect(actuator.underWay).toBe(1)
    const { path } = journal
    actuator.apply([restored(0)], { limited: false })
    journal.end()
    const other = join(directory, 'given-the-descriptor')
    const fd = openSync(other, 'w')
    const before = readFileSync(path, 'utf8')
    await endOne()
    await stopped
    closeSync(fd)
    expect(readFileSync(other, 'utf8')).toBe('')
    expect(actuator.underWay).toBe(0)
    expect(kernel.slow.waiting).toEqual([])
    expect(readFileSync(path, 'utf8')).toBe(before)
  })

  it('is over at once when nothing runs', async () => {
    await actuator.stopSlowWrites()
    expect(tick([narrow(0, 512)])).toEqual({})
  })
})
