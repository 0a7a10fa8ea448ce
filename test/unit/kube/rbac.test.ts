/**
 * deploy/rbac.yaml grants what the table of operations says, and nothing else; and an API server that enforces it never has to refuse
 * the agent anything.
 */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { parseAllDocuments } from 'yaml'
import { Cluster, openKubeletPods } from '../../../src/kube/index.ts'
import { OPERATIONS, type OperationName } from '../../../src/kube/operations.ts'
import { findingText } from '../../../src/model/index.ts'
import { ApiServerDouble, KubeletHttpsDouble, type RbacRule } from '../../support/api-server/index.ts'
import { ask } from '../../support/api-server/plain-caller.ts'
import { allows } from '../../support/api-server/rbac.ts'
import { evictorOf, wishOf } from './evictor-support.ts'
import { findingOf, HOT, recordOf, rigOf, signalsOf, WRITE_MS } from './reporter-support.ts'

interface Manifest {
  readonly kind: string
  readonly metadata: { readonly name: string; readonly namespace?: string }
  readonly rules?: readonly RbacRule[]
  readonly roleRef?: { readonly kind: string; readonly name: string }
  readonly subjects?: readonly unknown[]
}

const path = new URL('../../../deploy/rbac.yaml', import.meta.url)
const manifests = parseAllDocuments(readFileSync(path, 'utf8')).map((document) => document.toJS() as Manifest)
const ofKind = (kind: string) => manifests.filter((manifest) => manifest.kind === kind)
const rulesOf = (...roles: string[]) =>
  ofKind('ClusterRole')
    .filter(({ metadata }) => roles.includes(metadata.name))
    .flatMap(({ rules }) => rules ?? [])
const rules = ofKind('ClusterRole').flatMap(({ rules: own }) => own ?? [])

const grantsOf = (given: readonly RbacRule[]) =>
  given.flatMap(({ verbs, resources = [] }) => resources.flatMap((resource) => verbs.map((verb) => `${verb} ${resource}`)))
const needsOf = (...names: OperationName[]) => names.map((name) => `${OPERATIONS[name].verb} ${OPERATIONS[name].resource}`)
const ALL = Object.keys(OPERATIONS) as OperationName[]

const podOf = (name: string) => ({
  metadata: { name, namespace: 'team-a', uid: `00000000-0000-4000-8000-00000000000${name.slice(-1)}` },
  spec: { nodeName: 'n1', containers: [{ name: 'main' }] },
  status: { phase: 'Running' },
})

let directory: string

beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), 'rbac-'))
})
afterAll(() => rmSync(directory, { recursive: true }))

describe('deploy/rbac.yaml', () => {
  it('grants every operation, each once, and nothing else', () => {
    expect(grantsOf(rules).sort()).toEqual(needsOf(...ALL).sort())
    for (const rule of rules) {
      expect(rule.apiGroups).toEqual([''])
      expect(Object.keys(rule).sort()).toEqual(['apiGroups', 'resources', 'verbs'])
    }
  })

  it('keeps apart what a configuration may do without', () => {
    expect(grantsOf(rulesOf('kube-agent-node'))).toEqual(needsOf('patchNode'))
    expect(grantsOf(rulesOf('kube-agent-kubelet-pods'))).toEqual(needsOf('getKubeletPods'))
    expect(grantsOf(rulesOf('kube-agent-evict'))).toEqual(needsOf('createEviction'))
    expect(grantsOf(rulesOf('kube-agent-evict-force'))).toEqual(needsOf('deletePod'))
  })

  it('names every setting that makes the agent read its node', () => {
    const settings = [
      'pods.source: api',
      ...['events', 'condition', 'annotations', 'hotLabel', 'hotTaint'].map((name) => `cluster.${name}`),
    ]
    expect(OPERATIONS.getNode.when.split(', ')).toEqual(settings)
  })

  it('binds each role to the one service account, by a binding of the same name', () => {
    expect(ofKind('ServiceAccount').map(({ metadata }) => metadata)).toEqual([{ name: 'kube-agent', namespace: 'kube-agent' }])
    const roles = ofKind('ClusterRole').map(({ metadata }) => metadata.name)
    expect(ofKind('ClusterRoleBinding').map(({ roleRef, metadata }) => [metadata.name, roleRef?.kind, roleRef?.name])).toEqual(
      roles.map((name) => [name, 'ClusterRole', name]),
    )
    for (const { subjects } of ofKind('ClusterRoleBinding'))
      expect(subjects).toEqual([{ kind: 'ServiceAccount', name: 'kube-agent', namespace: 'kube-agent' }])
    expect(manifests.length).toBe(1 + 2 * roles.length)
  })
})

