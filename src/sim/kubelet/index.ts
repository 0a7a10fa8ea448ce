/** The kubelet stand-in: see stand-in.ts. */
export { KubeletStandIn, type KubeletStandInOptions } from './stand-in.ts'
export type { AdmissionResult, StandInPod } from './admission.ts'
