/**
 * Every call that the agent makes to the API server or to the kubelet's HTTPS server, by the terms in which RBAC speaks of it. The client
 * takes nothing else, so deploy/rbac.yaml can be held to this table by a test: what is not here can't be asked for, and what is not
 * needed is not granted.
 */

export interface Operation {
  readonly verb: 'get' | 'list' | 'watch' | 'create' | 'patch' | 'delete'
  /** With its subresource, as in `nodes/status`. All are of the core group. */
  readonly resource: string
  /** The settings of which one at least must be on, or the call is never made. */
  readonly when: string
}

export const OPERATIONS = {
  listPods: { verb: 'list', resource: 'pods', when: 'pods.source: api' },
  watchPods: { verb: 'watch', resource: 'pods', when: 'pods.source: api' },
  getKubeletPods: { verb: 'get', resource: 'nodes/pods', when: 'pods.source: kubelet' },
  getNode: {
    verb: 'get',
    resource: 'nodes',
    when: 'pods.source: api, cluster.events, cluster.condition, cluster.annotations, cluster.hotLabel, cluster.hotTaint',
  },
  patchNode: { verb: 'patch', resource: 'nodes', when: 'cluster.annotations, cluster.hotLabel, cluster.hotTaint' },
  patchNodeStatus: { verb: 'patch', resource: 'nodes/status', when: 'cluster.condition' },
  createEvent: { verb: 'create', resource: 'events', when: 'cluster.events' },
  patchEvent: { verb: 'patch', resource: 'events', when: 'cluster.events' },
  createEviction: { verb: 'create', resource: 'pods/eviction', when: 'evict.enabled' },
  deletePod: { verb: 'delete', resource: 'pods', when: 'evict.force' },
} as const satisfies Record<string, Operation>

export type OperationName = keyof typeof OPERATIONS
