/**
 * Field selectors, for the fields that the API server can select a resource by; any other is refused as there.
 * Source: kubernetes pkg/apis/core/v1/conversion.go AddFieldLabelConversionsFor…, 1.36.
 */
import { type ApiObject, badRequest, isJson, type ResourceName } from './objects.ts'

export type Selector = (object: ApiObject) => boolean

const EVENT_FIELDS = ['kind', 'namespace', 'name', 'uid', 'apiVersion', 'resourceVersion', 'fieldPath']

const FIELDS: Readonly<Record<ResourceName, readonly string[]>> = {
  pods: [
    'metadata.name',
    'metadata.namespace',
    'spec.nodeName',
    'spec.restartPolicy',
    'spec.schedulerName',
    'spec.serviceAccountName',
    'spec.hostNetwork',
    'status.phase',
    'status.podIP',
    'status.nominatedNodeName',
  ],
  nodes: ['metadata.name', 'spec.unschedulable'],
  events: [
    'metadata.name',
    'metadata.namespace',
    'reason',
    'type',
    'source',
    'reportingComponent',
    ...EVENT_FIELDS.map((field) => `involvedObject.${field}`),
  ],
}

function fieldOf(object: ApiObject, field: string): string {
  if (field === 'source') return isJson(object['source']) ? textOf(object['source']['component']) : ''
  let value: unknown = object
  for (const part of field.split('.')) value = isJson(value) ? value[part] : undefined
  return textOf(value)
}

const textOf = (value: unknown): string =>
  typeof value === 'string' || typeof value === 'number' || typeof value === 'boolean' ? String(value) : ''

export function fieldSelector(resource: ResourceName, text: string): Selector {
  const terms = text
    .split(',')
    .filter((term) => term !== '')
    .map((term) => {
      const match = /^([^=!]+)(==|!=|=)(.*)$/.exec(term)
      if (match === null) throw badRequest(`invalid field selector: ${JSON.stringify(term)}; can't understand it`)
      const [, field = '', operator, value] = match
      if (!FIELDS[resource].includes(field)) throw badRequest(`field label not supported: ${field}`)
      return { field, equal: operator !== '!=', value }
    })
  return (object) => terms.every(({ field, equal, value }) => (fieldOf(object, field) === value) === equal)
}
