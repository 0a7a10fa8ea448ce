/** Pods to spoil, and what a PodSpec must be whatever it was read from. */
import { resolve } from 'node:path'
import { isPodUid, podGroup, type PodSpec, podsRoot } from '../../src/model/index.ts'
import { expectAmounts } from './support.ts'

export const POD = {
  apiVersion: 'v1',
  kind: 'Pod',
  metadata: {
    name: 'web-0',
    namespace: 'shop',
    uid: '0f9d3c1e-6b7a-4f6e-9a52-3f1f4b1d2c3e',
    resourceVersion: '41',
    creationTimestamp: '2026-11-21T10:00:00Z',
    labels: { app: 'web', 'kube-agent.io/qos-class': 'BE' },
    annotations: { 'kubernetes.io/config.source': 'api' },
    ownerReferences: [{ apiVersion: 'apps/v1', kind: 'ReplicaSet', name: 'web', uid: 'u', controller: true }],
  },
  spec: {
    priority: 1000,
    priorityClassName: 'batch',
    terminationGracePeriodSeconds: 30,
    containers: [
      {
        name: 'c',
        resources: { requests: { cpu: '250m', memory: '64Mi', 'x.io/be-cpu': '2' }, limits: { 'x.io/be-cpu': 2, cpu: 1 } },
      },
    ],
    initContainers: [{ name: 'i', restartPolicy: 'Always', resources: { requests: { cpu: '100m' } } }],
    resources: { limits: { memory: '1Gi' } },
  },
  status: {
    phase: 'Running',
    qosClass: 'Burstable',
    containerStatuses: [{ name: 'c', containerID: 'containerd://4f4f4f4f4f4f4f4f' }],
  },
}

const HASH = '3b0c3b0c3b0c3b0c3b0c3b0c3b0c3b0c'

export const MIRROR_POD = {
  kind: 'Pod',
  metadata: {
    name: 'etcd-node-1',
    uid: 'a1b2c3d4-0000-0000-0000-000000000000',
    resourceVersion: '7',
    annotations: {
      'kubernetes.io/config.hash': HASH,
      'kubernetes.io/config.mirror': HASH,
      'kubernetes.io/config.source': 'file',
    },
    ownerReferences: [{ apiVersion: 'v1', kind: 'Node', name: 'node-1', uid: 'n', controller: true }],
  },
  spec: { containers: [{ name: 'etcd', resources: { limits: { cpu: 2, memory: '1Gi' } } }] },
  status: { phase: 'Pending' },
}

const LAYOUTS = [
  { root: '/', driver: 'cgroupfs' },
  { root: '/', driver: 'systemd' },
  { root: '/kubelet', driver: 'systemd' },
] as const

/** Text without a line break or another control character: what may stand in a message as it is. */
const PLAIN = /^\P{Cc}*$/u

/** Throws when a spec holds what no later part of the agent could bear: amounts that are none, names that lead or look elsewhere. */
export function checkPod(spec: PodSpec): void {
  const { labels, containers, uid, name, namespace, kubeletQos, priority: _priority, createdWallMs, ...amounts } = spec
  expectAmounts({ ...amounts, containers }, (key) => key === 'priority')
  if (createdWallMs !== undefined && !Number.isFinite(createdWallMs)) throw new Error(`created at ${createdWallMs}`)
  if (!isPodUid(uid)) throw new Error(`a UID of ${uid}`)
  for (const text of [
    name,
    namespace,
    ...containers.map((container) => container.name),
    spec.priorityClassName ?? '',
    spec.controllerKind ?? '',
  ])
    if (!PLAIN.test(text) || text.length > 253 || text.includes('/')) throw new Error(`a name of ${JSON.stringify(text)}`)
  for (const label of Object.values(labels))
    if (typeof label !== 'string' || label.length > 63 || !PLAIN.test(label))
      throw new Error(`a label of ${JSON.stringify(label)}`)
  if (containers.length === 0) throw new Error('no container')
  for (const resource of Object.keys(spec.extended)) if (!resource.includes('/')) throw new Error(`units of ${resource}`)
  for (const layout of LAYOUTS) expectBelow(podsRoot(layout), podGroup(layout, kubeletQos, uid))
  if (Object.prototype.hasOwnProperty.call(Object.prototype, 'polluted'))
    throw new Error('the prototype of all objects was changed')
}

/** Throws unless a path, with all its dots followed, lies below a root. */
export function expectBelow(root: string, path: string): void {
  if (resolve(path) !== path || !path.startsWith(`${root}/`) || path.includes('\0'))
    throw new Error(`${JSON.stringify(path)} is not below ${root}`)
}

/** A problem as people see it: one line, not too long for one. */
export function checkProblem(problem: string): void {
  if (!PLAIN.test(problem) || problem.length > 1600) throw new Error(`an odd message: ${JSON.stringify(problem.slice(0, 300))}`)
}
