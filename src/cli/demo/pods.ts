/** The demo's pods, and a pod spec as the manifest that the agent reads back. */
import { stringify } from 'yaml'
import type { KubeletQos, PodSpec } from '../../model/index.ts'
import { bytes, milliCpu } from '../../model/index.ts'

export interface PodOptions {
  readonly uid: string
  readonly name: string
  readonly namespace: string
  readonly kubeletQos: KubeletQos
  readonly requestMilli?: number
  readonly extended?: Readonly<Record<string, number>>
}

/** A pod with one container named `main`. */
export function podSpec(options: PodOptions): PodSpec {
  return {
    uid: options.uid,
    namespace: options.namespace,
    name: options.name,
    labels: {},
    kubeletQos: options.kubeletQos,
    requests: { cpuMilli: milliCpu(options.requestMilli ?? 0), memoryBytes: bytes(0) },
    extended: options.extended ?? {},
    phase: 'Running',
    containers: [{ name: 'main', kind: 'main', extended: options.extended ?? {} }],
    origin: 'demo',
  }
}

/** The manifest of a demo pod, as YAML. */
export function manifestOf(spec: PodSpec): string {
  const requests = spec.requests.cpuMilli > 0 ? { cpu: `${spec.requests.cpuMilli}m` } : {}
  return stringify({
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name: spec.name, namespace: spec.namespace, uid: spec.uid },
    spec: {
      containers: spec.containers.map(({ name }) => ({
        name,
        resources: { requests: { ...requests, ...spec.extended }, limits: { ...spec.extended } },
      })),
    },
    status: { phase: spec.phase },
  })
}
