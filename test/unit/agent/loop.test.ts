/** The real loop in real time, on a simulated node: a write that takes its time is beside it and not in it. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { performance } from 'node:perf_hooks'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { Actuator, RestoreJournal } from '../../../src/actuate/index.ts'
import { Agent, Loop } from '../../../src/agent/index.ts'
import type { KnobSetting, Outcome, TickRecord } from '../../../src/model/index.ts'
import { Sensor } from '../../../src/sense/index.ts'
import { ModelKernel, SimNode } from '../../../src/sim/index.ts'
import { configOf } from '../../support/config.ts'
import { GIB, type PodLiteral, specOf, topologyOf } from '../../support/snapshots.ts'

const BE: PodLiteral = { uid: 'be', asks: { 'be-cpu': 60, 'be-memory': 8 } }
const OT: PodLiteral = { uid: 'ot', asks: { 'ot-cpu': 40, 'ot-memory': 8 } }
const LS: PodLiteral = { uid: 'ls', qos: 'Burstable', requestsMilli: 4000 }

let directory: string

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'kube-agent-loop-'))
})

afterEach(() => rmSync(directory, { recursive: true, force: true }))

/** A kernel whose slow writes take 2 s of real time. */
class SlowKernel extends ModelKernel {
  running = 0

  override async writeKnobSlowly(group: string, setting: KnobSetting): Promise<Outcome> {
    this.running += 1
    const outcome = this.writeKnob(group, setting)
    await sleep(2000)
    this.running -= 1
    return outcome
  }
}

describe('the real loop', () => {
  it('beats on while a write takes 2 s, and narrows the offline quota for a spike within that time', async () => {
    const kernel = new SlowKernel({ dialect: 'v2', topology: topologyOf('desktop') })
    const node = new SimNode(kernel)
    for (const pod of [BE, OT, LS]) node.addPod(specOf(pod))
    node.setDemand('be', 8000, 3 * GIB)
    node.setDemand('ot', 500, 3.9 * GIB)
    node.setDemand('ls', 500)
    const records: TickRecord[] = []
    const beats: number[] = []
    const failures: unknown[] = []
    const journal = new RestoreJournal({
      stateDirectory: directory,
      bootId: 'one',
      maxBytes: 1 << 20,
      groupId: (group) => kernel.groupId(group),
    })
    const config = configOf({
      memoryHold: { enterMs: 0, coolDownMs: 0 },
      memoryHighOt: { enterMs: 0 },
      suppressCpu: { dwellMs: 100, growthPermyriad: 10_000 },
    })
    const agent = new Agent({
      kernel,
      sensor: new Sensor({ kernel, pods: node, layout: node.layout, windowMs: config.suppressCpu.windowMs }),
      config,
      mode: 'enforce',
      writing: { journal, actuator: new Actuator(kernel, journal) },
      sink: {
        tick: (record) => records.push(record),
        tickFailed: (thrown) => failures.push(thrown),
        guardBeat: () => beats.push(performance.now()),
      },
      stopwatch: () => performance.now(),
    })
    const startMs = performance.now()
    const loop = new Loop({
      agent,
      guardMs: config.loop.guardMs,
      now: () => {
        node.advance(performance.now() - startMs - node.nowMs)
        return { nowMs: node.nowMs, wallMs: node.nowMs }
      },
    })
    loop.start()
    try {
      await sleep(500)
      const { totalBytes } = kernel.memory
      kernel.memory = { totalBytes, availableBytes: totalBytes * 0.11 }
      await until(() => kernel.running === 1)
      const beganMs = node.nowMs
      const beforeMilli = records.at(-1)?.decision.suppression?.allowanceMilli ?? Number.NaN
      node.setDemand('ls', 6000)
      await until(() => kernel.running === 0)
      const meanwhile = records.filter(({ snapshot }) => snapshot.nowMs > beganMs && snapshot.nowMs < beganMs + 1900)
      const narrowed = meanwhile.find(({ results }) =>
        results.some(({ step, outcome }) => step.kind === 'quota' && step.phase === 'narrow' && outcome.is === 'applied'),
      )
      const afterMilli = narrowed?.decision.suppression?.allowanceMilli ?? Number.NaN
      const slowestMs = Math.max(...meanwhile.map(({ tookMs }) => tookMs))
      process.stdout.write(
        `beside a write of 2 s: ${meanwhile.length} ticks, the slowest ${slowestMs.toFixed(1)} ms; a spike narrowed the allowance from ` +
          `${beforeMilli} to ${afterMilli} milli-CPU after ${((narrowed?.snapshot.nowMs ?? Number.NaN) - beganMs).toFixed(0)} ms\n`,
      )
      // 38 when the machine is its own; others may be at work on it.
      expect(meanwhile.length).toBeGreaterThan(15)
      expect(afterMilli).toBeLessThan(beforeMilli - 1000)
      await until(() =>
        records.some(({ results }) =>
          results.some(({ step, outcome }) => step.kind === 'memoryHigh' && outcome.is === 'applied'),
        ),
      )
      expect(failures).toEqual([])
    } finally {
      loop.stop()
      journal.end()
    }
  }, 20_000)
})

async function until(condition: () => boolean): Promise<void> {
  const deadlineMs = performance.now() + 10_000
  while (!condition()) {
    if (performance.now() > deadlineMs) throw new Error(`not within 10 s: ${condition.toString()}`)
    await sleep(5)
  }
}
