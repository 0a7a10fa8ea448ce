/**
 * CPU sets on the real kernel: a thousand random operations on pods that run, with every write, every file and the affinity of every
 * process looked at, and everything put back at the end. The same runs on cgroup v2 with eight CPUs: scripts/vm/suite/placement.ts.
 */
import { describe, expect, it } from 'vitest'
import { churn } from '../support/placement-churn.ts'
import { whyNotHere } from '../support/real-node.ts'

const SEED = Number(process.env['CHURN_SEED'] ?? 20_261_121)

describe('pods that come, go, grow and shrink under load', () => {
  it(
    'are where they were decided to be, with no write refused, over a thousand operations',
    { timeout: 240_000 },
    async (context) => {
      const reason = whyNotHere('v1')
      if (reason !== undefined) return context.skip(reason)
      const report = await churn({
        seed: SEED,
        operations: 1000,
        podsMax: 8,
        processes: { sleepers: 5, hogs: 2, forkers: 1 },
      })
      process.stdout.write(`${JSON.stringify(report)}\n`)
      expect(report.writes['applied']).toBeGreaterThan(1000)
      expect(report.homes).toBeGreaterThan(100)
      expect(report.affinities).toBeGreaterThan(1000)
    },
  )
})