describe('an API server that enforces it', () => {
  /** One pod that goes, and one that only force moves. */
  async function evictions(cluster: Cluster, server: ApiServerDouble) {
    const wishes = ['p1', 'p2'].map((name) => wishOf(podOf(name).metadata))
    const budget = server.protect({ name: 'keep', namespace: 'team-a', disruptionsAllowed: 1 })
    const evictor = evictorOf(cluster.api, { settings: { force: true, forceAfterMs: 0 } })
    evictor.evict(wishes, performance.now())
    await expect.poll(() => evictor.view().recent.map(({ is }) => is)).toEqual(['forced', 'evicted'])
    server.lift(budget)
    evictor.close()
  }

  /** Everything that the agent can do at the API server: reads pods, reports a node that gets hot and cools, repeats an event, withdraws. */
  async function live(
    roles: readonly RbacRule[],
    { evicts, ...switches }: { readonly hotLabel: boolean; readonly hotTaint: boolean; readonly evicts: boolean },
  ) {
    const server = await ApiServerDouble.start({ directory, rules: roles })
    server.put('nodes', { metadata: { name: 'n1' }, spec: {}, status: {} })
    server.put('pods', podOf('p1'))
    const { url, tokenFile, caFile } = server
    const now = () => performance.now()
    const cluster = new Cluster({ server: url, tokenFile, caFile, requestMs: 10_000, nodeName: 'n1', version: 'test', now })
    const pods = cluster.pods(100)
    await expect.poll(() => pods.list().pods.length).toBe(1)
    await expect.poll(() => server.watching).toBe(1)
    server.put('pods', podOf('p2'))
    await expect.poll(() => pods.list().pods.length).toBe(2)
    const { reporter, pass } = rigOf(cluster.api, { switches, textOf: findingText })
    for (const signals of [HOT, signalsOf(), HOT]) {
      reporter.tick(recordOf(signals, [findingOf('p1')]))
      await pass(10 * 60_000 + WRITE_MS)
    }
    await reporter.withdraw()
    if (evicts) await evictions(cluster, server)
    pods.close()
    cluster.close()
    await server.stop()
    const asked = server.requests.map(({ verb, resource, status }) => ({ call: `${verb} ${resource}`, status }))
    return { asked, calls: [...new Set(asked.map(({ call }) => call))].sort(), stats: reporter.stats() }
  }

  it('refuses the agent nothing, with everything switched on, and each grant is used', async () => {
    const { asked, calls, stats } = await live(rules, { hotLabel: true, hotTaint: true, evicts: true })
    // A disruption budget that says no is no refusal of a right.
    expect(asked.filter(({ status }) => status >= 400 && status !== 429)).toEqual([])
    expect(calls).toEqual(needsOf(...ALL.filter((name) => name !== 'getKubeletPods')).sort())
    expect(stats.lastError).toBeUndefined()
  })

  it('refuses it nothing in the default configuration without the roles for the kubelet and for evictions', async () => {
    const { asked } = await live(rulesOf('kube-agent', 'kube-agent-node'), {
      hotLabel: false,
      hotTaint: false,
      evicts: false,
    })
    expect(asked.filter(({ status }) => status >= 400)).toEqual([])
  })

  it('refuses every other call', async () => {
    const server = await ApiServerDouble.start({ directory, rules })
    const others = [
      ['GET', '/api/v1/secrets'],
      ['GET', '/api/v1/namespaces/team-a/configmaps/c'],
      ['GET', '/api/v1/namespaces/team-a/pods/p1'],
      ['GET', '/api/v1/nodes'],
      ['GET', '/api/v1/nodes?watch=true'],
      ['GET', '/api/v1/events'],
      ['GET', '/api/v1/nodes/n1/status'],
      ['GET', '/api/v1/nodes/n1/proxy/exec'],
      ['POST', '/api/v1/namespaces/team-a/pods'],
      ['POST', '/api/v1/namespaces/team-a/pods/p1/exec'],
      ['POST', '/api/v1/namespaces/kube-agent/serviceaccounts/kube-agent/token'],
      ['POST', '/apis/rbac.authorization.k8s.io/v1/clusterrolebindings'],
      ['POST', '/apis/events.k8s.io/v1/namespaces/default/events'],
      ['PATCH', '/api/v1/namespaces/team-a/pods/p1'],
      ['PATCH', '/api/v1/namespaces/team-a/pods/p1/resize'],
      ['PUT', '/api/v1/nodes/n1'],
      ['PUT', '/api/v1/nodes/n1/status'],
      ['DELETE', '/api/v1/nodes/n1'],
      ['DELETE', '/api/v1/namespaces/team-a/events/e'],
      ['DELETE', '/api/v1/namespaces/team-a/pods'],
    ] as const
    for (const [method, where] of others)
      expect((await ask(server, { method, path: where })).status, `${method} ${where}`).toBe(403)
    await server.stop()
  })

  it('refuses what ends pods without the roles for it', async () => {
    const server = await ApiServerDouble.start({ directory, rules: rulesOf('kube-agent', 'kube-agent-node') })
    server.put('pods', podOf('p1'))
    const eviction = { method: 'POST', path: '/api/v1/namespaces/team-a/pods/p1/eviction' }
    const deletion = { method: 'DELETE', path: '/api/v1/namespaces/team-a/pods/p1' }
    expect((await ask(server, eviction)).status).toBe(403)
    expect((await ask(server, deletion)).status).toBe(403)
    await server.stop()
    const evicting = await ApiServerDouble.start({ directory, rules: rulesOf('kube-agent', 'kube-agent-evict') })
    expect((await ask(evicting, deletion)).status).toBe(403)
    await evicting.stop()
  })

  it('refuses every other verb on every resource that is named, and every verb on their neighbours', () => {
    const verbs = [
      'get',
      'list',
      'watch',
      'create',
      'update',
      'patch',
      'delete',
      'deletecollection',
      'proxy',
      'impersonate',
      'bind',
      'escalate',
    ]
    const resources = ['pods', 'nodes', 'events', 'secrets', 'serviceaccounts', 'configmaps', 'namespaces']
    const subresources = [
      '',
      'status',
      'proxy',
      'pods',
      'exec',
      'eviction',
      'resize',
      'token',
      'configz',
      'stats',
      'log',
      'metrics',
      'checkpoint',
    ]
    const granted: string[] = []
    for (const verb of verbs)
      for (const resource of resources)
        for (const subresource of subresources) {
          const asked = { verb, group: '', resource, subresource, namespace: 'team-a', name: 'x' }
          if (allows(rules, asked)) granted.push(`${verb} ${resource}${subresource === '' ? '' : `/${subresource}`}`)
          expect(allows(rules, { ...asked, group: 'apps' })).toBe(false)
        }
    expect(granted.sort()).toEqual(needsOf(...ALL).sort())
  })
})

it('a kubelet that asks for what it grants gives its pods, and refuses them without the role', async () => {
  const kubelet = await KubeletHttpsDouble.start({ directory })
  kubelet.setPods([podOf('p1')])
  const asked = { verb: 'get', group: '', resource: 'nodes', subresource: 'pods', namespace: '', name: 'n1' }
  const open = (granted: readonly RbacRule[]) => {
    kubelet.allowed = allows(granted, asked)
    const { tokenFile, caFile } = kubelet
    const now = () => performance.now()
    const cluster = { tokenFile, caFile, requestMs: 10_000, nodeName: 'n1', version: 'test', now }
    return openKubeletPods(cluster, { kubelet: kubelet.url, verify: true, rescanMs: 100, maxPods: 100 })
  }
  const refused = open(rulesOf('kube-agent', 'kube-agent-node'))
  await expect.poll(() => refused.list().problems.join()).toContain('403')
  refused.close()
  const pods = open(rules)
  await expect.poll(() => pods.list().pods.length).toBe(1)
  pods.close()
  await kubelet.stop()
})
