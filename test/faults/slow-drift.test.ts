/** Somebody else who writes a knob that the agent writes beside the loop: what ends later is held against the knob as well. */
import { describe, expect, it, onTestFinished } from 'vitest'
import type { GroupPath, KernelPort, KnobSetting } from '../../src/model/index.ts'
import type { ModelKernel } from '../../src/sim/index.ts'
import { DEFAULTS } from '../support/config.ts'
import { MIB } from '../support/settings.ts'
import { SimulatedAgent } from '../support/simulated-agent.ts'
import { GIB, type PodLiteral, specOf } from '../support/snapshots.ts'
import { planted } from '../support/trees-on-disk.ts'

const OT: PodLiteral = { uid: 'ot', asks: { 'ot-cpu': 40, 'ot-memory': 8 } }
const LS: PodLiteral = { uid: 'ls', qos: 'Burstable', requestsMilli: 4000 }

describe('a slow write that does not last', () => {
  it('again and again, leaves its knob alone past the bound, as any other', async () => {
    let times = 0
    const port = (kernel: ModelKernel): KernelPort =>
      new Proxy(kernel, {
        get: (target, key) => {
          if (key === 'writeKnobSlowly') {
            return async (group: GroupPath, setting: KnobSetting) => {
              const outcome = await target.writeKnobSlowly(group, setting)
              times += 1
              if (setting.kind === 'memoryHigh') target.writeKnob(group, { kind: 'memoryHigh', value: 5 * GIB + times * MIB })
              return outcome
            }
          }
          const value: unknown = Reflect.get(target, key, target)
          return typeof value === 'function' ? (value as (...args: unknown[]) => unknown).bind(target) : value
        },
      })
    const agent = new SimulatedAgent({ dialect: 'v2', directory: planted(), config: DEFAULTS, port })
    onTestFinished(() => agent.end())
    for (const pod of [OT, LS]) agent.node.addPod(specOf(pod))
    agent.node.setDemand('ot', 500, 3 * GIB)
    await agent.runAsync(3000)
    const { totalBytes } = agent.kernel.memory
    agent.kernel.memory = { totalBytes, availableBytes: totalBytes * 0.11 }
    await agent.runAsync(20_000)
    expect(times).toBeGreaterThan(DEFAULTS.drift.maxPerMinute)
    const conceded = agent.records.flatMap(({ drift }) => [...(drift?.news ?? [])]).filter(({ is }) => is === 'conceded')
    expect(conceded.map(({ drift: { kind, unheld } }) => [kind, unheld])).toEqual([['memoryHigh', true]])
    const before = times
    await agent.runAsync(10_000)
    expect(times).toBe(before)
  })
})
