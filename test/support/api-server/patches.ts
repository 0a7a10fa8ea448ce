/**
 * The two patch types that the agent uses. Lists are replaced whole, except those that the strategic merge of a Node or Pod merges by a key;
 * taints are not among them.
 * Source: RFC 7386; k8s.io/apimachinery pkg/util/strategicpatch, patchStrategy tags of k8s.io/api/core/v1/types.go, 1.36.
 */
import { isJson, type Json } from './objects.ts'

/** Lists that merge, by the path of their field, and the key of an entry; an empty key is a set of plain values. */
const MERGED_LISTS: Readonly<Record<string, string>> = {
  'metadata.finalizers': '',
  'metadata.ownerReferences': 'uid',
  'spec.podCIDRs': '',
  'status.addresses': 'type',
  'status.conditions': 'type',
  'spec.containers': 'name',
  'spec.initContainers': 'name',
  'spec.volumes': 'name',
}

export function mergePatch(target: unknown, patch: unknown): unknown {
  if (!isJson(patch)) return patch
  const merged: Json = isJson(target) ? { ...target } : {}
  for (const [key, value] of Object.entries(patch)) {
    if (value === null) delete merged[key]
    else merged[key] = mergePatch(merged[key], value)
  }
  return merged
}

export function strategicMergePatch(target: unknown, patch: unknown, path = ''): unknown {
  if (!isJson(patch)) return patch
  if (patch['$patch'] === 'replace') return without(patch, '$patch')
  const merged: Json = isJson(target) ? { ...target } : {}
  for (const [key, value] of Object.entries(patch)) {
    // Directives about order and retained keys: order is kept as it is, and the agent retains nothing.
    if (key.startsWith('$')) continue
    const childPath = path === '' ? key : `${path}.${key}`
    const mergeKey = MERGED_LISTS[childPath]
    if (value === null) delete merged[key]
    else if (Array.isArray(value) && mergeKey !== undefined) merged[key] = mergeList(merged[key], value, mergeKey)
    else merged[key] = strategicMergePatch(merged[key], value, childPath)
  }
  return merged
}

function mergeList(target: unknown, patch: readonly unknown[], mergeKey: string): unknown[] {
  const entries: unknown[] = Array.isArray(target) ? [...(target as unknown[])] : []
  if (mergeKey === '') return [...new Set([...entries, ...patch])]
  for (const change of patch) {
    if (!isJson(change)) throw new Error(`expected an object with ${mergeKey} in the list`)
    if (change[mergeKey] === undefined)
      throw new Error(`map: ${JSON.stringify(change)} does not contain declared merge key: ${mergeKey}`)
    const index = entries.findIndex((entry) => isJson(entry) && entry[mergeKey] === change[mergeKey])
    if (change['$patch'] === 'delete') {
      if (index >= 0) entries.splice(index, 1)
    } else if (index >= 0) entries[index] = strategicMergePatch(entries[index], change, '-')
    else entries.push(strategicMergePatch({}, change, '-'))
  }
  return entries
}

function without(object: Json, key: string): Json {
  const { [key]: _, ...rest } = object
  return rest
}
