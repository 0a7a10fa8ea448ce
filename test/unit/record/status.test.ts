/** The status page and its one-line form, from plain data; the page itself is golden. */
import { describe, expect, it } from 'vitest'
import type { PodFinding } from '../../../src/model/index.ts'
import { briefStatus, type Status, renderStatus } from '../../../src/record/index.ts'
import { CPUS_STEP, FINDING, pod, recorder, REGISTERED, SIGNALS, STARTED_MS, tick, writingTick } from './fixtures.ts'

/** The pid is the only thing in a status that the test does not decide. */
const withPid = (status: Status): Status => ({ ...status, pid: 4711 })

describe('status', () => {
  it('prints the golden page', async () => {
    const record = recorder()
    record.resources([
      REGISTERED,
      { ...REGISTERED, resource: 'ot-cpu', fullName: 'kube-agent.io/ot-cpu', registered: false, lastError: 'no kubelet.sock' },
    ])
    record.guardBeat(1, true)
    record.tick(
      writingTick({
        problems: [
          '/pods/broken.yaml: line 3, column 1: a mapping is not closed, and the file is longer than a line of a terminal can show',
        ],
        abstentions: [{ code: 'silent', rule: 'capacity' }],
        outcomes: [{ is: 'applied' }, { is: 'refused', errno: 'EINVAL' }],
      }),
    )
    const page = renderStatus(withPid(record.status(11_250)))
    await expect(page).toMatchFileSnapshot('../../golden/status.txt')
    expect(Math.max(...page.split('\n').map((line) => line.length))).toBeLessThanOrEqual(100)
  })

  it('fits 100 columns with anything in it', () => {
    const record = recorder()
    const long = 'x'.repeat(300)
    const problems = Array.from({ length: 50 }, (_, index) => `${long} ${index}`)
    record.tick(writingTick({ problems, pods: [pod(long, 'BE')] }))
    const page = renderStatus(record.status(11_000))
    expect(Math.max(...page.split('\n').map((line) => line.length))).toBeLessThanOrEqual(100)
    expect(page).toContain('and 30 more, all of them in the JSON form')
  })

  it('stands before the first tick', () => {
    const status = recorder().status(STARTED_MS + 65_000)
    expect(status).toMatchObject({ version: '0.1.0', nodeName: 'node-a', uptimeMs: 65_000, loop: { ticks: 0 } })
    expect(status.mode).toBeUndefined()
    expect(briefStatus(status)).toBe('error: no tick has finished yet')
    expect(renderStatus(status)).toContain('last tick     none yet')
  })

  it('is data that survives JSON', () => {
    const record = recorder()
    record.tick(writingTick())
    const status = record.status(11_000)
    expect(JSON.parse(JSON.stringify(status))).toEqual(status)
  })

  it('says in one line that all is well', () => {
    const record = recorder()
    record.resources([REGISTERED])
    record.tick(tick())
    expect(briefStatus(record.status(11_012))).toBe('OK mode enforce, 3 pods, 5.9 CPU of 8 CPUs used, last tick 12 ms ago')
  })

  it('tells warnings from errors', () => {
    const record = recorder()
    record.tick(tick({ problems: ['a', 'b'] }))
    expect(briefStatus(record.status(11_000))).toMatch(/^OK .*, 2 warnings$/)
    record.resources([{ ...REGISTERED, registered: false }])
    record.tickFailed(new Error('boom'), { nowMs: 12_000, wallMs: 0 })
    record.tickFailed(new Error('boom'), { nowMs: 13_000, wallMs: 0 })
    expect(briefStatus(record.status(13_000))).toBe('error: failing for 2 ticks: boom (and 1 more)')
  })

  it('warns at once of a configuration that was rejected, without what looks like a secret, until it is mended', () => {
    const record = recorder()
    record.tick(tick())
    record.configReload('rejected', 'a.yaml:3:9: got "https://u:hunter2@h"\na.yaml:4:1: cluster.token: unknown key\nand 3 more')
    const text =
      'configuration rejected, the last good one stays: a.yaml:3:9: got "https://[redacted]@h" (and 2 more, see the log)'
    expect(record.status(11_000).problems).toEqual([{ severity: 'warning', text }])
    expect(briefStatus(record.status(11_000))).toMatch(/^OK .*, 1 warning$/)
    expect(renderStatus(record.status(11_000))).toMatch(/^ {2}warning +configuration rejected, the last good one stays: /m)
    record.configReload('rejected', 'a.yaml:4:1: cluster.token: unknown key')
    expect(record.status(11_000).problems[0]?.text).toMatch(/stays: a\.yaml:4:1: cluster\.token: unknown key$/)
    record.configReload('unchanged')
    expect(record.status(11_000).problems).toEqual([])
  })

  it('counts a write as refused only while it is still wanted', () => {
    const record = recorder()
    record.tick(tick({ plan: [CPUS_STEP], outcomes: [{ is: 'refused', errno: 'EINVAL' }] }))
    expect(briefStatus(record.status(11_000))).toMatch(/^error: cpuset of .* the kernel refuses this value \(EINVAL\)$/)
    record.tick(tick({ seq: 2, nowMs: 12_000 }))
    expect(briefStatus(record.status(12_000))).toMatch(/^OK/)
  })

  it('shows the API server that is told, and what fails there only while it fails', () => {
    const record = recorder()
    record.tick(tick())
    const writes = { patchNodeStatus: { ok: 3, failed: 0 }, createEvent: { ok: 1, failed: 2 } }
    const state = { server: 'https://10.0.0.1:6443', writes, droppedEvents: 0, lastOkWallMs: 0 }
    record.cluster({ ...state, lastError: 'createEvent: forbidden' })
    expect(record.status(11_000)).toMatchObject({
      cluster: { calls: 6, failedCalls: 2 },
      problems: [{ severity: 'warning', text: 'API server: createEvent: forbidden' }],
    })
    expect(renderStatus(record.status(11_000))).toMatch(/^cluster +https:\/\/10\.0\.0\.1:6443, 6 calls, 2 failed, last success/m)
    record.cluster(state)
    expect(record.status(11_000).problems).toEqual([])
  })

  it('says when ended allocations are guessed, and why', () => {
    const record = recorder()
    record.tick(tick())
    record.allocations({ exact: false })
    expect(record.status(11_000).problems).toEqual([])
    record.allocations({ exact: false, lastError: 'no such socket' })
    expect(record.status(11_000).problems).toEqual([
      { severity: 'warning', text: 'ended allocations are guessed from the listed pods: no such socket' },
    ])
  })

  it('counts what is odd about pods, and names the first', () => {
    const record = recorder()
    const named = (name: string): PodFinding => ({ ...FINDING, name, uid: name })
    record.tick(tick({ findings: [FINDING] }))
    expect(record.status(11_000)).toMatchObject({
      problems: [
        {
          severity: 'warning',
          text: '1 finding about what pods ask for: default/flink (OfflineResourcesIncomplete); see explain pod NAMESPACE/NAME',
        },
      ],
      findings: { count: 1, first: [{ pod: 'default/flink', reason: 'OfflineResourcesIncomplete' }] },
    })
    record.tick(tick({ seq: 2, findings: Array.from({ length: 50 }, (_, index) => named(`p${index}`)) }))
    const { problems, findings } = record.status(11_000)
    expect(problems[0]?.text).toMatch(/^50 findings .*default\/p0 .*default\/p2 \(\w+\), and 47 more; see/)
    expect(findings).toMatchObject({ count: 50 })
    expect(findings?.first).toHaveLength(20)
  })

  it('has a line on how the node fares', () => {
    const record = recorder()
    record.tick(tick({ signals: SIGNALS }))
    expect(renderStatus(record.status(11_000))).toContain('signals       HOT (CpuAboveWatermark), score 0, CPU 73.75 %')
  })
})
