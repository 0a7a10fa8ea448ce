/**
 * CPU sets, their text, what CPUs share, and choosing among them. Pure: imports nothing, not even another room, so that every
 * other room may build on it. Nothing inside the folder is imported from outside but through this file.
 */
export { takeFromEnd, wholeCores } from './choose.ts'
export { CpuListError, MAX_CPU_ID } from './cpulist.ts'
export { CpuSet } from './cpuset.ts'
export { compareCounts, countsOf, countsWithin, type PlaceCounts, sharedPart, siblingsClosure } from './place/counts.ts'
export { placeExclusive, type PlaceOptions } from './place/place.ts'
export { staticPolicyChoice } from './place/static-policy.ts'
export { buildTopology, type CpuTopology, type RawCpu, type RawTopology } from './topology.ts'
