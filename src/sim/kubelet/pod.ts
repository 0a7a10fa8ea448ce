/**
 * Pods as the stand-in's callers describe them, what the kubelet makes of them, and what a pod asks for as a whole: its main
 * containers and sidecars run side by side, its init containers one after the other, beside the sidecars started before them.
 * Source: kubernetes staging/src/k8s.io/component-helpers/resource/helpers.go (PodRequests), 1.36.
 */

export type ContainerKind = 'main' | 'init' | 'sidecar'

export interface StandInContainer {
  readonly name: string
  /** Units by full resource name. Resources that no plugin ever listed are not the kubelet's to count. */
  readonly limits: Readonly<Record<string, number>>
  /** Init containers and sidecars (restartable init containers) are admitted before main ones, in their order. @default 'main' */
  readonly kind?: ContainerKind
}

export interface StandInPod {
  readonly uid: string
  readonly namespace: string
  readonly name: string
  readonly containers: readonly StandInContainer[]
}

export interface AdmittedContainer {
  readonly name: string
  /** Device IDs by resource. */
  readonly devices: Readonly<Record<string, readonly string[]>>
  readonly envs: Readonly<Record<string, string>>
  readonly annotations: Readonly<Record<string, string>>
}

export interface Rejection {
  readonly admitted: false
  /** `UnexpectedAdmissionError`, or `OutOf` and the resource. */
  readonly reason: string
  readonly message: string
}

export type AdmissionResult = { readonly admitted: true; readonly containers: readonly AdmittedContainer[] } | Rejection

export function kindOf({ kind = 'main' }: StandInContainer): ContainerKind {
  return kind
}

/** Init containers and sidecars first, as the kubelet goes through them. */
export function inAdmissionOrder({ containers }: StandInPod): readonly StandInContainer[] {
  const isMain = (container: StandInContainer): boolean => kindOf(container) === 'main'
  return [...containers.filter((container) => !isMain(container)), ...containers.filter(isMain)]
}

/** The units of a resource that the scheduler and the kubelet count for the pod. */
export function requestOf(pod: StandInPod, resource: string): number {
  let steady = 0
  let atInit = 0
  for (const container of inAdmissionOrder(pod)) {
    const units = container.limits[resource] ?? 0
    if (kindOf(container) === 'init') atInit = Math.max(atInit, steady + units)
    else steady += units
  }
  return Math.max(steady, atInit)
}
