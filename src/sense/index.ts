/** Assembles one immutable NodeSnapshot from the kernel port and the pod source. */
export { PodDirectory } from './pod-directory.ts'
export { Sensor } from './sensor.ts'
