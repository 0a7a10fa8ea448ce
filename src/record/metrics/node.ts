/** Series of the node as a whole: its use, the pressure on it, how old each reading is, and what its kernel can do. */
import type { NodeSnapshot, Reading } from '../../model/index.ts'
import { ageMs, KNOB_KINDS } from '../../model/index.ts'
import type { Families } from './families.ts'
import { setOrRemove, toCores } from './set.ts'

export class NodeMetrics {
  readonly #families: Families
  #capabilities: NodeSnapshot['capabilities'] | undefined

  constructor(families: Families) {
    this.#families = families
  }

  /** Values that a hot tick moves too. */
  tick({ node, online, bestEffort, topology, pods, nowMs }: NodeSnapshot): void {
    const { node: families } = this.#families
    setOrRemove(families.nodeCpuUsed, toCores(node.cpu?.value.usedMilli))
    families.nodeCpuCapacity.set(topology.online.size)
    setOrRemove(families.offlineCpuUsed, toCores(bestEffort.cpu?.value.usedMilli))
    this.#age('node_cpu', node.cpu, nowMs)
    this.#age('offline_cpu', bestEffort.cpu, nowMs)
    this.#age('memory', node.memory, nowMs)
    this.#age('cpu_pressure', node.cpuPressure, nowMs)
    this.#age('memory_pressure', node.memoryPressure, nowMs)
    this.#age('io_pressure', node.ioPressure, nowMs)
    this.#age('run_queue', node.runQueue, nowMs)
    this.#age('online_cpu_pressure', online.cpuPressure, nowMs)
    this.#age('online_io_pressure', online.ioPressure, nowMs)
    families.readingAge.set({ reading: 'pods' }, Math.max(0, nowMs - pods.atMs) / 1000)
  }

  /** Values that only a calm tick moves. */
  calmTick({ node, capabilities }: NodeSnapshot): void {
    const { node: families } = this.#families
    setOrRemove(families.memoryCapacity, node.memory?.value.totalBytes)
    setOrRemove(families.memoryAvailable, node.memory?.value.availableBytes)
    for (const resource of ['cpu', 'memory', 'io'] as const) {
      const pressure = node[`${resource}Pressure`]
      if (pressure === undefined) families.pressure.remove({ resource })
      else families.pressure.set({ resource }, pressure.value.someUsPerSecond / 1_000_000)
    }
    if (capabilities !== this.#capabilities) this.#kernel(capabilities)
  }

  #kernel(capabilities: NodeSnapshot['capabilities']): void {
    const { capabilityUsable, info } = this.#families.node
    for (const knob of KNOB_KINDS) capabilityUsable.set({ knob }, capabilities.knobs[knob].usable ? 1 : 0)
    const { kernelRelease, dialect, driver } = capabilities
    info.reset()
    info.set({ kernel_release: kernelRelease, cgroup_version: dialect, cgroup_driver: driver }, 1)
    this.#capabilities = capabilities
  }

  #age(reading: string, value: Reading<unknown> | undefined, nowMs: number): void {
    const { readingAge } = this.#families.node
    if (value === undefined) readingAge.remove({ reading })
    else readingAge.set({ reading }, Math.max(0, ageMs(value, nowMs)) / 1000)
  }
}
