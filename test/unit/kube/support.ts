/** What the tests of the cluster share: clients of the API-server double and of small servers that answer as a test says, all by real TLS. */
import { existsSync } from 'node:fs'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { createServer } from 'node:https'
import type { AddressInfo } from 'node:net'
import { delimiter, join } from 'node:path'
import { onTestFinished } from 'vitest'
import { ApiClient, type ApiClientOptions } from '../../../src/kube/api-client.ts'
import { ApiPods, type ApiPodsOptions } from '../../../src/kube/api-pods.ts'
import { Credentials } from '../../../src/kube/credentials.ts'
import { makeCertificates, replaceFile } from '../../support/api-server/certificates.ts'
import { type ApiObject, ApiServerDouble } from '../../support/api-server/index.ts'
import { planted } from '../../support/trees-on-disk.ts'

export const NODE = 'node-1'

/** Says nothing about how long a thing takes: only that it comes. */
export const SOON = { timeout: 15_000, interval: 5 }

export const haveOpenssl = (): boolean =>
  (process.env['PATH'] ?? '').split(delimiter).some((directory) => existsSync(join(directory, 'openssl')))

/** A monotonic clock on which a second passes with each look, so that no file counts as just checked. */
export function hurriedClock(): () => number {
  let nowMs = 0
  return () => (nowMs += 1000)
}

/** Waits are as good as none, but not for ever growing. */
export const IMPATIENT = { firstMs: 4, maxMs: 20 }

/** Holds NODE: without it a list without pods is not believed. */
export async function startDouble(options: Omit<Parameters<typeof ApiServerDouble.start>[0], 'directory'> = {}) {
  const api = await ApiServerDouble.start({ directory: planted(), ...options })
  api.put('nodes', { metadata: { name: NODE } })
  onTestFinished(() => api.stop())
  return api
}

interface Server {
  readonly url: string
  readonly caFile: string
  readonly tokenFile: string
}

export function clientOf(server: Server, options: Partial<ApiClientOptions> & { readonly now?: () => number } = {}): ApiClient {
  const { url, caFile, tokenFile } = server
  const credentials = new Credentials({ caFile, tokenFile, now: options.now ?? hurriedClock() })
  const client = new ApiClient({ server: url, credentials, requestMs: 10_000, version: '1.2.3', ...options })
  onTestFinished(() => client.close())
  return client
}

export function podsOf(server: Server, options: Partial<ApiPodsOptions> & Partial<ApiClientOptions> = {}): ApiPods {
  const source = new ApiPods({
    api: clientOf(server, options),
    server: server.url,
    nodeName: NODE,
    maxPods: 100,
    now: () => performance.now(),
    backoffMs: IMPATIENT,
    expiredPauseMs: 0,
    ...options,
  })
  onTestFinished(() => source.close())
  return source
}

/** A TLS server that answers as `handle` says. */
export async function startServer(handle: (request: IncomingMessage, response: ServerResponse) => void) {
  const directory = planted()
  const { ca, cert, key } = await makeCertificates(directory)
  const caFile = join(directory, 'ca.crt')
  const tokenFile = join(directory, 'token')
  replaceFile(caFile, ca)
  replaceFile(tokenFile, 'secret-token')
  const server = createServer({ cert, key }, handle)
  await new Promise<void>((resolve) => server.listen(0, '0.0.0.0', resolve))
  onTestFinished(async () => {
    const closed = new Promise((resolve) => server.close(resolve))
    server.closeAllConnections()
    await closed
  })
  const connections = (): Promise<number> =>
    new Promise((resolve, reject) => server.getConnections((error, count) => (error ? reject(error) : resolve(count))))
  const url = `https://127.0.0.1:${(server.address() as AddressInfo).port}`
  return { url, caFile, tokenFile, directory, connections }
}

export function pod(
  name: string,
  more: { readonly uid?: string; readonly phase?: string; readonly node?: string } = {},
): ApiObject {
  const { uid, phase = 'Running', node = NODE } = more
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name, namespace: 'default', ...(uid === undefined ? {} : { uid }) },
    spec: { nodeName: node, containers: [{ name: 'c' }] },
    status: { phase },
  }
}

/** A static pod as the API server shows it; `owner` is the node that controls it. */
export function mirrorPod(
  name: string,
  { uid, hash, owner }: { readonly uid: string; readonly hash: string; readonly owner?: string },
): ApiObject {
  const annotations = { 'kubernetes.io/config.hash': hash, 'kubernetes.io/config.mirror': hash }
  const owners = { ownerReferences: [{ apiVersion: 'v1', kind: 'Node', name: owner, uid: 'node-uid', controller: true }] }
  const object = pod(name, { uid })
  return { ...object, metadata: { ...object.metadata, annotations, ...(owner === undefined ? {} : owners) } }
}
