/**
 * IO as a closed loop: an online service and hungry offline pods on one disk. Online work that waits has the limits of offline work cut until it
 * waits no more; they grow back when it is quiet; and where cutting does not help, offline work is not punished for ever.
 */
import { describe, expect, it, vi } from 'vitest'
import { configOf, DEFAULTS } from '../support/config.ts'
import { BE, LS, OT, onNode } from '../support/closed-loop.ts'
import { MIB } from '../support/settings.ts'
import type { SimulatedAgent } from '../support/simulated-agent.ts'

// Whole lives: some seconds each, and many times that on a machine that is busy.
vi.setConfig({ testTimeout: 120_000 })

const SDA = '8:0'
const SDB = '8:16'
const DISK_BPS = 200 * MIB
const settings = {
  enabled: true,
  devices: ['sda'],
  readBps: 180 * MIB,
  writeBps: 180 * MIB,
} as const
const both = (bps: number) => ({ readBps: bps, writeBps: 0 })

function fit(sim: SimulatedAgent, onlineBps: number): void {
  sim.node.fitDisks({
    sda: { device: SDA, bytesPerSecond: DISK_BPS },
    sdb: { device: SDB, bytesPerSecond: DISK_BPS },
  })
  sim.node.setDiskUse('ls', SDA, both(onlineBps))
  sim.node.setDiskUse('be', SDA, both(300 * MIB))
  sim.node.setDiskUse('ot', SDA, both(300 * MIB))
}

const io = (sim: SimulatedAgent) => sim.records.at(-1)?.decision.io
const readMib = (sim: SimulatedAgent, uid: string, device = SDA): number => sim.node.servedDiskUse(uid, device).readBps / MIB
const share = (sim: SimulatedAgent, ms: number): number => {
  const stalls = () => sim.kernel.groupPressureUs?.get('/kubepods/burstable')?.io ?? 0
  const before = stalls()
  sim.run(ms)
  return ((stalls() - before) * 10) / ms
}

describe('a disk that online and offline work share, under v2', () => {
  it('offline work is cut until online work waits no more, and gets it back once that is quiet', () => {
    onNode({ dialect: 'v2', config: configOf({ suppressIo: settings }) }, (sim) => {
      fit(sim, 60 * MIB)
      const first = share(sim, 100)
      expect(first).toBeGreaterThan(DEFAULTS.suppressIo.pressurePermyriad)
      sim.run(5000)
      expect(share(sim, 5000)).toBeLessThanOrEqual(DEFAULTS.suppressIo.pressurePermyriad)
      expect(io(sim)?.sharePermyriad).toBeLessThanOrEqual(5000)
      expect(readMib(sim, 'ls')).toBeCloseTo(60)
      // What is cut is still of use: offline work has its limit, OT its part of it.
      expect(readMib(sim, 'be') + readMib(sim, 'ot')).toBeGreaterThan(30)
      expect(readMib(sim, 'ot')).toBeLessThanOrEqual(readMib(sim, 'be') + 1)
      sim.node.setDiskUse('ls', SDA, both(0))
      sim.node.setDiskUse('be', SDA, both(40 * MIB))
      sim.node.setDiskUse('ot', SDA, both(40 * MIB))
      sim.run(25_000)
      expect(io(sim)).toMatchObject({ sharePermyriad: 10_000, is: 'quiet' })
    })
  })

  it('online work that fills the disk alone does not keep offline work at its floor for ever', () => {
    onNode({ dialect: 'v2', config: configOf({ suppressIo: settings, pressure: { futileMs: 5000 } }) }, (sim) => {
      fit(sim, 400 * MIB)
      sim.run(8000)
      expect(io(sim)?.sharePermyriad).toBe(DEFAULTS.suppressIo.floorPermyriad)
      sim.run(10_000)
      expect(io(sim)?.is).toBe('futile')
      expect(io(sim)?.sharePermyriad).toBeGreaterThan(DEFAULTS.suppressIo.floorPermyriad)
    })
  })

  it('a device for online work is kept nearly free, one given to offline work is never limited', () => {
    const config = configOf({ suppressIo: { enabled: true, onlineDevices: ['sda'], offlineDevices: ['sdb'] } })
    onNode({ dialect: 'v2', config }, (sim) => {
      fit(sim, 60 * MIB)
      sim.node.setDiskUse('be', SDB, both(150 * MIB))
      sim.run(3000)
      expect(share(sim, 2000)).toBe(0)
      expect(readMib(sim, 'be') + readMib(sim, 'ot')).toBeLessThanOrEqual(1.01)
      expect(readMib(sim, 'be', SDB)).toBeCloseTo(150)
    })
  })

  it('limits stay in force over a restart in the middle of it', () => {
    onNode({ dialect: 'v2', config: configOf({ suppressIo: settings }) }, (sim) => {
      fit(sim, 60 * MIB)
      sim.run(8000)
      const before = readMib(sim, 'be')
      sim.restart()
      sim.run(3000, () => expect(readMib(sim, 'be')).toBeLessThanOrEqual(before * 1.35))
    })
  })
})

describe('the same under v1, where only the node counts stalls', () => {
  it('the containers of offline pods are held to their parts of the limits', () => {
    onNode({ dialect: 'v1', config: configOf({ suppressIo: settings }), pods: [BE, OT, LS] }, (sim) => {
      fit(sim, 10 * MIB)
      sim.run(3000)
      const offline = readMib(sim, 'be') + readMib(sim, 'ot')
      expect(offline).toBeGreaterThan(1)
      expect(offline).toBeLessThanOrEqual(181)
    })
  })

  it('tasks that its own limits hold back are not taken for online work that waits for ever', () => {
    const config = configOf({ suppressIo: settings, pressure: { futileMs: 5000 } })
    onNode({ dialect: 'v1', config }, (sim) => {
      fit(sim, 0)
      sim.run(60_000)
      expect(io(sim)?.is).toBe('futile')
      expect(io(sim)?.sharePermyriad).toBe(10_000)
    })
  })
})
