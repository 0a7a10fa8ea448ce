/** Assembles one immutable NodeSnapshot from the kernel port and the pod source. */
export { PodDirectory } from './pod-directory.ts'
export { type GuardReading, Sensor } from './sensor.ts'
