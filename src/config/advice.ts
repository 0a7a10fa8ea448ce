/**
 * Settings that are legal and probably not what was meant. Unlike combinations.ts these stop nothing: `config check` prints them,
 * and a starting agent logs them.
 */
import type { Config } from './types.ts'

const GIB = 2 ** 30
/** The kubelet copies every allocated device ID into the pod's status (Kubernetes 1.36), and walks all of them after its restart. */
const MAX_UNITS = 2048

/** One line for each, naming the setting, what it leads to and what to do. */
export function adviceOn(config: Config): string[] {
  const { cpuUnitMilli, memoryUnitBytes } = config.resources
  const advice: string[] = []
  if (1000 % cpuUnitMilli !== 0 && cpuUnitMilli % 1000 !== 0) {
    advice.push(
      `resources.cpuUnit: ${cpuUnitMilli}m does not divide a CPU; up to ${cpuUnitMilli - 1}m a node can't be sold, since offers are rounded down. Take 50m, 100m, 250m or whole CPUs.`,
    )
  }
  if (GIB % memoryUnitBytes !== 0 && memoryUnitBytes % GIB !== 0) {
    advice.push(
      `resources.memoryUnit: ${memoryUnitBytes} bytes do not divide a GiB; offers are rounded down to whole units. Take 128Mi, 256Mi, 512Mi or whole Gi.`,
    )
  }
  if (config.capacity.maxUnits > MAX_UNITS) {
    advice.push(
      `capacity.maxUnits: ${config.capacity.maxUnits} devices of one resource slow down kubelets from 1.36 on. Take at most ${MAX_UNITS} and a larger resources.cpuUnit or memoryUnit.`,
    )
  }
  return advice
}
