/** The kubelet stand-in: see stand-in.ts. */
export { KubeletStandIn } from './stand-in.ts'
export type { KubeletStandInOptions } from './options.ts'
export type { AdmissionResult, ContainerKind, StandInContainer, StandInPod } from './pod.ts'
