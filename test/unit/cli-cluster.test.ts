/** What a run has of the cluster by its configuration: above all, who may be asked to evict pods, and when there is nobody. */
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { beforeEach, describe, expect, it, onTestFinished } from 'vitest'
import { type ClusterParts, openCluster, tellCluster } from '../../src/cli/cluster.ts'
import { Teardown } from '../../src/cli/teardown.ts'
import type { Config } from '../../src/config/index.ts'
import type { ApiServerDouble } from '../support/api-server/index.ts'
import { configOf } from '../support/config.ts'
import { planted } from '../support/trees-on-disk.ts'
import { wishOf } from './kube/evictor-support.ts'
import { capturedLogger, recorder } from './record/fixtures.ts'
import { haveOpenssl, NODE, pod, SOON, startDouble } from './kube/support.ts'

const openssl = haveOpenssl()
let server: ApiServerDouble

beforeEach(async (context) => {
  if (!openssl) return context.skip('needs openssl')
  server = await startDouble()
})

interface Opening {
  readonly source?: 'api' | 'directory'
  readonly evict?: Readonly<Record<string, unknown>>
  readonly writes?: boolean
  readonly server?: string
  readonly mode?: 'plan' | 'enforce'
  readonly state?: string
  /** Nobody is told of anything. */
  readonly silent?: boolean
}

const SILENT = { events: false, condition: false, annotations: false }

function open(opening: Opening = {}): ClusterParts {
  return opened(opening).parts
}

function opened({
  source = 'api',
  evict = { enabled: true },
  writes = true,
  server: url = server.url,
  mode = 'enforce',
  state = planted(),
  silent = false,
}: Opening = {}): { readonly parts: ClusterParts; readonly config: Config } {
  const directory = join(planted(), 'pods')
  mkdirSync(directory)
  const { tokenFile, caFile } = server
  const config = configOf({
    mode,
    node: { name: NODE },
    pods: { source, directory },
    paths: { state },
    loop: { calmMs: 100 },
    cluster: { tokenFile, caFile, writeMs: 100, ...(silent ? SILENT : {}), ...(url === '' ? {} : { server: url }) },
    evict,
    memoryEvictBe: { enterPermyriad: 333 },
  })
  const parts = openCluster(config, { writes, environment: {} })
  onTestFinished(() => parts.close())
  return { parts, config }
}

