/** A thousand random operations on placed pods, on cgroup v2 and eight CPUs of two sockets: test/cgroup/placement.test.ts on another machine. */
import assert from 'node:assert/strict'
import { churn } from '../../../test/support/placement-churn.ts'
import { suite, test } from './bed.ts'

suite('pods that come, go, grow and shrink under load on cgroup v2', () => {
  test('are where they were decided to be, with no write refused, over a thousand operations', async () => {
    const processes = { sleepers: 5, hogs: 1, forkers: 1 }
    const report = await churn({ seed: 20_261_121, operations: 1000, podsMax: 12, processes })
    console.log(JSON.stringify(report))
    assert.deepEqual([report.writes['refused'], report.writes['busy']], [undefined, undefined])
    assert.ok(report.homes > 1000 && report.affinities > 1000)
  }, 300_000)
})
