/**
 * The pods that a server has told of, and the list that is made of them. Kept by the UID of the API object: a pod and its successor of the
 * same name are two. The list holds each pod once by the UID that names its groups, no more than it may, and the very same PodSpec
 * as before for a pod that did not change, so that a reader can compare by identity.
 */
import { isDeepStrictEqual } from 'node:util'
import { messageOf, oneLine, podFromObject, podKey, type PodSpec } from '../model/index.ts'
import { asObject } from './json.ts'

/** Pods that are remembered beyond those that are listed, so that one moves up when a listed one goes. */
const MAX_KNOWN = 20_000
/** More than a person reads. */
const MAX_PROBLEMS = 50
/** Both names, the URL that holds them again, and what is wrong. */
const MAX_PROBLEM = 1500

/** What is known of one pod. */
export interface KnownPod {
  readonly spec?: PodSpec
  readonly resourceVersion?: string
  /** Its controller is this node: a mirror pod that the kubelet has made, or that says so. */
  readonly ofNode?: boolean
  /** Why the object that came last could not be used; `spec` is then the one from before. */
  readonly problem?: string
}

export interface PodKeeperOptions {
  readonly maxPods: number
  readonly nodeName: string
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
  /** By the UID that names its groups: the key of the pod that is listed under it. */
  #holders = new Map<string, string>()
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
      const ofNode = isControlledBy(object, this.#options.nodeName)
      return { key, pod: { spec: isDeepStrictEqual(spec, before?.spec) ? (before?.spec ?? spec) : spec, ofNode, ...version } }
    } catch (thrown) {
      const kept = before?.spec === undefined ? 'it is left out' : 'its last good spec stays in force'
      const problem = oneLine(`${origin}: ${podKey({ namespace, name })}: ${messageOf(thrown)}; ${kept}`, MAX_PROBLEM)
      const last = before?.spec === undefined ? {} : { spec: before.spec, ofNode: before.ofNode ?? false }
      return { key, pod: { ...last, ...version, problem } }
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

  /** One pod per UID; see `beats`. */
  #unique(problems: string[]): readonly PodSpec[] {
    const claims = new Map<string, Claim>()
    for (const [key, { spec, ofNode = false }] of this.#known) {
      if (spec === undefined) continue
      const claim = { key, spec, ofNode, incumbent: this.#holders.get(spec.uid) === key }
      const other = claims.get(spec.uid)
      const wins = other === undefined || beats(claim, other)
      if (wins) claims.set(spec.uid, claim)
      if (other !== undefined) problems.push(wins ? conflictOf(other, claim) : conflictOf(claim, other))
    }
    this.#holders = new Map([...claims].map(([uid, { key }]) => [uid, key]))
    return [...claims.values()].map(({ spec }) => spec)
  }
}

/** What a pod has for itself where two go by the same UID. */
interface Claim {
  readonly key: string
  readonly spec: PodSpec
  readonly ofNode: boolean
  readonly incumbent: boolean
}

/**
 * A pod under its own UID wins over one that claims it as the hash of a static pod. Of two that claim it so the one that was listed before
 * stays: the annotations of a mirror pod are anybody's words, and a newcomer must not take the groups over. Where neither was, the one that
 * this node controls wins, as the kubelet makes them; else the first.
 * Source: kubernetes pkg/kubelet/pod/mirror_client.go (CreateMirrorPod), 1.36.
 */
function beats(claim: Claim, other: Claim): boolean {
  const claims = [claim, other].map(({ spec }) => spec.objectUid !== undefined)
  if (claims[0] !== claims[1]) return claims[1] === true
  if (claim.incumbent !== other.incumbent) return claim.incumbent
  return claim.ofNode && !other.ofNode
}

function conflictOf({ spec: loser }: Claim, { spec: winner }: Claim): string {
  const { origin } = loser
  if (loser.objectUid === undefined || winner.objectUid === undefined) {
    return `${origin}: ${podKey(loser)} has the UID of ${podKey(winner)}; it is left out`
  }
  const named = ({ objectUid = '' }: PodSpec): string => objectUid.slice(0, 80)
  const both = `${podKey(loser)} (${named(loser)}) and ${podKey(winner)} (${named(winner)})`
  return `${origin}: the mirror pods ${both} claim the same static pod, ${loser.uid}; the former is left out`
}

function isControlledBy(object: unknown, node: string): boolean {
  const owners = asObject(asObject(object)['metadata'])['ownerReferences']
  if (!Array.isArray(owners)) return false
  return owners.map(asObject).some(({ kind, name, controller }) => kind === 'Node' && name === node && controller === true)
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
