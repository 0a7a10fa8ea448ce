/** Every metric with its type, labels and help, from the registry that the agent scrapes from. */
import { createFamilies } from '../../src/record/metrics/families.ts'
import { code, markdownTable, prose } from './table.ts'

/** A metric as it was registered. */
export interface MetricSpec {
  readonly name: string
  readonly type: 'counter' | 'gauge' | 'histogram'
  readonly help: string
  readonly labelNames: readonly string[]
}

/** All metrics that the agent can have, in the order of their names. */
export function registeredMetrics(): readonly MetricSpec[] {
  // What a metric was made with is on the object, though its type says only what can be done with it.
  const metrics = createFamilies().registry.getMetricsAsArray() as unknown as readonly (MetricSpec & {
    readonly constructor: { readonly name: string }
  })[]
  return metrics
    .map(({ name, help, labelNames, constructor }) => ({
      name,
      help,
      labelNames,
      type: constructor.name.toLowerCase() as MetricSpec['type'],
    }))
    .toSorted((a, b) => (a.name < b.name ? -1 : 1))
}

export function metricsReference(): string {
  const rows = registeredMetrics().map(({ name, type, labelNames, help }) => [
    code(name),
    type,
    labelNames.map(code).join(', '),
    prose(help),
  ])
  return markdownTable(['Metric', 'Type', 'Labels', 'What it tells'], rows)
}
