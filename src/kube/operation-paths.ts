/**
 * Which paths an operation may ask for. The table of operations says what RBAC must grant; a path that belongs to another resource would
 * make it a lie, so the client refuses to send one.
 * Source: Kubernetes API conventions, /api/v1[/namespaces/NS]/RESOURCE[/NAME[/SUBRESOURCE]]; pkg/kubelet/server/auth.go for the kubelet.
 */
import { assertInvariant } from '../model/index.ts'
import { OPERATIONS, type OperationName } from './operations.ts'

/** The kubelet's server speaks of its paths as subresources of its node. */
const KUBELET_PATHS: Partial<Record<OperationName, string>> = { getKubeletPods: '/pods' }

const NAMED: Readonly<Record<string, boolean>> = {
  get: true,
  patch: true,
  delete: true,
  list: false,
  watch: false,
  create: false,
}
/** What would otherwise be of every namespace at once. */
const IN_NAMESPACE: ReadonlySet<string> = new Set(['createEviction', 'deletePod'])

export function assertPathFits(operation: OperationName, path: string): void {
  const kubeletPath = KUBELET_PATHS[operation]
  const fits = kubeletPath === undefined ? isPathOf(operation, path) : path === kubeletPath
  assertInvariant(fits, `${operation} does not ask for ${JSON.stringify(path.slice(0, 300))}`)
}

function isPathOf(operation: OperationName, path: string): boolean {
  const { verb, resource } = OPERATIONS[operation]
  const [kind, subresource] = resource.split('/')
  const parts = path.split('/').slice(1)
  // A name that is a dot segment, or holds what ends a path, would lead elsewhere.
  if (!parts.every((part) => /^(?!\.{1,2}$)[-\w.~%:]+$/.test(part))) return false
  const [api, version, ...rest] = parts
  if (api !== 'api' || version !== 'v1') return false
  const namespaced = rest[0] === 'namespaces'
  if (IN_NAMESPACE.has(operation) && !namespaced) return false
  const own = namespaced ? rest.slice(2) : rest
  const [ownKind, ...after] = own
  // A subresource is always one of an object with a name, also where it is created.
  const named = NAMED[verb] === true || subresource !== undefined
  const wanted = [...(named ? ['name'] : []), ...(subresource === undefined ? [] : [subresource])]
  if (ownKind !== kind || after.length !== wanted.length) return false
  return subresource === undefined || after.at(-1) === subresource
}
