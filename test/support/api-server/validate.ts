/**
 * What the API server refuses in an object that is created or patched, as far as it can matter to the agent. For events the double is
 * stricter than core/v1, which checks the namespace only: it takes the limits of events.k8s.io/v1, so that the agent stays within both.
 * Source: kubernetes pkg/apis/core/validation/{validation,events}.go, k8s.io/apimachinery pkg/api/validation/objectmeta.go, 1.36.
 */
import { type ApiObject, isJson, type Json, type ResourceName } from './objects.ts'

const DNS_LABEL = '[a-z0-9]([-a-z0-9]*[a-z0-9])?'
const DNS_SUBDOMAIN = new RegExp(`^${DNS_LABEL}(\\.${DNS_LABEL})*$`)
const NAME_PART = /^([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]$/
const RFC3339 = /^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(\.\d+)?(Z|[+-]\d{2}:\d{2})$/
/** Kubernetes: TotalAnnotationSizeLimitB. */
const ANNOTATIONS_BYTES = 262_144

type Problems = string[]

export const isSubdomain = (name: string): boolean => name.length <= 253 && DNS_SUBDOMAIN.test(name)

function isQualifiedName(key: string): boolean {
  const parts = key.split('/')
  const [prefix, name] = parts.length === 1 ? [undefined, parts[0]] : parts
  if (parts.length > 2 || name === undefined || name.length > 63 || !NAME_PART.test(name)) return false
  return prefix === undefined || isSubdomain(prefix)
}

const isLabelValue = (value: string): boolean => value === '' || (value.length <= 63 && NAME_PART.test(value))

/** Problems that make the JSON no object of its type: the decoder finds them, before validation. */
export function typeProblems(object: Json): Problems {
  const problems: Problems = []
  const metadata = isJson(object['metadata']) ? object['metadata'] : {}
  for (const field of ['labels', 'annotations'] as const) {
    const map = metadata[field] ?? {}
    if (!isJson(map))
      problems.push(`cannot unmarshal into Go struct field ObjectMeta.metadata.${field} of type map[string]string`)
    else if (Object.values(map).some((value) => typeof value !== 'string'))
      problems.push(`cannot unmarshal into Go struct field ObjectMeta.metadata.${field} of type string`)
  }
  const status = isJson(object['status']) ? object['status'] : {}
  for (const condition of listOf(status['conditions'])) {
    for (const field of ['lastTransitionTime', 'lastHeartbeatTime']) timeProblem(problems, condition, field)
    for (const field of ['type', 'status', 'reason', 'message']) {
      const value = condition[field]
      if (value !== undefined && typeof value !== 'string')
        problems.push(`cannot unmarshal into NodeCondition.${field} of type string`)
    }
  }
  for (const field of ['firstTimestamp', 'lastTimestamp', 'eventTime']) timeProblem(problems, object, field)
  if (object['count'] !== undefined && !Number.isSafeInteger(object['count']))
    problems.push('cannot unmarshal into Event.count of type int32')
  return problems
}

function timeProblem(problems: Problems, object: Json, field: string): void {
  const value = object[field]
  if (value === undefined || value === null) return
  if (typeof value !== 'string' || !RFC3339.test(value))
    problems.push(`parsing time ${JSON.stringify(value)} as "2006-01-02T15:04:05Z07:00": cannot parse`)
}

const listOf = (value: unknown): Json[] => (Array.isArray(value) ? (value as unknown[]).filter(isJson) : [])

export function validate(resource: ResourceName, object: ApiObject): Problems {
  const problems = metaProblems(object)
  if (resource === 'events') problems.push(...eventProblems(object))
  if (resource === 'nodes') problems.push(...nodeProblems(object))
  return problems
}

function metaProblems({ metadata }: ApiObject): Problems {
  const problems: Problems = []
  if (!isSubdomain(metadata.name))
    problems.push(
      `metadata.name: Invalid value: ${JSON.stringify(metadata.name)}: a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character`,
    )
  let bytes = 0
  for (const [key, value] of Object.entries(metadata.annotations ?? {})) {
    // Kubernetes: keys of annotations are compared without case.
    if (!isQualifiedName(key.toLowerCase()))
      problems.push(
        `metadata.annotations: Invalid value: ${JSON.stringify(key)}: name part must consist of alphanumeric characters, '-', '_' or '.'`,
      )
    bytes += Buffer.byteLength(key) + Buffer.byteLength(value)
  }
  if (bytes > ANNOTATIONS_BYTES) problems.push(`metadata.annotations: Too long: may not be more than ${ANNOTATIONS_BYTES} bytes`)
  for (const [key, value] of Object.entries(metadata.labels ?? {})) {
    if (!isQualifiedName(key))
      problems.push(
        `metadata.labels: Invalid value: ${JSON.stringify(key)}: name part must consist of alphanumeric characters, '-', '_' or '.'`,
      )
    if (!isLabelValue(value))
      problems.push(
        `metadata.labels: Invalid value: ${JSON.stringify(value)}: a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.'`,
      )
  }
  return problems
}

function nodeProblems(node: ApiObject): Problems {
  const problems: Problems = []
  const seen = new Set<string>()
  const spec = isJson(node['spec']) ? node['spec'] : {}
  for (const [index, taint] of listOf(spec['taints']).entries()) {
    const { key, value, effect } = taint
    const at = `spec.taints[${index}]`
    if (typeof key !== 'string' || !isQualifiedName(key)) problems.push(`${at}.key: Invalid value: ${JSON.stringify(key)}`)
    if (value !== undefined && (typeof value !== 'string' || !isLabelValue(value)))
      problems.push(`${at}.value: Invalid value: ${JSON.stringify(value)}`)
    if (effect !== 'NoSchedule' && effect !== 'PreferNoSchedule' && effect !== 'NoExecute')
      problems.push(
        `${at}.effect: Unsupported value: ${JSON.stringify(effect)}: supported values: "NoSchedule", "PreferNoSchedule", "NoExecute"`,
      )
    const pair = `${String(key)}:${String(effect)}`
    if (seen.has(pair)) problems.push(`${at}: Duplicate value: taints must be unique by key and effect pair`)
    seen.add(pair)
  }
  return problems
}

function eventProblems(event: ApiObject): Problems {
  const problems: Problems = []
  const about = event['involvedObject']
  if (!isJson(about)) return ['involvedObject: Required value']
  const namespace = about['namespace'] ?? ''
  const own = event.metadata.namespace ?? ''
  const agrees = namespace === '' ? own === '' || own === 'default' : namespace === own
  if (!agrees)
    problems.push(`involvedObject.namespace: Invalid value: ${JSON.stringify(namespace)}: does not match event.namespace`)
  for (const field of ['kind', 'name'] as const)
    if (typeof about[field] !== 'string' || about[field] === '') problems.push(`involvedObject.${field}: Required value`)
  const { reason, message, type } = event
  if (typeof reason !== 'string' || reason === '') problems.push('reason: Required value')
  else if (reason.length > 128) problems.push('reason: Invalid value: "": can have at most 128 characters')
  if (typeof message !== 'string' || Buffer.byteLength(message) > 1024)
    problems.push('message: Invalid value: "": can have at most 1024 characters')
  if (type !== 'Normal' && type !== 'Warning') problems.push(`type: Invalid value: "": has invalid value: ${String(type)}`)
  for (const field of ['firstTimestamp', 'lastTimestamp'])
    if (typeof event[field] !== 'string') problems.push(`${field}: Required value`)
  return problems
}
