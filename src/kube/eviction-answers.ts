/**
 * What an eviction asks of the API server, and what its answer means. Kubernetes answers an eviction in more ways than its status codes tell:
 * 429 may be a disruption budget or an overloaded server, 403 a budget or a missing right, 409 another pod of the same name or a busy
 * server, and 201 may hold a failure. So what the answer says of its causes counts before its code.
 * Source: kubernetes pkg/registry/core/pod/storage/eviction.go, pkg/registry/core/pod/strategy.go (CheckGracefulDelete),
 * k8s.io/apiserver pkg/registry/rest/delete.go (BeforeDelete), pkg/endpoints/handlers/responsewriters/errors.go, 1.36.
 */
import { AgentError, messageOf } from '../model/index.ts'
import { ApiContentError, ApiError, type ApiRequest } from './api.ts'
import { ServerUnavailable } from './reporter-calls.ts'

/** Names one pod, and no other that may come under its name. */
export interface PodIdentity {
  readonly uid: string
  readonly namespace: string
  readonly name: string
}

/** Kubernetes: what a pod has without terminationGracePeriodSeconds. */
const DEFAULT_GRACE_SECONDS = 30

/**
 * The grace period to ask for, in seconds; undefined to leave the pod its own. Kubernetes: one in the delete options stands instead of the
 * pod's own, be it longer or shorter, so it is given only where it shortens. Never 0: that removes the object at once, without waiting for
 * the kubelet, and a successor of the same name could run beside a pod that still does.
 */
export function graceSecondsFor(configuredSeconds: number, ownSeconds: number | undefined): number | undefined {
  const shortest = Math.max(1, configuredSeconds)
  return shortest < (ownSeconds ?? DEFAULT_GRACE_SECONDS) ? shortest : undefined
}

const deleteOptions = (uid: string, graceSeconds: number | undefined): object => ({
  preconditions: { uid },
  ...(graceSeconds === undefined ? {} : { gracePeriodSeconds: graceSeconds }),
})

const podPath = ({ namespace, name }: PodIdentity): string =>
  `/api/v1/namespaces/${encodeURIComponent(namespace)}/pods/${encodeURIComponent(name)}`

/** Asks for the pod's eviction; with `dryRun` only whether it would be granted. */
export function evictionRequest(pod: PodIdentity, graceSeconds: number | undefined, dryRun = false): ApiRequest {
  const { uid, namespace, name } = pod
  const body = {
    apiVersion: 'policy/v1',
    kind: 'Eviction',
    metadata: { namespace, name },
    deleteOptions: { ...deleteOptions(uid, graceSeconds), ...(dryRun ? { dryRun: ['All'] } : {}) },
  }
  return { path: `${podPath(pod)}/eviction`, body }
}

/** Deletes the pod, whatever a disruption budget says. */
export function deletionRequest(pod: PodIdentity, graceSeconds: number | undefined): ApiRequest {
  const body = { apiVersion: 'v1', kind: 'DeleteOptions', ...deleteOptions(pod.uid, graceSeconds) }
  return { path: podPath(pod), body }
}

/** Why a pod was not evicted or deleted. */
export type EvictionRefusal =
  /** There is no such pod any more, or another one has its name. */
  | { readonly is: 'gone'; readonly detail: string }
  /** A disruption budget forbids it. */
  | { readonly is: 'blocked'; readonly detail: string }
  | {
      readonly is: 'failed'
      readonly detail: string
      /** Of the answer; undefined when there was none. */
      readonly status?: number
      /** Whether the same request may fare better soon. */
      readonly passing: boolean
      readonly retryAfterMs?: number
      /** No eviction can be asked for: the right or the credentials are missing. */
      readonly lacksAccess?: true
    }

/** What a call that threw means. `problems` is what is wrong with the credentials, of ApiReader.problems. */
export function refusalOf(thrown: unknown, problems: readonly string[]): EvictionRefusal {
  const error = thrown instanceof ServerUnavailable && thrown.cause !== undefined ? thrown.cause : thrown
  const detail = messageOf(error)
  if (!(error instanceof ApiError)) {
    const wrong = error instanceof ApiContentError || (error instanceof AgentError && error.code === 'E_BUG')
    // A token that was never readable fails every call before it is sent; one that was stays in force.
    if (!wrong && problems.some((problem) => detail.includes(problem))) {
      return { is: 'failed', detail, passing: false, lacksAccess: true }
    }
    return { is: 'failed', detail, passing: !wrong }
  }
  const budget = budgetIn(error)
  if (budget !== undefined) return { is: 'blocked', detail: budget }
  if (isGone(error)) return { is: 'gone', detail }
  const { status, retryAfterMs } = error
  const wait = retryAfterMs === undefined ? {} : { retryAfterMs }
  const lacksAccess = status === 401 || (status === 403 && NO_RIGHT.test(error.message)) ? { lacksAccess: true as const } : {}
  return { is: 'failed', detail, status, passing: isPassing(error), ...wait, ...lacksAccess }
}

/** Kubernetes: the words of the server for any authoriser; a webhook's refusal of this one pod is a 403 too, in other words. */
const NO_RIGHT = /cannot (create|delete) resource/

/** What a disruption budget says, if one forbids the eviction. */
function budgetIn({ status, message, causes }: ApiError): string | undefined {
  const cause = causes.find(({ reason }) => reason === 'DisruptionBudget')
  if (cause !== undefined) return cause.message === '' ? message : cause.message
  // Without causes: older servers, and a pod with several budgets, which no waiting would help.
  if (status === 429 && /disruption ?budget/i.test(message)) return message
  return status === 500 && /more than one PodDisruptionBudget/i.test(message) ? message : undefined
}

function isGone({ status, message }: ApiError): boolean {
  if (status === 404) return !/could not find the requested resource/i.test(message)
  return status === 409 && /UID in (the )?precondition/i.test(message)
}

/** 409 here is a write that somebody else was faster with; Kubernetes asks to repeat it. */
function isPassing({ status }: ApiError): boolean {
  return status === 408 || status === 409 || status === 429 || status >= 500
}
