/**
 * Ends pods as the API server does: by eviction, if the disruption budgets allow it, or by deletion, and in either case with a grace
 * period, after which a kubelet has ended the pod and takes the object away. Stricter than the real server in one thing: a field that it does
 * not know is refused, where that one warns.
 * Source: kubernetes pkg/registry/core/pod/storage/eviction.go, pkg/registry/core/pod/strategy.go (CheckGracefulDelete),
 * k8s.io/apiserver pkg/registry/rest/delete.go (BeforeDelete), pkg/endpoints/handlers/create.go, 1.36.
 */
import { type ApiObject, badRequest, invalid, isJson, type Json, notFound, StatusError } from './objects.ts'
import { rfc3339, type Store } from './store.ts'
import { type Body, parse, type Target, wrongType } from './writes.ts'

/** A PodDisruptionBudget, as far as an eviction asks for it. */
export interface DisruptionBudget {
  readonly name: string
  readonly namespace: string
  /** Labels of the pods that it is for; none for all of the namespace. */
  readonly matchLabels?: Readonly<Record<string, string>>
  /** Counted down by each eviction that it allows. */
  disruptionsAllowed: number
  /** @default 1 */
  readonly desiredHealthy?: number
  /** @default 1 */
  readonly currentHealthy?: number
  /** The controller has not seen its last change yet. */
  beingProcessed?: boolean
}

interface DeleteOptions {
  readonly uid: string | undefined
  readonly resourceVersion: string | undefined
  readonly graceSeconds: number | undefined
  readonly dryRun: boolean
}

interface Answer {
  readonly status: number
  readonly body: unknown
}

const OPTION_FIELDS = [
  'apiVersion',
  'kind',
  'gracePeriodSeconds',
  'preconditions',
  'orphanDependents',
  'propagationPolicy',
  'dryRun',
  'ignoreStoreReadErrorWithClusterBreakingPotential',
]

const MANY_BUDGETS = 'This pod has more than one PodDisruptionBudget, which the eviction subresource does not support.'

export class Evictions {
  readonly budgets: DisruptionBudget[] = []
  /** What a grace period of a second takes; a kubelet that is gone never ends a pod. */
  secondMs = 1000
  readonly #store: Store
  readonly #ending = new Map<string, NodeJS.Timeout>()

  constructor(store: Store) {
    this.#store = store
  }

