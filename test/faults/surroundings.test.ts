/**
 * Faults around the agent, under the whole loop: clocks that jump, a full disk under the restore journal, an API server that takes calls and
 * never answers. What the node holds depends on none of them.
 */
import { spawnSync } from 'node:child_process'
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { ClusterReporter } from '../../src/kube/index.ts'
import { findingText, messageOf } from '../../src/model/index.ts'
import { DEFAULTS } from '../support/config.ts'
import { MIB } from '../support/settings.ts'
import { SimulatedAgent } from '../support/simulated-agent.ts'
import { OFFLINE_ROOT, type PodLiteral, specOf } from '../support/snapshots.ts'

const PODS: readonly PodLiteral[] = [
  { uid: 'be', asks: { 'be-cpu': 20, 'be-memory': 8 } },
  { uid: 'ls', qos: 'Burstable', requestsMilli: 1000 },
]
/** Of eight CPUs. */
const STEP_MILLI = (8000 * DEFAULTS.suppressCpu.growthPermyriad) / 10_000
const YEAR_MS = 365 * 24 * 3_600_000

let directory: string
let mounted = false
const begun: SimulatedAgent[] = []

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'kube-agent-around-'))
})

afterEach(() => {
  for (const sim of begun.splice(0)) sim.end()
  if (mounted) spawnSync('umount', [directory])
  mounted = false
  rmSync(directory, { recursive: true, force: true })
})

function begin(state = directory): SimulatedAgent {
  const sim = new SimulatedAgent({ dialect: 'v2', directory: state, config: DEFAULTS })
  begun.push(sim)
  for (const pod of PODS) sim.node.addPod(specOf(pod))
  sim.node.setDemand('be', 3000, 100 * MIB)
  sim.node.setDemand('ls', 500)
  sim.run(10_000)
  return sim
}

describe('clocks that jump', () => {
  it.each([-20 * YEAR_MS, 20 * YEAR_MS])('the wall clock, by %s ms, changes no write', (jumpMs) => {
    const [steady, jumped] = [begin(join(directory, 'a')), begin(join(directory, 'b'))]
    jumped.wallOffsetMs = jumpMs
    for (const sim of [steady, jumped]) {
      sim.node.setDemand('ls', 6000)
      sim.run(10_000)
      sim.node.setDemand('ls', 500)
      sim.run(20_000)
    }
    expect(jumped.kernel.writes).toEqual(steady.kernel.writes)
    expect(jumped.failures).toEqual([])
  })

  it.each([10_000, 3_600_000, 30 * 24 * 3_600_000])(
    'a pause of %s ms, as of a machine that slept, is worth one step of growth and not an hour of them',
    (pauseMs) => {
      const sim = begin()
      sim.node.setDemand('ls', 6000)
      sim.run(3000)
      const before = sim.rootMilli
      sim.node.setDemand('ls', 0)
      sim.node.advance(pauseMs)
      sim.run(2 * DEFAULTS.loop.guardMs)
      expect(sim.rootMilli).toBeLessThanOrEqual(before + STEP_MILLI)
      sim.run(30_000)
      expect(sim.rootMilli).toBeGreaterThan(4000)
      expect(sim.failures).toEqual([])
    },
  )
})

describe('a full disk under the restore journal', () => {
  it('keeps a new pod from being written, not suppression; with room again it is limited, and a release restores all', (context) => {
    mounted = spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=64k,mode=700', 'tmpfs', directory]).status === 0
    if (!mounted) return context.skip('needs root, to mount a small file system')
    const sim = begin()
    try {
      for (let part = 0; ; part += 1) writeFileSync(join(directory, `filler-${part}`), Buffer.alloc(4096))
    } catch (thrown) {
      expect(messageOf(thrown)).toContain('ENOSPC')
    }
    // The journal's last page has room for a few records yet.
    for (let pod = 0; pod < 60; pod += 1) sim.node.addPod(specOf({ uid: `p${pod}`, asks: { 'be-cpu': 1, 'be-memory': 1 } }))
    const before = sim.rootMilli
    sim.node.setDemand('ls', 7000)
    sim.run(10_000)
    expect(sim.failures).toEqual([])
    expect(sim.rootMilli).toBeLessThan(before)
    const failed = sim.records.flatMap(({ results }) => results).filter(({ outcome }) => outcome.is === 'failed')
    expect(failed.length).toBeGreaterThan(0)
    for (const { outcome } of failed) expect(outcome).toEqual({ is: 'failed', errno: 'ENOSPC' })
    const last = `${OFFLINE_ROOT}/podp59`
    expect(sim.kernel.readKnob(last, 'quota')).toMatchObject({ quotaUs: null })
    for (const name of readdirSync(directory)) if (name.startsWith('filler')) rmSync(join(directory, name))
    sim.run(40_000)
    expect(sim.kernel.readKnob(last, 'quota')).not.toMatchObject({ quotaUs: null })
    expect(sim.release()).toMatchObject({ failed: [], foreign: [] })
    expect(sim.kernel.readKnob(last, 'quota')).toMatchObject({ quotaUs: null })
    expect(sim.kernel.readKnob(OFFLINE_ROOT, 'quota')).toMatchObject({ quotaUs: null })
  })
})

describe('an API server that takes a call and never answers', () => {
  it('holds up neither the loop nor an exit, and gets one call at a time', async () => {
    let calls = 0
    const sim = begin()
    const reporter = new ClusterReporter({
      api: {
        call: () => {
          calls += 1
          return new Promise(() => undefined)
        },
      },
      node: 'n',
      domain: 'kube-agent.io',
      switches: { events: true, condition: true, annotations: true, hotLabel: true, hotTaint: true },
      writeMs: 1000,
      settleMs: 0,
      annotateMs: 1000,
      textOf: findingText,
      clock: { monotonicMs: () => sim.node.nowMs, wallMs: () => sim.node.nowMs },
      random: () => 0,
    })
    for (let second = 0; second < 60; second += 1) {
      const from = sim.records.length
      sim.run(1000)
      for (const record of sim.records.slice(from)) reporter.tick(record)
      void reporter.pump()
    }
    expect(calls).toBe(1)
    expect(sim.failures).toEqual([])
    const began = performance.now()
    await reporter.withdraw(200)
    expect(performance.now() - began).toBeLessThan(2000)
    expect(calls).toBe(1)
  })
})
