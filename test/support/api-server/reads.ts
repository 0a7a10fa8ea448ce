/**
 * Lists: fields to select by, pages, and the rules of resourceVersion and resourceVersionMatch.
 * Source: kubernetes.io/docs/reference/using-api/api-concepts ("Resource versions"), k8s.io/apiserver pkg/storage, 1.36.
 */
import { type ApiObject, badRequest, expired, invalid, type Json, KINDS, type ResourceName, StatusError } from './objects.ts'
import { fieldSelector, type Selector } from './selectors.ts'
import type { Store } from './store.ts'

export interface Scope {
  readonly resource: ResourceName
  /** Empty for all namespaces. */
  readonly namespace: string
  /** Empty unless one object is watched by its path. */
  readonly name: string
}

export function selectorOf({ resource, namespace, name }: Scope, query: URLSearchParams): Selector {
  if (query.get('labelSelector')) throw badRequest('this API server is a double and knows no labelSelector')
  const byField = fieldSelector(resource, query.get('fieldSelector') ?? '')
  return (object) =>
    (namespace === '' || object.metadata.namespace === namespace) &&
    (name === '' || object.metadata.name === name) &&
    byField(object)
}

/** Undefined for none; Kubernetes: `0` means whatever the cache holds. */
export function versionOf(query: URLSearchParams): number | undefined {
  const text = query.get('resourceVersion') ?? ''
  if (text === '') return undefined
  if (!/^\d{1,18}$/.test(text))
    throw badRequest(
      `resourceVersion: Invalid value: ${JSON.stringify(text)}: strconv.ParseUint: parsing ${JSON.stringify(text)}: invalid syntax`,
    )
  return Number(text)
}

export const tooLarge = (asked: number, current: number): StatusError =>
  new StatusError(504, 'Timeout', `Too large resource version: ${asked}, current: ${current}`, {
    retryAfterSeconds: 1,
    details: { causes: [{ reason: 'ResourceVersionTooLarge', message: 'Too large resource version' }] },
  })

export const invalidOptions = (problem: string): StatusError => invalid('ListOptions.meta.k8s.io', '', [problem])

const TOO_OLD_TOKEN =
  'The provided continue parameter is too old to display a consistent list result. You can start a new list without the continue parameter.'

interface Page {
  readonly version: number
  readonly from: number
  readonly limit: number
}

export function list(store: Store, scope: Scope, query: URLSearchParams): Json {
  const { version, from, limit } = pageOf(store, query)
  const selects = selectorOf(scope, query)
  const all = store.listAt(scope.resource, version).filter(selects)
  const items = all.slice(from, limit === 0 ? undefined : from + limit)
  const left = all.length - from - items.length
  const token = { v: 'meta.k8s.io/v1', rv: version, from: from + items.length }
  const metadata: Json = { resourceVersion: String(version) }
  if (left > 0) metadata['continue'] = Buffer.from(JSON.stringify(token)).toString('base64url')
  // Kubernetes: left out when anything but the namespace selects.
  if (left > 0 && !query.get('fieldSelector')) metadata['remainingItemCount'] = left
  return { kind: `${KINDS[scope.resource].kind}List`, apiVersion: 'v1', metadata, items: items.map(bare) }
}

/** Kubernetes: items of a typed list carry neither kind nor apiVersion. */
function bare(object: ApiObject): Json {
  const { kind: _kind, apiVersion: _apiVersion, ...rest } = object
  return rest
}

function pageOf(store: Store, query: URLSearchParams): Page {
  const limit = Number(query.get('limit') ?? 0)
  if (!Number.isSafeInteger(limit) || limit < 0) throw badRequest(`limit: Invalid value: ${query.get('limit')}`)
  const asked = versionOf(query)
  const match = query.get('resourceVersionMatch') ?? ''
  const token = query.get('continue') ?? ''
  if (match !== '') checkMatch(match, asked, token)
  if (token !== '') {
    if (asked !== undefined && asked !== 0) throw badRequest('specifying resource version is not allowed when using continue')
    return { ...pageOfToken(store, token), limit }
  }
  if (asked === undefined) return { version: store.version, from: 0, limit }
  if (asked > store.version) throw tooLarge(asked, store.version)
  // Kubernetes: the cache answers for version 0, and it gives no pages.
  if (asked === 0) return { version: store.version, from: 0, limit: 0 }
  const exact = match === 'Exact' || (match === '' && limit > 0)
  if (exact && asked < store.oldest) throw expired(asked, store.oldest)
  return { version: exact ? asked : store.version, from: 0, limit }
}

function checkMatch(match: string, asked: number | undefined, token: string): void {
  if (token !== '')
    throw invalidOptions('resourceVersionMatch: Forbidden: resourceVersionMatch is forbidden when continue is provided')
  if (match !== 'Exact' && match !== 'NotOlderThan')
    throw invalidOptions(
      `resourceVersionMatch: Unsupported value: ${JSON.stringify(match)}: supported values: "Exact", "NotOlderThan"`,
    )
  if (asked === undefined)
    throw invalidOptions('resourceVersionMatch: Forbidden: resourceVersionMatch is forbidden unless resourceVersion is provided')
  if (match === 'Exact' && asked === 0)
    throw invalidOptions('resourceVersionMatch: Forbidden: resourceVersionMatch "exact" is forbidden for resourceVersion "0"')
}

function pageOfToken(store: Store, text: string): { readonly version: number; readonly from: number } {
  let token: { readonly rv?: unknown; readonly from?: unknown }
  try {
    token = JSON.parse(Buffer.from(text, 'base64url').toString()) as typeof token
  } catch {
    throw badRequest('continue key is not valid')
  }
  if (typeof token.rv !== 'number' || typeof token.from !== 'number') throw badRequest('continue key is not valid')
  if (token.rv < store.oldest) throw new StatusError(410, 'Expired', TOO_OLD_TOKEN)
  return { version: token.rv, from: token.from }
}
