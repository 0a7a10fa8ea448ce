/**
 * From method and path to what RBAC and the handlers speak of: verb, resource, subresource, namespace, name.
 * Source: k8s.io/apiserver pkg/endpoints/request/requestinfo.go, 1.36.
 */
import type { Attributes } from './rbac.ts'

const VERBS: Readonly<Record<string, string>> = { POST: 'create', PUT: 'update', PATCH: 'patch', DELETE: 'delete' }

export interface Route extends Attributes {
  readonly path: string
  readonly version: string
}

/** Undefined for a path that is not of a resource, such as /healthz. */
export function routeOf(method: string, url: URL): Route | undefined {
  const parts = url.pathname
    .split('/')
    .filter((part) => part !== '')
    .map(decodeURIComponent)
  const [prefix] = parts.splice(0, 1)
  if (prefix !== 'api' && prefix !== 'apis') return undefined
  const group = prefix === 'apis' ? (parts.shift() ?? '') : ''
  const version = parts.shift()
  if (version === undefined || parts.length === 0) return undefined
  let namespace = ''
  if (parts[0] === 'namespaces' && parts.length > 2) [, namespace = ''] = parts.splice(0, 2)
  const [resource = '', name = '', subresource = ''] = parts
  return { group, version, namespace, resource, name, subresource, path: url.pathname, verb: verbOf(method, url, name) }
}

function verbOf(method: string, url: URL, name: string): string {
  if (method === 'GET' || method === 'HEAD') {
    if (['1', 'true'].includes(url.searchParams.get('watch') ?? '')) return 'watch'
    return name === '' ? 'list' : 'get'
  }
  if (method === 'DELETE' && name === '') return 'deletecollection'
  return VERBS[method] ?? method.toLowerCase()
}

/** Enough for a kubectl to find its way about; these need no rule: every user has system:discovery. */
export function discovery(path: string): unknown {
  const verbs = ['get', 'list', 'watch', 'create', 'patch']
  const resource = (name: string, kind: string, namespaced: boolean, shortNames: readonly string[]) => ({
    name,
    singularName: kind.toLowerCase(),
    namespaced,
    kind,
    verbs,
    shortNames,
  })
  const documents: Record<string, unknown> = {
    '/version': { major: '1', minor: '36', gitVersion: 'v1.36.2', platform: 'linux/amd64' },
    '/api': { kind: 'APIVersions', versions: ['v1'], serverAddressByClientCIDRs: [] },
    '/apis': { kind: 'APIGroupList', apiVersion: 'v1', groups: [] },
    '/api/v1': {
      kind: 'APIResourceList',
      groupVersion: 'v1',
      resources: [
        { ...resource('pods', 'Pod', true, ['po']), verbs: [...verbs, 'delete'] },
        {
          name: 'pods/eviction',
          singularName: '',
          namespaced: true,
          group: 'policy',
          version: 'v1',
          kind: 'Eviction',
          verbs: ['create'],
        },
        resource('nodes', 'Node', false, ['no']),
        { ...resource('nodes/status', 'Node', false, []), verbs: ['get', 'patch'] },
        resource('events', 'Event', true, ['ev']),
      ],
    },
  }
  return documents[path]
}
