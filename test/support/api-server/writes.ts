/**
 * Creating and patching. What a patch of an object may not touch is silently kept, as there: the status through the object, the spec through
 * its status. Labels and annotations go through both: the strategy of a node's status keeps the spec only, and the kubelet relies on it.
 * Source: kubernetes pkg/registry/core/node/strategy.go, k8s.io/apiserver pkg/endpoints/handlers/patch.go, 1.36.
 */
import { randomBytes } from 'node:crypto'
import {
  alreadyExists,
  type ApiObject,
  badRequest,
  conflict,
  invalid,
  isJson,
  type Json,
  KINDS,
  notFound,
  type ResourceName,
  StatusError,
} from './objects.ts'
import { mergePatch, strategicMergePatch } from './patches.ts'
import type { Store } from './store.ts'
import { typeProblems, validate } from './validate.ts'

const PATCHES: Readonly<Record<string, (target: unknown, patch: unknown) => unknown>> = {
  'application/merge-patch+json': mergePatch,
  'application/strategic-merge-patch+json': strategicMergePatch,
}

export interface Target {
  readonly resource: ResourceName
  readonly namespace: string
  readonly name: string
  readonly subresource: string
}

export interface Body {
  readonly contentType: string
  readonly text: string
}

export const wrongType = (accepted: readonly string[]): StatusError =>
  new StatusError(
    415,
    'UnsupportedMediaType',
    `the body of the request was in an unknown format - accepted media types include: ${accepted.join(', ')}`,
  )

export function parse({ text }: Body): Json {
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch (thrown) {
    throw badRequest(`error decoding patch: ${thrown instanceof Error ? thrown.message : String(thrown)}`)
  }
  if (!isJson(value)) throw badRequest('json: cannot unmarshal into Go value of type map[string]interface {}')
  return value
}

export function create(store: Store, { resource, namespace }: Target, body: Body): ApiObject {
  if (body.contentType !== 'application/json')
    throw wrongType(['application/json', 'application/yaml', 'application/vnd.kubernetes.protobuf'])
  const object = parse(body)
  const { kind, namespaced } = KINDS[resource]
  if ((object['kind'] ?? kind) !== kind)
    throw badRequest(`${String(object['kind'])} in version "v1" cannot be handled as a ${kind}`)
  if ((object['apiVersion'] ?? 'v1') !== 'v1')
    throw badRequest(`the API version in the data (${String(object['apiVersion'])}) does not match the expected API version (v1)`)
  if (namespaced && namespace === '')
    throw new StatusError(405, 'MethodNotAllowed', 'the server does not allow this method on the requested resource')
  const metadata = isJson(object['metadata']) ? { ...object['metadata'] } : {}
  metadata['namespace'] ??= namespaced ? namespace : undefined
  if (namespaced && metadata['namespace'] !== namespace)
    throw badRequest('the namespace of the provided object does not match the namespace sent on the request')
  if (metadata['resourceVersion']) throw badRequest('resourceVersion should not be set on objects to be created')
  if (typeof metadata['generateName'] === 'string' && !metadata['name'])
    metadata['name'] = metadata['generateName'] + randomBytes(3).toString('hex').slice(0, 5)
  if (typeof metadata['name'] !== 'string')
    throw invalid(kind, '', ['metadata.name: Required value: name or generateName is required'])
  delete metadata['uid']
  const wanted: ApiObject = { ...object, metadata: { ...metadata, name: metadata['name'] } }
  const mistyped = typeProblems(wanted)
  if (mistyped.length > 0) throw badRequest(`${kind} in version "v1" cannot be handled as a ${kind}: ${mistyped[0]}`)
  check(resource, wanted)
  if (store.get(resource, namespace, wanted.metadata.name)) throw alreadyExists(resource, wanted.metadata.name)
  return store.put(resource, wanted)
}

/** Kubernetes: a dry run goes through every stage but the last, so nothing is stored; there is no other value than All. */
export function isDryRun(query: URLSearchParams): boolean {
  const stages = query.getAll('dryRun')
  const odd = stages.find((stage) => stage !== 'All')
  if (odd !== undefined)
    throw invalid('PatchOptions', '', [`dryRun: Unsupported value: ${JSON.stringify(odd)}: supported values: "All"`])
  return stages.length > 0
}

export function patch(store: Store, target: Target, body: Body, dryRun = false): ApiObject {
  const { resource, namespace, name, subresource } = target
  const apply = PATCHES[body.contentType]
  if (apply === undefined)
    throw wrongType(['application/json-patch+json', ...Object.keys(PATCHES), 'application/apply-patch+yaml'])
  const change = parse(body)
  const before = store.get(resource, namespace, name)
  if (before === undefined) throw notFound(resource, name)
  const after = applied(apply, before, change)
  const { metadata } = after
  if (metadata.name !== name)
    throw badRequest(`the name of the object (${metadata.name}) does not match the name on the URL (${name})`)
  if (metadata.uid !== before.metadata.uid) throw preconditionFailed(resource, name, metadata.uid, before.metadata.uid)
  if (metadata.resourceVersion !== undefined && metadata.resourceVersion !== before.metadata.resourceVersion)
    throw conflict(resource, name)
  keep(before, after, subresource === 'status' ? 'spec' : 'status')
  metadata['creationTimestamp'] = before.metadata['creationTimestamp']
  metadata.resourceVersion = before.metadata.resourceVersion as string
  check(resource, after)
  // Kubernetes: a patch that changes nothing makes no new version.
  if (canonical(after) === canonical(before)) return before
  return dryRun ? after : store.put(resource, after)
}

function applied(apply: (target: unknown, patch: unknown) => unknown, before: ApiObject, change: Json): ApiObject {
  let result: unknown
  try {
    result = apply(before, change)
  } catch (thrown) {
    throw invalidPatch(thrown instanceof Error ? thrown.message : String(thrown))
  }
  if (!isJson(result) || !isJson(result['metadata'])) throw invalidPatch('metadata must be an object')
  const mistyped = typeProblems(result)
  if (mistyped.length > 0) throw invalidPatch(mistyped.join('; '))
  return structuredClone(result) as ApiObject
}

const invalidPatch = (problem: string): StatusError => invalid('', '', [`patch: Invalid value: ${problem}`])

const preconditionFailed = (resource: string, name: string, asked: unknown, is: unknown): StatusError =>
  new StatusError(
    409,
    'Conflict',
    `Operation cannot be fulfilled on ${resource} "${name}": Precondition failed: UID in precondition: ${String(asked)}, UID in object meta: ${String(is)}`,
  )

function keep(before: ApiObject, after: ApiObject, field: 'spec' | 'status'): void {
  if (before[field] === undefined) delete after[field]
  else after[field] = before[field]
}

function check(resource: ResourceName, object: ApiObject): void {
  const problems = validate(resource, object)
  if (problems.length > 0) throw invalid(KINDS[resource].kind, object.metadata.name, problems)
}

/** The same text for the same content, however its keys are ordered. Empty maps and lists are as good as none, as in Go's omitempty. */
function canonical(value: unknown): string {
  return JSON.stringify(value, (_key, inner: unknown) => {
    if (Array.isArray(inner)) return inner.length === 0 ? undefined : (inner as unknown[])
    if (!isJson(inner)) return inner
    const keys = Object.keys(inner).sort()
    return keys.length === 0 ? undefined : Object.fromEntries(keys.map((key) => [key, inner[key]]))
  })
}
