/**
 * The pods that a server has told of, and the list that is made of them. Kept by the UID of the API object: a pod and its successor of the
 * same name are two. The list holds each pod once by the UID that names its groups, no more than it may, and the very same PodSpec
 * as before for a pod that did not change, so that a reader can compare by identity.
 */
import { isDeepStrictEqual } from 'node:util'
import { messageOf, podFromObject, podKey, type PodSpec } from '../model/index.ts'
import { asObject } from './json.ts'

/** Pods that are remembered beyond those that are listed, so that one moves up when a listed one goes. */
const MAX_KNOWN = 20_000
/** More than a person reads. */
const MAX_PROBLEMS = 50

/** What is known of one pod. */
export interface KnownPod {
  readonly spec?: PodSpec
  readonly resourceVersion?: string
  /** Why the object that came last could not be used; `spec` is then the one from before. */
  readonly problem?: string
}

export interface PodKeeperOptions {
  readonly maxPods: number
  /** Where the pods come from, for messages. */
  readonly source: string
  /** The PodSpec's `origin`. */
  readonly originOf: (namespace: string, name: string) => string
  /** Whether equal resource versions mean equal objects. The kubelet's copy changes under the version that the API server gave it. */
  readonly versioned: boolean
}

export class PodKeeper {
  readonly #options: PodKeeperOptions
  #known = new Map<string, KnownPod>()
  #unkept = 0
  #dirty = false
  #pods: readonly PodSpec[] = []
  #revision = 0
  #problems: readonly string[] = []

  constructor(options: PodKeeperOptions) {
    this.#options = options
  }

  get pods(): readonly PodSpec[] {
    this.#refresh()
    return this.#pods
  }

  /** Changes whenever `pods` does. */
  get revision(): number {
    this.#refresh()
    return this.#revision
  }

  get problems(): readonly string[] {
    this.#refresh()
    return this.#problems
  }

  /** Reads a Pod object, in the light of what is known of this pod. Changes nothing. */
  read(object: unknown): { readonly key: string; readonly pod: KnownPod } {
    const { key, namespace, name, resourceVersion } = identityOf(object)
    const before = this.#known.get(key)
    const version = this.#options.versioned && resourceVersion !== undefined ? { resourceVersion } : {}
    if (before !== undefined && version.resourceVersion !== undefined && before.resourceVersion === version.resourceVersion) {
      return { key, pod: before }
    }
    const origin = this.#options.originOf(namespace, name)
    try {
      const spec = podFromObject(object, origin, 'Pod')
      if (spec === undefined) throw new Error('expected a Pod, got nothing')
      return { key, pod: { spec: isDeepStrictEqual(spec, before?.spec) ? (before?.spec ?? spec) : spec, ...version } }
    } catch (thrown) {
      const kept = before?.spec === undefined ? 'it is left out' : 'its last good spec stays in force'
      const problem = `${origin}: ${podKey({ namespace, name })}: ${messageOf(thrown)}; ${kept}`
      return { key, pod: { ...(before?.spec === undefined ? {} : { spec: before.spec }), ...version, problem } }
    }
  }

  put(object: unknown): void {
    const { key, pod } = this.read(object)
    const before = this.#known.get(key)
    if (pod === before) return
    if (before === undefined && this.#known.size >= MAX_KNOWN) this.#unkept += 1
    else this.#known.set(key, pod)
    this.#dirty = true
  }

  remove(object: unknown): void {
    if (this.#known.delete(identityOf(object).key)) this.#dirty = true
  }

  /** Takes this for all that there is. Pods known before keep their places. */
  replace(all: ReadonlyMap<string, KnownPod>): void {
    const next = new Map<string, KnownPod>()
    for (const key of this.#known.keys()) {
      const pod = all.get(key)
      if (pod !== undefined) next.set(key, pod)
    }
    for (const [key, pod] of all) if (next.size < MAX_KNOWN) next.set(key, pod)
    this.#unkept = Math.max(0, all.size - next.size)
    this.#known = next
    this.#dirty = true
  }

  #refresh(): void {
    if (!this.#dirty) return
    this.#dirty = false
    const { maxPods, source } = this.#options
    const problems = [...this.#known.values()].flatMap(({ problem }) => problem ?? [])
    const unique = this.#unique(problems)
    // A pod that has ended needs no care: it is the first to be left out.
    let livingRoom = maxPods
    let endedRoom = maxPods - unique.filter((pod) => !hasEnded(pod)).length
    const pods: PodSpec[] = []
    for (const pod of unique) {
      const fits = hasEnded(pod) ? endedRoom-- > 0 : livingRoom-- > 0
      if (fits) pods.push(pod)
      else problems.push(`${source}: more than ${maxPods} pods (pods.maxPods); ${podKey(pod)} is left out`)
    }
    if (this.#unkept > 0) problems.push(`${source}: more than ${MAX_KNOWN} pods; ${this.#unkept} are not even remembered`)
    this.#problems = bounded(problems)
    if (pods.length === this.#pods.length && pods.every((pod, index) => pod === this.#pods[index])) return
    this.#pods = pods
    this.#revision += 1
  }

  /** One pod per UID. A pod under its own UID wins over one that claims it as the hash of a static pod; else the first wins. */
  #unique(problems: string[]): readonly PodSpec[] {
    const pods = new Map<string, PodSpec>()
    for (const { spec } of this.#known.values()) {
      if (spec === undefined) continue
      const other = pods.get(spec.uid)
      const wins = other === undefined || (other.objectUid !== undefined && spec.objectUid === undefined)
      const loser = wins ? other : spec
      if (wins) pods.set(spec.uid, spec)
      if (loser === undefined) continue
      const winner = loser === spec ? other : spec
      problems.push(`${loser.origin}: ${podKey(loser)} has the UID of ${podKey(winner ?? spec)}; it is left out`)
    }
    return [...pods.values()]
  }
}

const hasEnded = ({ phase }: PodSpec): boolean => phase === 'Succeeded' || phase === 'Failed'

interface PodIdentity {
  readonly key: string
  readonly namespace: string
  readonly name: string
  readonly resourceVersion?: string
}

/** What can be said of a Pod object whatever else is wrong with it. */
function identityOf(object: unknown): PodIdentity {
  const metadata = asObject(asObject(object)['metadata'])
  const text = (field: string, otherwise: string): string => {
    const value = metadata[field]
    return typeof value === 'string' && value !== '' ? value.slice(0, 300) : otherwise
  }
  const namespace = text('namespace', 'default')
  const name = text('name', '(without a name)')
  const resourceVersion = text('resourceVersion', '')
  const key = text('uid', podKey({ namespace, name }))
  return { key, namespace, name, ...(resourceVersion === '' ? {} : { resourceVersion }) }
}

function bounded(problems: readonly string[]): readonly string[] {
  if (problems.length <= MAX_PROBLEMS) return problems
  return [...problems.slice(0, MAX_PROBLEMS), `and ${problems.length - MAX_PROBLEMS} more`]
}
