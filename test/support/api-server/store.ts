/**
 * The double's etcd: every version of every object under one growing resource version, so that lists at an exact version, pages of a list
 * and watches from the past see what was, until it is compacted away.
 */
import { randomUUID } from 'node:crypto'
import { type ApiObject, KINDS, type ResourceName } from './objects.ts'

export interface Change {
  readonly resource: ResourceName
  readonly version: number
  /** What it was before; undefined for a new object. */
  readonly before: ApiObject | undefined
  /** What it is now; undefined for a removed object. */
  readonly after: ApiObject | undefined
}

const keyOf = (resource: ResourceName, namespace: string, name: string): string =>
  `${resource}/${KINDS[resource].namespaced ? namespace : ''}/${name}`

/** Kubernetes: metav1.Time has whole seconds. */
export const rfc3339 = (date: Date): string => `${date.toISOString().slice(0, 19)}Z`

export class Store {
  /** Versions below this one are gone. */
  oldest = 1
  #version = 1000
  #changes: Change[] = []
  readonly #objects = new Map<string, { readonly resource: ResourceName; object: ApiObject }>()
  readonly #listeners = new Set<(change: Change) => void>()

  get version(): number {
    return this.#version
  }

  onChange(listener: (change: Change) => void): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  get(resource: ResourceName, namespace: string, name: string): ApiObject | undefined {
    const found = this.#objects.get(keyOf(resource, namespace, name))?.object
    return found === undefined ? undefined : structuredClone(found)
  }

  /** Stores the object under the next version; identity and creation time of a present one stay. */
  put(resource: ResourceName, given: ApiObject): ApiObject {
    const object = structuredClone(given)
    const { kind, namespaced } = KINDS[resource]
    if (namespaced) object.metadata.namespace ??= 'default'
    else delete object.metadata.namespace
    const key = keyOf(resource, object.metadata.namespace ?? '', object.metadata.name)
    const before = this.#objects.get(key)?.object
    object.metadata.uid ??= before?.metadata.uid ?? randomUUID()
    object.metadata['creationTimestamp'] ??= before?.metadata['creationTimestamp'] ?? rfc3339(new Date())
    this.#version += 1
    object.metadata.resourceVersion = String(this.#version)
    const stored: ApiObject = { kind, apiVersion: 'v1', ...object }
    this.#objects.set(key, { resource, object: stored })
    this.#tell({ resource, version: this.#version, before, after: stored })
    return structuredClone(stored)
  }

  remove(resource: ResourceName, namespace: string, name: string): ApiObject | undefined {
    const key = keyOf(resource, namespace, name)
    const before = this.#objects.get(key)?.object
    if (before === undefined) return undefined
    this.#objects.delete(key)
    this.#version += 1
    this.#tell({ resource, version: this.#version, before, after: undefined })
    return before
  }

  /** Objects of a resource in the order of their keys, as etcd keeps them, as they stood at `version`. */
  listAt(resource: ResourceName, version: number): ApiObject[] {
    const present = new Map<string, ApiObject>()
    for (const [key, entry] of this.#objects) if (entry.resource === resource) present.set(key, entry.object)
    for (const change of this.#changes.toReversed()) {
      if (change.version <= version) break
      const { metadata } = (change.after ?? change.before) as ApiObject
      if (change.resource !== resource) continue
      const key = keyOf(resource, metadata.namespace ?? '', metadata.name)
      if (change.before === undefined) present.delete(key)
      else present.set(key, change.before)
    }
    return [...present].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, object]) => object)
  }

  changesSince(resource: ResourceName, version: number): Change[] {
    return this.#changes.filter((change) => change.resource === resource && change.version > version)
  }

  /** Forgets the past. The rest of the cluster has moved on meanwhile, so even the newest version that a client knows is too old. */
  compact(): void {
    this.#version += 10
    this.oldest = this.#version
    this.#changes = []
  }

  #tell(change: Change): void {
    this.#changes.push(change)
    for (const listener of this.#listeners) listener(change)
  }
}
