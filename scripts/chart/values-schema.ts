/**
 * The schema of the chart's values, deploy/chart/kube-agent/values.schema.json: Helm refuses what it does not know before anything reaches a cluster.
 * `config` in it is the agent's own schema, so a setting that a node would refuse is refused by `helm install`.
 * Draft 7, which every Helm 3 understands; patterns as Go's RE2 takes them.
 */
import { configJsonSchema } from '../../src/config/index.ts'

type Schema = Readonly<Record<string, unknown>>

/** What is the chart's to say: where it mounts things, where the agent listens and what its node is called. */
const CHARTS_OWN = ['paths', 'http', 'node.name', 'pods.directory'] as const

/** RE2 has no look-ahead, and Go refuses a schema with a pattern that it can't compile: the agent checks those texts itself. */
const isForRe2 = (pattern: string): boolean => !pattern.includes('(?=') && !pattern.includes('(?!')

const text: Schema = { type: 'string' }
const flag: Schema = { type: 'boolean' }
const path: Schema = { type: 'string', pattern: '^/[^\\s]+$' }
const port: Schema = { type: 'integer', minimum: 1, maximum: 65_535 }
/** Whatever Kubernetes takes there; the rendered objects are held to its own schema. */
const anyMapping: Schema = { type: 'object' }
const texts: Schema = { type: 'object', additionalProperties: text }
const interval: Schema = { type: 'string', pattern: '^[0-9]+(ms|s|m|h)$' }
// Kubernetes: names of labels and their values.
const labelKey: Schema = { type: 'string', pattern: '^([a-z0-9.-]{1,253}/)?[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?$' }
const labelValue: Schema = { type: 'string', pattern: '^([A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?)?$' }

const object = (properties: Readonly<Record<string, Schema>>, required: readonly string[] = []): Schema => ({
  type: 'object',
  additionalProperties: false,
  properties,
  ...(required.length === 0 ? {} : { required }),
})

/** Without the keys that only say things to people, and what the validator of Helm can't read. */
function portable(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(portable)
  if (typeof value !== 'object' || value === null) return value
  return Object.fromEntries(
    Object.entries(value)
      .filter(([key, inner]) => key !== '$schema' && key !== 'title' && !(key === 'pattern' && !isForRe2(String(inner))))
      .map(([key, inner]) => [key, key === 'default' || key === 'enum' ? inner : portable(inner)]),
  )
}

/** The agent's schema without what the chart says itself. */
function agentConfig(): Schema {
  const schema = portable(configJsonSchema()) as { readonly properties: Record<string, { properties?: Record<string, unknown> }> }
  for (const key of CHARTS_OWN) {
    const [block, name] = key.split('.') as [string, string?]
    if (name === undefined) delete schema.properties[block]
    else delete schema.properties[block]?.properties?.[name]
  }
  return schema
}

const monitor = object({ enabled: flag, interval, labels: texts }, ['enabled', 'interval'])

const pool = object(
  {
    // With the name of the release before it, it names a DaemonSet; "default" is what the nodes in no pool are called.
    name: { type: 'string', pattern: '^[a-z0-9]([a-z0-9-]{0,18}[a-z0-9])?$', not: { const: 'default' } },
    nodeLabel: labelKey,
    values: { type: 'array', items: labelValue, minItems: 1, uniqueItems: true },
    agent: flag,
    release: flag,
    config: { $ref: '#/definitions/config' },
  },
  ['name', 'nodeLabel', 'values'],
)

/** A fresh plain object, ready for JSON. */
export function valuesSchema(): Schema {
  return {
    $schema: 'http://json-schema.org/draft-07/schema#',
    title: 'Values of the chart kube-agent',
    ...object({
      // Helm lays values meant for all charts of an installation here.
      global: anyMapping,
      fullnameOverride: { type: 'string', pattern: '^([a-z]([a-z0-9-]{0,38}[a-z0-9])?)?$' },
      image: object(
        {
          repository: { type: 'string', minLength: 1 },
          tag: text,
          digest: { type: 'string', pattern: '^(sha256:[0-9a-f]{64})?$' },
          pullPolicy: { enum: ['Always', 'IfNotPresent', 'Never'] },
        },
        ['repository'],
      ),
      imagePullSecrets: { type: 'array', items: object({ name: text }, ['name']) },
      config: { $ref: '#/definitions/config' },
      pools: { type: 'array', items: pool, maxItems: 32 },
      restartOnConfigChange: flag,
      releaseNodes: flag,
      http: object({ host: { type: 'string', pattern: '^[0-9A-Za-z.:-]{0,253}$' }, port }, ['port']),
      hostNetwork: flag,
      hostPaths: object({ cgroup: path, devicePlugins: path, podResources: path, state: path, recording: path }, [
        'cgroup',
        'devicePlugins',
        'podResources',
        'state',
        'recording',
      ]),
      serviceAccount: object({ create: flag, name: text, annotations: texts }),
      rbac: object({ create: flag, evictionsGranted: flag }),
      resources: anyMapping,
      priorityClassName: text,
      tolerations: { type: 'array', items: anyMapping },
      nodeSelector: texts,
      updateStrategy: object(
        {
          maxUnavailable: {
            anyOf: [
              { type: 'integer', minimum: 0 },
              { type: 'string', pattern: '^[0-9]{1,3}%$' },
            ],
          },
        },
        ['maxUnavailable'],
      ),
      terminationGracePeriodSeconds: { type: 'integer', minimum: 10, maximum: 600 },
      seLinuxOptions: anyMapping,
      appArmorProfile: anyMapping,
      podAnnotations: texts,
      podLabels: texts,
      service: object({ enabled: flag, annotations: texts }, ['enabled']),
      podMonitor: monitor,
      serviceMonitor: monitor,
      prometheusRule: object({ enabled: flag, labels: texts }, ['enabled']),
      networkPolicy: object({
        enabled: flag,
        from: { type: 'array', items: anyMapping },
        apiServerPorts: { type: 'array', items: port, minItems: 1 },
      }),
    }),
    definitions: { config: agentConfig() },
  }
}
