/** What placement-churn.ts draws from its seed: pods of all classes, other sizes for them, and settings. */
import type { PodSpec } from '../../src/model/index.ts'
import { milliCpu } from '../../src/model/index.ts'
import { type PodLiteral, specOf } from './snapshots.ts'

/** In 0 ≤ x < 1. */
export type Random = () => number

/** mulberry32. */
export function randomFrom(seed: number): Random {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6d_2b_79_f5) >>> 0
    let bits = Math.imul(state ^ (state >>> 15), state | 1)
    bits ^= bits + Math.imul(bits ^ (bits >>> 7), bits | 61)
    return ((bits ^ (bits >>> 14)) >>> 0) / 2 ** 32
  }
}

export type NonEmpty<T> = readonly [T, ...T[]]

export function choose<T>(random: Random, from: NonEmpty<T>): T
export function choose<T>(random: Random, from: readonly T[]): T | undefined
export function choose<T>(random: Random, from: readonly T[]): T | undefined {
  return from[Math.floor(random() * from.length)]
}

const LABEL = 'kube-agent.io/qos-class'
const ONLINE = ['LSX', 'LSR', 'LS'] as const

function randomMilli(random: Random, cpus: number): number {
  const largest = Math.max(1, cpus / 2)
  return Math.max(100, Math.round((random() * largest * 1000) / 500) * 500)
}

/** A pod of one of the classes, with a container or two. */
export function randomPod(random: Random, number: number, cpus: number): PodSpec {
  const uid = `p${number}`
  const containers = random() < 0.5 ? ['main'] : ['main', 'side']
  const kind = choose(random, ['LSX', 'LSR', 'LSR', 'LS', 'BE', 'BE', 'OT', 'UNTAGGED'] as const)
  const milli = randomMilli(random, cpus)
  const literal: PodLiteral =
    kind === 'UNTAGGED'
      ? { uid, containers }
      : kind === 'BE' || kind === 'OT'
        ? { uid, containers, asks: kind === 'BE' ? { 'be-cpu': milli / 100 } : { 'ot-cpu': milli / 100 } }
        : { uid, containers, qos: kind === 'LS' ? 'Burstable' : 'Guaranteed', requestsMilli: milli, labels: { [LABEL]: kind } }
  return specOf(literal)
}

/** The pod with another request, or another class; both stay possible where its group is. */
export function resized(random: Random, spec: PodSpec, cpus: number): PodSpec {
  const milli = randomMilli(random, cpus)
  if (spec.kubeletQos === 'BestEffort') {
    const extended = Object.fromEntries(Object.keys(spec.extended).map((name) => [name, milli / 100]))
    return { ...spec, extended, containers: spec.containers.map((one, index) => (index === 0 ? { ...one, extended } : one)) }
  }
  if (random() < 0.4) return { ...spec, labels: { [LABEL]: choose(random, ONLINE) } }
  return { ...spec, requests: { ...spec.requests, cpuMilli: milliCpu(milli) } }
}

/** Settings that differ from the defaults in what placement and suppression depend on. */
export function randomSettings(random: Random, cpus: number): Readonly<Record<string, unknown>> {
  const isLarge = cpus > 2
  return {
    'placement.reservedCpus': choose(random, ['', '', '0', isLarge ? '0-1' : '0']),
    'placement.dedicatedCpus': choose(random, ['', '', isLarge ? '6-7' : '', isLarge ? '7' : '1']),
    'placement.lsSharePermyriad': choose(random, [10_000, 5000, 3000]),
    'placement.lsrSharePermyriad': choose(random, [5000, 0, 10_000]),
    'placement.bePinning': choose(random, ['shared', 'exclusive']),
    'placement.strategy': choose(random, ['pack', 'spread']),
    'placement.poolMinCpus': choose(random, isLarge ? [1, 1, 2, 3] : [1]),
    'placement.enabled': random() < 0.9,
    'suppressCpu.watermarkPermyriad': choose(random, [6500, 6500, 3000]),
    'suppressCpu.lowWatermarkPermyriad': choose(random, [2000, 2500]),
  }
}
