/** Makes metrics on one registry, under the prefix of all that are the agent's. */
import { Counter, Gauge, Histogram, type Registry } from 'prom-client'

const PREFIX = 'kube_agent_'

/** A calm tick takes about a millisecond, a bad one less than a second. */
const DURATION_BUCKETS = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1]

/** On a registry of its own, so that no two agents in a process (as in tests) share any. */
export class Maker {
  readonly registry: Registry

  constructor(registry: Registry) {
    this.registry = registry
  }

  gauge<Label extends string = never>(name: string, help: string, labelNames: readonly Label[] = []): Gauge<Label> {
    const gauge = new Gauge<Label>({ name: `${PREFIX}${name}`, help, labelNames, registers: [this.registry] })
    // prom-client starts a gauge without labels at 0, which would be a lie until something was measured.
    if (labelNames.length === 0) gauge.remove()
    return gauge
  }

  counter<Label extends string = never>(name: string, help: string, labelNames: readonly Label[] = []): Counter<Label> {
    return new Counter<Label>({ name: `${PREFIX}${name}`, help, labelNames, registers: [this.registry] })
  }

  /** `buckets` in seconds. */
  histogram(name: string, help: string, buckets: readonly number[] = DURATION_BUCKETS): Histogram {
    return new Histogram({ name: `${PREFIX}${name}`, help, buckets: [...buckets], registers: [this.registry] })
  }
}
