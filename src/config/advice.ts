/**
 * Settings that are legal and probably not what was meant. Unlike combinations.ts these stop nothing: `config check` prints them,
 * and a starting agent logs them.
 */
import { CPU_RUNGS } from '../model/index.ts'
import type { Config } from './types.ts'

const GIB = 2 ** 30
/** The kubelet copies every allocated device ID into the pod's status (Kubernetes 1.36), and walks all of them after its restart. */
const MAX_UNITS = 2048

/** One line for each, naming the setting, what it leads to and what to do. */
export function adviceOn(config: Config): string[] {
  return [...adviceOnUnits(config), ...adviceOnRungs(config), ...adviceOnEviction(config), ...adviceOnIo(config)]
}

function adviceOnUnits(config: Config): string[] {
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

/** Offline work may fill the node up to the watermark, so a rung that is left below it is hardly ever left. */
function adviceOnRungs(config: Config): string[] {
  const { watermarkPermyriad } = config.suppressCpu
  return CPU_RUNGS.filter((rung) => config[rung].enabled && config[rung].exitPermyriad < watermarkPermyriad).map(
    (rung) =>
      `${rung}.exitPermyriad: ${config[rung].exitPermyriad} is below suppressCpu.watermarkPermyriad (${watermarkPermyriad}), which offline pods may fill the node up to: once climbed, the rung is hardly ever left. Take at least ${watermarkPermyriad}, and more for its enterPermyriad.`,
  )
}

/** The evicting rungs of memory are on by default, so that evict.enabled alone switches them; cpuEvict is on only if somebody wants it. */
function adviceOnEviction({ evict, cpuEvict }: Config): string[] {
  const advice: string[] = []
  if (cpuEvict.enabled && !evict.enabled) {
    advice.push('cpuEvict.enabled: true evicts nothing while evict.enabled is false. Switch evict.enabled on, or cpuEvict off.')
  }
  if (evict.force && !evict.enabled) {
    advice.push('evict.force: true forces nothing while evict.enabled is false. Switch evict.enabled on, or force off.')
  }
  return advice
}

function adviceOnIo({ suppressIo }: Config): string[] {
  const { enabled, devices, readBps, writeBps, readIops, writeIops } = suppressIo
  const isLimited = [readBps, writeBps, readIops, writeIops].some((limit) => limit > 0)
  if (!enabled || isLimited === devices.length > 0) return []
  return [
    isLimited
      ? 'suppressIo.devices: empty, so that readBps, writeBps, readIops and writeIops limit nothing. List the devices that they are for.'
      : `suppressIo.devices: ${devices.join(', ')} without a limit. Set readBps, writeBps, readIops or writeIops, or leave the list empty.`,
  ]
}
