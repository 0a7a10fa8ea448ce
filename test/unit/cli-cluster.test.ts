/** What a run has of the cluster by its configuration: above all, who may be asked to evict pods, and when there is nobody. */
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { beforeEach, describe, expect, it, onTestFinished } from 'vitest'
import { type ClusterParts, openCluster } from '../../src/cli/cluster.ts'
import type { ApiServerDouble } from '../support/api-server/index.ts'
import { configOf } from '../support/config.ts'
import { planted } from '../support/trees-on-disk.ts'
import { wishOf } from './kube/evictor-support.ts'
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
}

function open({
  source = 'api',
  evict = { enabled: true },
  writes = true,
  server: url = server.url,
  mode = 'enforce',
}: Opening = {}): ClusterParts {
  const directory = join(planted(), 'pods')
  mkdirSync(directory)
  const { tokenFile, caFile } = server
  const config = configOf({
    mode,
    node: { name: NODE },
    pods: { source, directory },
    cluster: { tokenFile, caFile, writeMs: 100, ...(url === '' ? {} : { server: url }) },
    evict,
    memoryEvictBe: { enterPermyriad: 333 },
  })
  const parts = openCluster(config, { writes, environment: {} })
  onTestFinished(() => parts.close())
  return parts
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