describe('the cluster as a run opens it', () => {
  it('evicts a pod with the grace period of the configuration and that of the pod, whichever is shorter', async () => {
    const short = server.put('pods', pod('short'))
    const long = { ...pod('long'), spec: { nodeName: NODE, containers: [{ name: 'c' }], terminationGracePeriodSeconds: 600 } }
    const { metadata } = server.put('pods', long)
    const { evictor, pods } = open({ evict: { enabled: true, gracePeriodSeconds: 45 } })
    await expect.poll(() => pods.list().pods.length, SOON).toBe(2)
    evictor.evict([wishOf(short.metadata), wishOf(metadata)], performance.now())
    await expect.poll(() => evictor.view().counts.evicted, SOON).toBe(2)
    const graceOf = (name: string) => server.get('pods', 'default', name)?.metadata['deletionGracePeriodSeconds']
    expect([graceOf('short'), graceOf('long')]).toEqual([30, 45])
  })

  it('takes pods from a directory and evicts through an API server all the same, where one is configured', async () => {
    const { metadata } = server.put('pods', pod('p'))
    const { evictor } = open({ source: 'directory' })
    evictor.evict([wishOf(metadata)], performance.now())
    await expect.poll(() => evictor.view().recent[0]?.is, SOON).toBe('evicted')
  })

  it('writes events about evictions, with the watermark of the configuration', async () => {
    const { evictor, reporter } = open()
    const wish = wishOf({ name: 'p' }, { dryRun: true, rung: 'memoryEvictBe', qosClass: 'BE' })
    evictor.evict([wish], performance.now())
    reporter?.start()
    await expect.poll(() => server.all('events').length, SOON).toBe(1)
    expect(server.all('events')[0]).toMatchObject({
      reason: 'OfflinePodWouldBeEvicted',
      message: expect.stringContaining('memoryEvictBe: at 3.33 % available or less'),
      involvedObject: { kind: 'Pod', name: 'p', uid: 'uid-of-p' },
    })
  })

  it('has nobody who evicts without an API server, or where it may not write, and says which', () => {
    const { evictor } = open({ source: 'directory', server: '', mode: 'enforce' })
    expect(evictor.view().impossible).toBe('there is no API server to ask')
    evictor.evict([wishOf({ name: 'p' })], performance.now())
    expect(evictor.view()).toMatchObject({ recent: [], counts: { asked: 0 } })
    expect(open({ writes: false, mode: 'plan' }).evictor.view().impossible).toBe('the mode is plan')
  })

  it('has one that says why it does nothing where evictions are off', () => {
    const { evictor } = open({ evict: {} })
    expect(evictor.view().impossible).toContain('evict.enabled')
  })

  it('remembers over a restart what was granted, without counting or asking again', async () => {
    const { metadata } = server.put('pods', pod('p'))
    const state = planted()
    const before = open({ state })
    before.evictor.evict([wishOf(metadata)], performance.now())
    await expect.poll(() => before.evictor.view().recent[0]?.is, SOON).toBe('evicted')
    before.close()
    const after = open({ state })
    expect(after.evictor.view()).toMatchObject({
      recent: [{ is: 'evicted', wish: { name: 'p' } }],
      counts: { evicted: 0, asked: 0 },
    })
    expect(after.evictor.view().recent[0]?.atMs).toBeLessThanOrEqual(performance.now())
    const asked = server.requests.length
    after.evictor.evict([wishOf(metadata)], performance.now())
    expect(after.evictor.view().counts.asked).toBe(0)
    expect(server.requests.length).toBe(asked)
    expect(open({ state: planted() }).evictor.view().recent).toEqual([])
  })

  it('shows how the calls for evictions go where the cluster is told of nothing else', async () => {
    const { parts, config } = opened({ source: 'directory', silent: true })
    expect(parts.reporter).toBeUndefined()
    const states: unknown[] = []
    const teardown = new Teardown()
    const { logger } = capturedLogger()
    onTestFinished(() => teardown.run(logger))
    const shown = recorder(logger)
    shown.cluster = (state) => void states.push(structuredClone(state))
    tellCluster(parts, shown, { config, teardown })
    const { metadata } = server.put('pods', pod('p'))
    parts.evictor.evict([wishOf(metadata)], performance.now())
    await expect
      .poll(() => states.at(-1), SOON)
      .toMatchObject({ server: server.url, writes: { createEviction: { ok: 1, failed: 0 } } })
    expect(states.at(-1)).toMatchObject({ lastOkWallMs: expect.any(Number) as number })
    expect(states.at(-1)).not.toHaveProperty('lastError')
    server.fail({ status: 403 })
    parts.evictor.evict([wishOf({ name: 'q' })], performance.now())
    await expect.poll(() => states.at(-1), SOON).toMatchObject({ lastError: expect.stringContaining('403') as string })
  })

  it('tells in a condition of the node what keeps the agent from its work, and shows how each thing that is told goes', async () => {
    server.put('nodes', { metadata: { name: NODE }, spec: {}, status: {} })
    const { parts, config } = opened({ source: 'directory' })
    const teardown = new Teardown()
    const { logger } = capturedLogger()
    onTestFinished(() => teardown.run(logger))
    const shown = recorder(logger)
    shown.troubles = () => [{ reason: 'RestoreJournalFailing', text: 'ENOSPC' }]
    tellCluster(parts, shown, { config, teardown })
    const told = (): unknown =>
      (server.get('nodes', '', NODE) as unknown as { status: { conditions?: unknown } }).status.conditions
    await expect
      .poll(told, { timeout: 10_000 })
      .toContainEqual(expect.objectContaining({ type: 'ColocationDegraded', status: 'True', reason: 'RestoreJournalFailing' }))
    const sinks = shown.status(performance.now()).parts.filter(({ kind }) => kind === 'sink')
    expect(sinks.map(({ name }) => name)).toEqual([
      'node_look',
      'node_conditions',
      'node_metadata',
      'node_taint',
      'events',
      'evictions',
    ])
    expect(sinks.find(({ name }) => name === 'node_conditions')).toMatchObject({ is: 'works', failures: 0 })
  })

  it('ends the evictor with the rest', async () => {
    server.hang()
    const parts = open()
    parts.evictor.evict([wishOf({ name: 'p' })], performance.now())
    await expect.poll(() => server.requests.some(({ resource }) => resource === 'pods/eviction'), SOON).toBe(true)
    parts.close()
    server.resume()
    parts.evictor.evict([wishOf({ name: 'q' })], performance.now())
    expect(parts.evictor.view().counts.asked).toBe(1)
  })
})