  stop(): void {
    for (const timer of this.#ending.values()) clearTimeout(timer)
    this.#ending.clear()
  }

  /** POST …/pods/NAME/eviction. */
  evict({ namespace, name }: Target, body: Body): Answer {
    if (body.contentType !== 'application/json') throw wrongType(['application/json', 'application/yaml'])
    const eviction = parse(body)
    const { kind, apiVersion } = eviction
    if (kind !== 'Eviction' || (apiVersion !== 'policy/v1' && apiVersion !== 'policy/v1beta1'))
      throw badRequest(`no kind ${JSON.stringify(kind)} is registered for version ${JSON.stringify(apiVersion)}`)
    onlyFields(eviction, ['apiVersion', 'kind', 'metadata', 'deleteOptions'], '')
    const metadata = objectIn(eviction, 'metadata')
    if ((metadata['namespace'] ?? namespace) !== namespace)
      throw badRequest('the namespace of the provided object does not match the namespace sent on the request')
    if (metadata['name'] !== name) throw badRequest('name in URL does not match name in Eviction object')
    const options = optionsOf(objectIn(eviction, 'deleteOptions'), 'deleteOptions.')
    const pod = this.#podOf(namespace, name)
    if (!ignoresBudgets(pod)) {
      const budgets = this.budgets.filter((budget) => covers(budget, pod))
      // Kubernetes: a result, not an error, so the code of the answer is that of a success (handlers/create.go).
      if (budgets.length > 1)
        return {
          status: 201,
          body: { kind: 'Status', apiVersion: 'v1', metadata: {}, status: 'Failure', message: MANY_BUDGETS, code: 500 },
        }
      for (const budget of budgets) checkAndDecrement(budget, options.dryRun)
    }
    checkPreconditions(pod, options)
    if (!options.dryRun) {
      const condition = {
        type: 'DisruptionTarget',
        status: 'True',
        reason: 'EvictionByEvictionAPI',
        message: 'Eviction API: evicting',
      }
      this.#end(withCondition(pod, condition), options)
    }
    return { status: 201, body: { kind: 'Status', apiVersion: 'v1', metadata: {}, status: 'Success', code: 201 } }
  }

  /** DELETE …/pods/NAME. */
  delete({ namespace, name }: Target, body: Body): Answer {
    const given = body.text === '' ? {} : parse(body)
    if ((given['kind'] ?? 'DeleteOptions') !== 'DeleteOptions')
      throw badRequest(`no kind ${JSON.stringify(given['kind'])} is registered for the options of a deletion`)
    const options = optionsOf(given, '')
    const pod = this.#podOf(namespace, name)
    checkPreconditions(pod, options)
    return { status: 200, body: options.dryRun ? pod : this.#end(pod, options) }
  }

  #podOf(namespace: string, name: string): ApiObject {
    const pod = this.#store.get('pods', namespace, name)
    if (pod === undefined) throw notFound('pods', name)
    return pod
  }

  /** Marks the pod as ending, and takes it away after its time. */
  #end(pod: ApiObject, { graceSeconds }: DeleteOptions): ApiObject {
    const { metadata } = pod
    const namespace = metadata.namespace ?? ''
    const pending = metadata['deletionGracePeriodSeconds']
    const spec = isJson(pod['spec']) ? pod['spec'] : {}
    let seconds = graceSeconds ?? Number(spec['terminationGracePeriodSeconds'] ?? 30)
    if (seconds < 0) seconds = 1
    if (!spec['nodeName'] || ['Succeeded', 'Failed'].includes(phaseOf(pod))) seconds = 0
    // Kubernetes: a pod that ends already can only be made to end sooner.
    if (typeof pending === 'number' && (graceSeconds === undefined || seconds >= pending)) return pod
    if (seconds === 0) {
      this.#store.remove('pods', namespace, metadata.name)
      return pod
    }
    const deletionTimestamp = rfc3339(new Date(Date.now() + seconds * 1000))
    const ending = { ...pod, metadata: { ...metadata, deletionTimestamp, deletionGracePeriodSeconds: seconds } }
    const stored = this.#store.put('pods', ending)
    const uid = stored.metadata.uid ?? ''
    clearTimeout(this.#ending.get(uid))
    const gone = (): void => {
      this.#ending.delete(uid)
      const now = this.#store.get('pods', namespace, metadata.name)
      if (now?.metadata.uid === uid) this.#store.remove('pods', namespace, metadata.name)
    }
    // Kubernetes: it is the kubelet that removes the object, when the containers have ended; these take all of their time.
    if (Number.isFinite(this.secondMs)) this.#ending.set(uid, setTimeout(gone, seconds * this.secondMs).unref())
    return stored
  }
}

function optionsOf(options: Json, at: string): DeleteOptions {
  onlyFields(options, OPTION_FIELDS, at)
  const preconditions = objectIn(options, 'preconditions')
  onlyFields(preconditions, ['uid', 'resourceVersion'], `${at}preconditions.`)
  const { uid, resourceVersion } = preconditions
  for (const [field, value] of Object.entries({ uid, resourceVersion }))
    if (value !== undefined && typeof value !== 'string')
      throw badRequest(`json: cannot unmarshal into Go struct field Preconditions.${field} of type string`)
  const graceSeconds = options['gracePeriodSeconds']
  if (graceSeconds !== undefined && !Number.isSafeInteger(graceSeconds))
    throw badRequest('json: cannot unmarshal into Go struct field DeleteOptions.gracePeriodSeconds of type int64')
  const dryRun = options['dryRun'] ?? []
  if (!Array.isArray(dryRun) || dryRun.some((stage) => stage !== 'All'))
    throw invalid('DeleteOptions.meta.k8s.io', '', [
      `dryRun: Unsupported value: ${JSON.stringify(dryRun)}: supported values: "All"`,
    ])
  return {
    uid: uid as string | undefined,
    resourceVersion: resourceVersion as string | undefined,
    graceSeconds: graceSeconds as number | undefined,
    dryRun: dryRun.length > 0,
  }
}

function onlyFields(object: Json, known: readonly string[], at: string): void {
  const unknown = Object.keys(object).find((field) => !known.includes(field))
  if (unknown !== undefined) throw badRequest(`strict decoding error: unknown field "${at}${unknown}"`)
}

function objectIn(object: Json, field: string): Json {
  const value = object[field] ?? {}
  if (!isJson(value)) throw badRequest(`json: cannot unmarshal into Go struct field ${field}`)
  return value
}

/** Kubernetes: what has no effect on a budget any more, or none yet. */
const ignoresBudgets = (pod: ApiObject): boolean =>
  ['Succeeded', 'Failed', 'Pending'].includes(phaseOf(pod)) || pod.metadata['deletionTimestamp'] !== undefined

const phaseOf = (pod: ApiObject): string =>
  isJson(pod['status']) && typeof pod['status']['phase'] === 'string' ? pod['status']['phase'] : ''

const covers = ({ namespace, matchLabels = {} }: DisruptionBudget, { metadata }: ApiObject): boolean =>
  metadata.namespace === namespace && Object.entries(matchLabels).every(([key, value]) => metadata.labels?.[key] === value)

const VIOLATES = "Cannot evict pod as it would violate the pod's disruption budget."

function checkAndDecrement(budget: DisruptionBudget, dryRun: boolean): void {
  const { name, disruptionsAllowed, desiredHealthy = 1, currentHealthy = 1 } = budget
  const causes = (message: string) => ({ causes: [{ reason: 'DisruptionBudget', message }] })
  if (budget.beingProcessed === true)
    throw new StatusError(429, 'TooManyRequests', VIOLATES, {
      details: causes(`The disruption budget ${name} is still being processed by the server.`),
      retryAfterSeconds: 10,
    })
  if (disruptionsAllowed < 0)
    throw new StatusError(
      403,
      'Forbidden',
      `poddisruptionbudgets.policy "${name}" is forbidden: pdb disruptions allowed is negative`,
      {
        details: {
          name,
          group: 'policy',
          kind: 'poddisruptionbudgets',
          ...causes(`The disruption budget ${name} does not allow evicting pods currently: pdb disruptions allowed is negative`),
        },
      },
    )
  if (disruptionsAllowed === 0) {
    const needs =
      currentHealthy <= desiredHealthy
        ? `The disruption budget ${name} needs ${desiredHealthy} healthy pods and has ${currentHealthy} currently`
        : `The disruption budget ${name} does not allow evicting pods currently`
    throw new StatusError(429, 'TooManyRequests', VIOLATES, { details: causes(needs) })
  }
  if (!dryRun) budget.disruptionsAllowed -= 1
}

function checkPreconditions({ metadata }: ApiObject, { uid, resourceVersion }: DeleteOptions): void {
  const fails = (what: string, asked: string, is: unknown, why: string): StatusError =>
    new StatusError(
      409,
      'Conflict',
      `Operation cannot be fulfilled on Pod "${metadata.name}": the ${what} in the precondition (${asked}) does not match the ${what} in record (${String(is)}). The object might have been ${why}`,
      { details: { name: metadata.name, kind: 'Pod' } },
    )
  if (uid !== undefined && uid !== '' && uid !== metadata.uid) throw fails('UID', uid, metadata.uid, 'deleted and then recreated')
  if (resourceVersion !== undefined && resourceVersion !== metadata.resourceVersion)
    throw fails('ResourceVersion', resourceVersion, metadata.resourceVersion, 'modified')
}

function withCondition(pod: ApiObject, condition: Json): ApiObject {
  const status = isJson(pod['status']) ? pod['status'] : {}
  const others = (Array.isArray(status['conditions']) ? (status['conditions'] as unknown[]) : []).filter(
    (known) => !isJson(known) || known['type'] !== condition['type'],
  )
  return { ...pod, status: { ...status, conditions: [...others, condition] } }
}
