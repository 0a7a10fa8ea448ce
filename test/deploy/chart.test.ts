/**
 * The Helm chart, rendered as Helm renders it: every object valid by Kubernetes' own schema, no right that a configuration does not need, one
 * agent for each node, configurations that the agent takes, and a reason for every combination of values that can't work.
 */
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import * as fc from 'fast-check'
import { beforeAll, describe, expect, it, type TestContext } from 'vitest'
import { parse, parseAllDocuments } from 'yaml'
import { generatedFiles, manifestFiles, MANIFESTS } from '../../scripts/chart/generated.ts'
import { type Case, CHART, type Manifest, renderChart, type Rendered, whyNoRenderer } from '../../scripts/chart/render.ts'
import { type Config, loadConfig } from '../../src/config/index.ts'
import { OPERATIONS, type OperationName } from '../../src/kube/operations.ts'
import { schemaProblems } from '../support/kubernetes-schema.ts'

type Values = Readonly<Record<string, unknown>>

const DEPLOY = join(CHART, '../..')
const why = whyNoRenderer()

interface Container {
  readonly name: string
  readonly args: readonly string[]
  readonly env: readonly { readonly name: string; readonly value?: string }[]
  readonly ports?: readonly { readonly name: string; readonly containerPort: number }[]
  readonly securityContext: { readonly capabilities: { readonly add?: readonly string[]; readonly drop: readonly string[] } }
  readonly volumeMounts: readonly {
    readonly name: string
    readonly mountPath: string
    readonly readOnly?: boolean
    readonly recursiveReadOnly?: string
  }[]
  readonly livenessProbe?: { readonly httpGet: { readonly port: string; readonly host?: string } }
}
interface PodSpec {
  readonly hostPID: boolean
  readonly hostNetwork: boolean
  readonly containers: readonly [Container]
  readonly initContainers?: readonly [Container]
  readonly volumes: readonly { readonly name: string; readonly hostPath?: { readonly path: string } }[]
  readonly affinity?: { readonly nodeAffinity: { readonly requiredDuringSchedulingIgnoredDuringExecution: NodeSelector } }
}
interface NodeSelector {
  readonly nodeSelectorTerms: readonly [{ readonly matchExpressions: readonly Expression[] }]
}
interface Expression {
  readonly key: string
  readonly operator: 'In' | 'NotIn'
  readonly values: readonly string[]
}

const podOf = (daemonSet: Manifest): PodSpec =>
  (daemonSet['spec'] as { readonly template: { readonly spec: PodSpec } }).template.spec
const ofKind = (kind: string, { objects }: Rendered): Manifest[] => objects.filter((object) => object.kind === kind)
const render = (values: Values = {}): Rendered => renderChart([{ values }])[0] ?? { objects: [], texts: [], notes: '' }

const EVERYTHING: Values = {
  image: { digest: `sha256:${'0123456789abcdef'.repeat(4)}` },
  imagePullSecrets: [{ name: 'registry' }],
  config: { mode: 'enforce', cluster: { hotLabel: true, hotTaint: true }, evict: { enabled: true, force: true } },
  pools: [
    { name: 'cores', nodeLabel: 'example.com/pool', values: ['a'], config: { identity: { coreScheduling: true } } },
    {
      name: 'quiet',
      nodeLabel: 'example.com/pool',
      values: ['b', 'c'],
      config: { mode: 'observe', classes: { label: 'example.com/class' }, evict: { enabled: false, force: false } },
    },
    { name: 'none', nodeLabel: 'kubernetes.io/hostname', values: ['n1'], agent: false },
    {
      name: 'kubelet',
      nodeLabel: 'tier',
      values: [''],
      config: { pods: { source: 'kubelet' }, cluster: { kubelet: 'https://10.0.0.1:10250' } },
    },
  ],
  serviceAccount: { name: 'other', annotations: { a: 'b' } },
  seLinuxOptions: { type: 'spc_t' },
  appArmorProfile: { type: 'Unconfined' },
  podAnnotations: { c: 'd' },
  podLabels: { e: 'f' },
  service: { annotations: { g: 'h' } },
  networkPolicy: { enabled: true, from: [{ namespaceSelector: { matchLabels: { name: 'monitoring' } } }] },
  updateStrategy: { maxUnavailable: 3 },
}

const CASES: Readonly<Record<string, Values>> = {
  defaults: {},
  enforce: { config: { mode: 'enforce' } },
  plan: { config: { mode: 'plan' }, restartOnConfigChange: false },
  releasing: { config: { mode: 'enforce' }, releaseNodes: true },
  everything: EVERYTHING,
  'everything, releasing': { ...EVERYTHING, releaseNodes: true },
  'the host network': { hostNetwork: true, http: { port: 9999 }, config: { mode: 'enforce', pods: { source: 'kubelet' } } },
  'no reports': {
    config: { mode: 'enforce', own: { nice: 0 }, cluster: { events: false, condition: false, annotations: false } },
    service: { enabled: false },
  },
  'no kubelet': { config: { mode: 'enforce', kubelet: { enabled: false }, evict: { enabled: true } } },
  'an account of others': { rbac: { create: false }, serviceAccount: { create: false, name: 'theirs' } },
  'a pool that is put back': {
    config: { mode: 'enforce' },
    pools: [{ name: 'batch', nodeLabel: 'pool', values: ['batch'], release: true }],
  },
  'a pool that is put back, with its cookies': {
    config: { mode: 'enforce', identity: { coreScheduling: true } },
    pools: [{ name: 'batch', nodeLabel: 'pool', values: ['batch'], release: true }],
  },
  'a recording': { config: { recording: { enabled: true, directory: '/var/lib/kube-agent/incidents' } } },
  'a pool that alone enforces': {
    pools: [{ name: 'canary', nodeLabel: 'kubernetes.io/hostname', values: ['n7'], config: { mode: 'enforce' } }],
  },
}
const NAMES = Object.keys(CASES)

let rendered: ReadonlyMap<string, Rendered>
beforeAll(() => {
  if (why === undefined)
    rendered = new Map(
      renderChart(NAMES.map((name) => ({ values: CASES[name] ?? {} }))).map((one, index) => [NAMES[index] ?? '', one]),
    )
}, 300_000)

function rendering(context: TestContext, name: string): Rendered {
  if (why !== undefined) context.skip(why)
  const one = rendered.get(name)
  if (one === undefined || one.error !== undefined) throw new Error(`${name}: ${one?.error ?? 'not rendered'}`)
  return one
}

/** The files that a container's environment names, out of the ConfigMap, as the agent loads them. */
function configOf(one: Rendered, daemonSet: Manifest): { readonly config: Config; readonly files: readonly string[] } {
  const pod = podOf(daemonSet)
  const volume = pod.volumes.find(({ name }) => name === 'config') as unknown as {
    readonly configMap: { readonly name: string; readonly items: readonly { readonly key: string; readonly path: string }[] }
  }
  const map = ofKind('ConfigMap', one).find(({ metadata }) => metadata.name === volume.configMap.name)
  const data = map?.['data'] as Readonly<Record<string, string>>
  const directory = mkdtempSync(join(tmpdir(), 'kube-agent-chart-'))
  try {
    for (const { key, path } of volume.configMap.items) writeFileSync(join(directory, path), data[key] ?? 'no: such key')
    const named = pod.containers[0].env.find(({ name }) => name === 'KUBE_AGENT_CONFIG')?.value ?? ''
    const files = named.split(':')
    expect(files.map((file) => file.replace('/etc/kube-agent/', '')).sort()).toEqual(
      volume.configMap.items.map(({ path }) => path).sort(),
    )
    return { config: loadConfig({ file: files.map((file) => file.replace('/etc/kube-agent', directory)) }).config, files }
  } finally {
    rmSync(directory, { recursive: true })
  }
}

/** Settings as the table of operations writes them. */
function isOn(config: Config, setting: string): boolean {
  const [key = '', wanted] = setting.split(': ')
  const [block = '', name = ''] = key.split('.')
  const value = (config as unknown as Record<string, Record<string, unknown>>)[block]?.[name]
  if (wanted === undefined) return value === true
  return value === wanted || (wanted === 'api' && value === 'auto')
}

const READS: readonly OperationName[] = ['listPods', 'watchPods', 'getKubeletPods']

/** The calls that agents of this rendering make, as `verb resource`. */
function callsOf(one: Rendered, { releasing }: { readonly releasing: boolean }): string[] {
  const calls = ofKind('DaemonSet', one).flatMap((daemonSet) => {
    const { config } = configOf(one, daemonSet)
    return (Object.keys(OPERATIONS) as OperationName[]).filter((name) => {
      const whens = OPERATIONS[name].when.split(', ')
      if (name === 'createEviction' || name === 'deletePod')
        return !releasing && config.mode === 'enforce' && config.evict.enabled && whens.some((when) => isOn(config, when))
      const asks =
        config.mode === 'enforce' || releasing || podOf(daemonSet).initContainers !== undefined
          ? whens
          : whens.filter((when) => when.startsWith('pods.'))
      return (READS.includes(name) || asks.length > 0) && asks.some((when) => isOn(config, when))
    })
  })
  return [...new Set(calls.map((name) => `${OPERATIONS[name].verb} ${OPERATIONS[name].resource}`))].sort()
}

function grantsOf(objects: readonly Manifest[]): string[] {
  return objects
    .filter(({ kind }) => kind === 'ClusterRole')
    .flatMap(({ rules }) => rules as { readonly apiGroups: string[]; readonly resources: string[]; readonly verbs: string[] }[])
    .flatMap(({ apiGroups, resources, verbs }) => {
      expect(apiGroups).toEqual([''])
      return resources.flatMap((resource) => verbs.map((verb) => `${verb} ${resource}`))
    })
    .sort()
}

describe('what is made from something else', () => {
  it.each([...generatedFiles().keys()].map((path) => [path.replace(`${DEPLOY}/`, ''), path] as const))(
    'deploy/%s is what npm run manifests makes',
    (_name, path) => {
      const made = generatedFiles().get(path) ?? ''
      const text = readFileSync(path, 'utf8')
      if (path.endsWith('.json')) expect(JSON.parse(text)).toEqual(JSON.parse(made))
      else expect(text).toBe(made)
    },
  )

  it('deploy/manifests says what the chart says', { timeout: 300_000 }, (context) => {
    if (why !== undefined) context.skip(why)
    const made = manifestFiles()
    expect(readdirSync(join(DEPLOY, 'manifests')).sort()).toEqual(MANIFESTS.map(({ file }) => file).sort())
    for (const [path, text] of made) expect(readFileSync(path, 'utf8'), path).toBe(text)
    const [observe = [], enforce = []] = ['observe.yaml', 'enforce.yaml'].map((file) =>
      parseAllDocuments(readFileSync(join(DEPLOY, 'manifests', file), 'utf8')).map((document) => document.toJS() as Manifest),
    )
    expect(observe.slice(1)).toEqual(rendering(context, 'defaults').objects)
    expect(enforce.slice(1)).toEqual(rendering(context, 'enforce').objects)
    expect(observe[0]?.kind).toBe('Namespace')
  })

  it('templates ask for values that there are, and for no others', () => {
    const values = parse(readFileSync(join(CHART, 'values.yaml'), 'utf8')) as Values
    const used = readdirSync(join(CHART, 'templates')).flatMap((file) =>
      [...readFileSync(join(CHART, 'templates', file), 'utf8').matchAll(/(?:\.Values|\$values)\.([\w.]+)/g)].map(
        ([, path = '']) => path,
      ),
    )
    const isThere = (path: string): boolean => {
      let at: unknown = values
      for (const name of path.split('.')) {
        // What stands below the agent's configuration is the schema's.
        if (at === values['config'] && at !== undefined) return true
        if (typeof at !== 'object' || at === null || !(name in at)) return false
        at = (at as Values)[name]
      }
      return true
    }
    expect(used.filter((path) => !isThere(path))).toEqual([])
    expect(Object.keys(values).filter((name) => !used.some((path) => path.split('.')[0] === name))).toEqual([])
  })
})

describe.each(NAMES)('the chart with %s', (name) => {
  it('gives each object once, in its namespace', (context) => {
    const { objects } = rendering(context, name)
    const names = objects.map(({ kind, metadata }) => `${kind}/${metadata.name}`)
    expect(new Set(names).size).toBe(names.length)
    for (const { kind, metadata } of objects)
      expect(metadata.namespace, kind).toBe(kind.startsWith('Cluster') ? undefined : 'kube-agent')
  })

  it('grants what the agents ask for, and nothing else', (context) => {
    const one = rendering(context, name)
    const { rbac = {}, releaseNodes } = CASES[name] as {
      readonly rbac?: { readonly create?: boolean }
      readonly releaseNodes?: boolean
    }
    expect(grantsOf(one.objects)).toEqual(rbac.create === false ? [] : callsOf(one, { releasing: releaseNodes === true }))
  })

  it('gives no container more than its configuration needs', (context) => {
    const one = rendering(context, name)
    for (const daemonSet of ofKind('DaemonSet', one)) {
      const { config } = configOf(one, daemonSet)
      const pod = podOf(daemonSet)
      const releasing = pod.initContainers !== undefined
      const enforces = config.mode === 'enforce' && !releasing
      for (const container of [...pod.containers, ...(pod.initContainers ?? [])]) {
        expect(container.securityContext).toMatchObject({
          runAsUser: 0,
          privileged: false,
          allowPrivilegeEscalation: false,
          readOnlyRootFilesystem: true,
          seccompProfile: { type: 'RuntimeDefault' },
        })
        const { add = [], drop } = container.securityContext.capabilities
        expect(drop).toEqual(['ALL'])
        const nice = config.own.nice !== 0 || config.own.realtimePriority > 0
        // What gives cookies needs the right to, and so does what takes them back.
        const cookies = config.identity.coreScheduling && (enforces || container.name === 'release')
        expect(add).toEqual([...(enforces && nice ? ['SYS_NICE'] : []), ...(cookies ? ['SYS_PTRACE'] : [])])
        const writable = container.volumeMounts.filter(({ readOnly }) => readOnly !== true).map(({ mountPath }) => mountPath)
        const kubelet = config.kubelet.enabled ? [config.paths.devicePlugins] : []
        const recorded = config.recording.enabled ? [dirname(config.recording.directory)] : []
        const held = [config.paths.cgroup, config.paths.state]
        const needed = enforces ? [...held, ...recorded, ...kubelet] : recorded
        expect(writable).toEqual(container.name === 'release' ? held : needed)
        const mounted = container.volumeMounts.map(({ mountPath }) => mountPath)
        expect(mounted.includes(config.paths.podResources)).toBe(enforces && config.kubelet.enabled)
        for (const { name: volume } of container.volumeMounts) expect(pod.volumes.map((one) => one.name)).toContain(volume)
      }
      expect(pod.hostPID).toBe((enforces || releasing) && config.identity.coreScheduling)
      const used = [...pod.containers, ...(pod.initContainers ?? [])].flatMap(({ volumeMounts }) =>
        volumeMounts.map((mount) => mount.name),
      )
      expect(pod.volumes.map((volume) => volume.name).sort()).toEqual([...new Set(used)].sort())
    }
  })

  it('gives the agent the class SYSTEM by the label that its own configuration goes by', (context) => {
    const one = rendering(context, name)
    for (const daemonSet of ofKind('DaemonSet', one)) {
      const { template } = daemonSet['spec'] as {
        readonly template: { readonly metadata: { readonly labels: Readonly<Record<string, string>> } }
      }
      expect(template.metadata.labels[configOf(one, daemonSet).config.classes.label]).toBe('SYSTEM')
    }
  })

  it('lets the kubelet reach the agent where it listens', (context) => {
    const one = rendering(context, name)
    for (const daemonSet of ofKind('DaemonSet', one)) {
      const { config } = configOf(one, daemonSet)
      const { hostNetwork, containers } = podOf(daemonSet)
      const [{ ports = [], livenessProbe }] = containers
      expect(ports).toMatchObject([{ name: 'http', containerPort: config.http.port }])
      expect(livenessProbe?.httpGet.port).toBe('http')
      expect([livenessProbe?.httpGet.host, config.http.host]).toEqual(
        hostNetwork ? ['127.0.0.1', '127.0.0.1'] : [undefined, '0.0.0.0'],
      )
    }
  })
})

describe('an agent that only looks', () => {
  it(
    'has the mounts below the cgroup tree read-only too, from the Kubernetes on that can do it',
    { timeout: 60_000 },
    (context) => {
      if (why !== undefined) context.skip(why)
      const versions = ['v1.26.0', 'v1.30.4', 'v1.31.2-gke.100', 'v1.36.0']
      const all = renderChart(
        versions.flatMap((kubeVersion) => [{ kubeVersion }, { kubeVersion, values: { config: { mode: 'enforce' } } }]),
      )
      const deeply = all.map((one) => {
        const [daemonSet] = ofKind('DaemonSet', one)
        if (daemonSet === undefined) throw new Error(one.error)
        return podOf(daemonSet).containers[0].volumeMounts.find(({ name }) => name === 'cgroup')?.recursiveReadOnly
      })
      const [none, ifPossible] = [undefined, 'IfPossible']
      expect(deeply).toEqual([none, none, none, none, ifPossible, none, ifPossible, none])
      expect(schemaProblems(all.flatMap(({ objects }) => objects))).toEqual([])
    },
  )
})

describe('the NetworkPolicy', () => {
  it('lets agents reach the API server, and the kubelet where it is asked for the pods', (context) => {
    if (why !== undefined) context.skip(why)
    const pods = (kubelet: string): Values => ({ config: { pods: { source: 'kubelet' }, cluster: { kubelet } } })
    const all = renderChart(
      [{}, pods('https://10.0.0.1:10250'), pods('https://kubelet.internal'), pods('https://[fd00::1]:4443')].map((values) => ({
        values: { ...values, networkPolicy: { enabled: true } },
      })),
    )
    const ports = all.map((one) => {
      const [policy] = ofKind('NetworkPolicy', one)
      if (policy === undefined) throw new Error(one.error)
      const { egress } = policy['spec'] as {
        readonly egress: readonly { readonly ports: readonly { readonly port: number }[] }[]
      }
      return egress.flatMap((rule) => rule.ports.map(({ port }) => port))
    })
    expect(ports).toEqual([
      [443, 6443],
      [443, 6443, 10_250],
      [443, 6443],
      [443, 6443, 4443],
    ])
  })
})

describe('the schema of Kubernetes', () => {
  it('takes every object of every rendering', { timeout: 120_000 }, (context) => {
    const texts = NAMES.flatMap((name) => rendering(context, name).objects.map((object) => JSON.stringify(object)))
    const namespace = parseAllDocuments(readFileSync(join(DEPLOY, 'manifests/observe.yaml'), 'utf8'))[0]?.toJS() as Manifest
    const different = [...new Set([...texts, JSON.stringify(namespace)])]
    expect(different.length).toBeGreaterThan(40)
    expect(schemaProblems(different.map((text) => JSON.parse(text) as Manifest))).toEqual([])
  })

  it('catches a field that there is not, a wrong type and what is missing', { timeout: 120_000 }, (context) => {
    const [daemonSet] = ofKind('DaemonSet', rendering(context, 'enforce'))
    const spoilt = structuredClone(daemonSet) as unknown as {
      spec: {
        template: { spec: { hostPID: unknown; containers: { name?: string; securityContext: Record<string, unknown> }[] } }
      }
    }
    const { spec } = spoilt.spec.template
    spec.hostPID = 'no'
    delete spec.containers[0]?.name
    Object.assign(spec.containers[0]?.securityContext ?? {}, { readOnlyRootFileSystem: true })
    const problems = schemaProblems([spoilt as unknown as Manifest]).join('\n')
    expect(problems).toContain('hostPID must be boolean')
    expect(problems).toContain('must have required property name')
    expect(problems).toContain('"readOnlyRootFileSystem"')
    expect(schemaProblems([{ apiVersion: 'apps/v2', kind: 'DaemonSet', metadata: { name: 'x' } }])).toEqual([
      'DaemonSet x: no model of apps/v2 DaemonSet',
    ])
  })
})

describe('the roles', () => {
  it('with everything on are those of deploy/rbac.yaml, by name and by rule', (context) => {
    const file = parseAllDocuments(readFileSync(join(DEPLOY, 'rbac.yaml'), 'utf8')).map((document) => document.toJS() as Manifest)
    const rulesOf = (objects: readonly Manifest[]): Record<string, unknown> =>
      Object.fromEntries(
        objects.filter(({ kind }) => kind === 'ClusterRole').map(({ metadata, rules }) => [metadata.name, rules]),
      )
    expect(rulesOf(rendering(context, 'everything').objects)).toEqual(rulesOf(file))
  })

  it('are bound to the one account', (context) => {
    const { objects } = rendering(context, 'everything')
    const bindings = objects.filter(({ kind }) => kind === 'ClusterRoleBinding')
    expect(bindings).toHaveLength(5)
    for (const { metadata, roleRef, subjects } of bindings) {
      expect(roleRef).toMatchObject({ kind: 'ClusterRole', name: metadata.name })
      expect(subjects).toEqual([{ kind: 'ServiceAccount', name: 'other', namespace: 'kube-agent' }])
    }
  })
})

describe('pools', () => {
  const matches = (labels: Readonly<Record<string, string>>, { affinity }: PodSpec): boolean =>
    (affinity?.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms[0].matchExpressions ?? []).every(
      ({ key, operator, values }) => {
        // Kubernetes: NotIn holds for a node without the label too.
        const isIn = Object.hasOwn(labels, key) && values.includes(labels[key] ?? '')
        return operator === 'In' ? isIn : !isIn
      },
    )

  const KEYS = ['pool', 'example.com/tier', 'kubernetes.io/hostname']
  const TEXTS = ['a', 'b', 'c']
  const pool = fc.record({
    nodeLabel: fc.constantFrom(...KEYS),
    values: fc.uniqueArray(fc.constantFrom(...TEXTS), { minLength: 1 }),
    agent: fc.boolean(),
  })
  const node = fc.dictionary(fc.constantFrom(...KEYS), fc.constantFrom(...TEXTS, 'other'))

  it('are each node’s in one way: the first that it is in, else the default', { timeout: 120_000 }, (context) => {
    if (why !== undefined) context.skip(why)
    const samples = fc.sample(fc.array(pool, { maxLength: 4 }), 30)
    const nodes = fc.sample(node, 40)
    const cases = samples.map((drawn) => {
      const taken = new Set<string>()
      const pools = drawn.flatMap(({ nodeLabel, values, agent }, index) => {
        const own = values.filter((value) => !taken.has(`${nodeLabel}=${value}`))
        for (const value of own) taken.add(`${nodeLabel}=${value}`)
        return own.length === 0 ? [] : [{ name: `p${index}`, nodeLabel, values: own, agent }]
      })
      return { pools }
    })
    const all = renderChart(cases.map((values): Case => ({ values })))
    let [several, none] = [0, 0]
    for (const [index, one] of all.entries()) {
      expect(one.error).toBeUndefined()
      const pools = cases[index]?.pools ?? []
      for (const labels of nodes) {
        const first = pools.find(
          ({ nodeLabel, values }) => Object.hasOwn(labels, nodeLabel) && values.includes(labels[nodeLabel] ?? ''),
        )
        const expected = first === undefined ? ['kube-agent'] : first.agent ? [`kube-agent-${first.name}`] : []
        const found = ofKind('DaemonSet', one).filter((daemonSet) => matches(labels, podOf(daemonSet)))
        expect(found.map(({ metadata }) => metadata.name)).toEqual(expected)
        several += Number(pools.length > 1)
        none += Number(expected.length === 0)
      }
    }
    expect(several).toBeGreaterThan(50)
    expect(none).toBeGreaterThan(20)
  })

  it('lay their settings over those of the cluster, and false over true', (context) => {
    const one = rendering(context, 'everything')
    const configs = Object.fromEntries(
      ofKind('DaemonSet', one).map((daemonSet) => [daemonSet.metadata.name, configOf(one, daemonSet)]),
    )
    expect(Object.keys(configs)).toEqual(['kube-agent-cores', 'kube-agent-quiet', 'kube-agent-kubelet', 'kube-agent'])
    expect(configs['kube-agent-cores']?.config).toMatchObject({
      mode: 'enforce',
      identity: { coreScheduling: true },
      evict: { force: true },
    })
    expect(configs['kube-agent-quiet']?.config).toMatchObject({ mode: 'observe', evict: { enabled: false } })
    expect(configs['kube-agent-kubelet']?.config.pods.source).toBe('kubelet')
    expect(configs['kube-agent']?.files).toEqual(['/etc/kube-agent/chart.yaml', '/etc/kube-agent/cluster.yaml'])
  })

  it('restart their own agents when their settings change, and no others', (context) => {
    if (why !== undefined) context.skip(why)
    const of = (batch: number, cluster: number): Values => ({
      config: { loop: { hotMs: cluster } },
      pools: [
        { name: 'batch', nodeLabel: 'pool', values: ['batch'], config: { loop: { hotMs: batch } } },
        { name: 'db', nodeLabel: 'pool', values: ['db'] },
      ],
    })
    const all = renderChart(
      [of(60, 70), of(61, 70), of(60, 71), { ...of(61, 71), restartOnConfigChange: false }].map((values) => ({ values })),
    )
    const [base, pool, cluster, off] = all.map((one) =>
      ofKind('DaemonSet', one).map((daemonSet) => {
        const { template } = daemonSet['spec'] as {
          readonly template: { readonly metadata: { readonly annotations: Readonly<Record<string, string>> } }
        }
        return template.metadata.annotations['kube-agent.io/config-checksum']
      }),
    )
    const changed = (to: typeof base): boolean[] => (base ?? []).map((sum, index) => sum !== to?.[index])
    expect(base).toHaveLength(3)
    expect(changed(base)).toEqual([false, false, false])
    expect(changed(pool)).toEqual([true, false, false])
    expect(changed(cluster)).toEqual([true, true, true])
    expect(off).toEqual([undefined, undefined, undefined])
  })
})

describe('releaseNodes', () => {
  it('is release: true for the nodes of one pool: these are put back, and the others enforce', (context) => {
    const one = rendering(context, 'a pool that is put back')
    const [pool, others] = ofKind('DaemonSet', one).map(podOf)
    expect([pool, others].map((pod) => pod?.initContainers?.map(({ args }) => args))).toEqual([[['release']], undefined])
    expect([pool, others].map((pod) => pod?.containers[0].args)).toEqual([['run', '--mode', 'observe'], ['run']])
    expect(one.notes).toMatch(/kube-agent-batch: puts its nodes back\n\s+kube-agent: mode enforce\n/)
  })

  it('releases in an init container with the rights to write, then only looks; no hook runs at an ordinary update', (context) => {
    const [daemonSet] = ofKind('DaemonSet', rendering(context, 'releasing'))
    if (daemonSet === undefined) throw new Error('no DaemonSet')
    const { initContainers, containers } = podOf(daemonSet)
    expect(initContainers?.map(({ args }) => args)).toEqual([['release']])
    expect(containers.map(({ args }) => args)).toEqual([['run', '--mode', 'observe']])
    for (const name of NAMES) expect(JSON.stringify(rendering(context, name).objects)).not.toContain('preStop')
    expect(rendering(context, 'releasing').notes).toContain('rollout status daemonset/kube-agent\n')
  })
})

describe('monitoring', () => {
  it('finds the agents by what alerts and dashboards go by, and brings the alert rules', (context) => {
    if (why !== undefined) context.skip(why)
    const [pods, services] = renderChart([
      { values: { podMonitor: { enabled: true, labels: { release: 'prom' } }, prometheusRule: { enabled: true } } },
      { values: { serviceMonitor: { enabled: true, interval: '10s' } } },
    ])
    const [podMonitor, rule] = ['PodMonitor', 'PrometheusRule'].map((kind) =>
      pods?.objects.find((object) => object.kind === kind),
    )
    const serviceMonitor = services?.objects.find(({ kind }) => kind === 'ServiceMonitor')
    expect(podMonitor?.metadata.labels).toMatchObject({ release: 'prom', 'app.kubernetes.io/name': 'kube-agent' })
    for (const [monitor, endpoints] of [
      [podMonitor, 'podMetricsEndpoints'],
      [serviceMonitor, 'endpoints'],
    ] as const) {
      expect(monitor?.['spec']).toMatchObject({
        jobLabel: 'app.kubernetes.io/name',
        selector: { matchLabels: { 'app.kubernetes.io/name': 'kube-agent' } },
        [endpoints]: [{ port: 'http', relabelings: [{ targetLabel: 'instance' }] }],
      })
    }
    expect(rule?.['spec']).toEqual(parse(readFileSync(join(DEPLOY, 'monitoring/alerts.yaml'), 'utf8')))
    expect(JSON.stringify(rule)).toContain('job=\\"kube-agent\\"')
  })
})

describe('the agent’s configuration in the values', () => {
  it('has the agent’s defaults where the chart goes by them', (context) => {
    if (why !== undefined) context.skip(why)
    const text = readFileSync(join(CHART, 'templates/_helpers.tpl'), 'utf8')
    const [, yaml = ''] = /define "kube-agent\.defaults" -}}\n([^]*?)\n\{\{- end -}}/.exec(text) ?? []
    const assumed = parse(yaml) as Values
    expect(Object.keys(assumed).length).toBeGreaterThan(5)
    expect(loadConfig().config).toMatchObject(assumed)
  })

  it('takes the example of every setting', (context) => {
    if (why !== undefined) context.skip(why)
    const example = parse(readFileSync(join(DEPLOY, 'config.example.yaml'), 'utf8')) as Values
    expect(render({ config: example }).error).toBeUndefined()
  })
})

const REFUSED: readonly (readonly [string, Values, RegExp])[] = [
  ['a value that there is not', { imagee: {} }, /Additional property imagee is not allowed/],
  [
    'a setting that there is not',
    { config: { suppressCpu: { watermark: 1 } } },
    /config\.suppressCpu: Additional property watermark/,
  ],
  [
    'a setting out of range',
    { config: { suppressCpu: { watermarkPermyriad: 65_000 } } },
    /watermarkPermyriad: Must be less than or equal to 10000/,
  ],
  ['a mode that there is not', { config: { mode: 'enforced' } }, /config\.mode: config\.mode must be one of/],
  ['paths, which are the chart’s', { config: { paths: { cgroup: '/x' } } }, /Additional property paths is not allowed/],
  ['a tag as a digest', { image: { digest: 'v1' } }, /image\.digest: Does not match pattern/],
  ['a pool without a label', { pools: [{ name: 'a', values: ['x'] }] }, /nodeLabel is required/],
  ['a pool of no values', { pools: [{ name: 'a', nodeLabel: 'x', values: [] }] }, /Array must have at least 1 items/],
  ['a pool called default', { pools: [{ name: 'default', nodeLabel: 'x', values: ['y'] }] }, /pools\.0\.name/],
  ['surplus pods', { updateStrategy: { maxSurge: 1 } }, /Additional property maxSurge/],
  [
    'an update that never moves',
    { updateStrategy: { maxUnavailable: '0%' } },
    /maxUnavailable is 0: nothing would ever be updated/,
  ],
  [
    'pools of one name',
    {
      pools: [
        { name: 'a', nodeLabel: 'x', values: ['1'] },
        { name: 'a', nodeLabel: 'x', values: ['2'] },
      ],
    },
    /pools: the name a is given twice/,
  ],
  [
    'a pool whose nodes are in another',
    {
      pools: [
        { name: 'a', nodeLabel: 'x', values: ['1'] },
        { name: 'b', nodeLabel: 'x', values: ['2', '1'] },
      ],
    },
    /nodes with x=1 are in a already, and the first pool counts: they would never be in b/,
  ],
  [
    'a configuration that nobody reads',
    { pools: [{ name: 'a', nodeLabel: 'x', values: ['1'], agent: false, config: { mode: 'plan' } }] },
    /a has agent: false and a config, which nobody would read/,
  ],
  [
    'a release by nobody',
    { pools: [{ name: 'a', nodeLabel: 'x', values: ['1'], agent: false, release: true }] },
    /a has agent: false and release: true: nobody would put its nodes back/,
  ],
  [
    'both monitors',
    { podMonitor: { enabled: true }, serviceMonitor: { enabled: true } },
    /would scrape every agent twice; choose one/,
  ],
  [
    'a ServiceMonitor without a Service',
    { serviceMonitor: { enabled: true }, service: { enabled: false } },
    /service\.enabled is false/,
  ],
  ['an account of nobody', { serviceAccount: { create: false } }, /serviceAccount\.name has to name/],
  [
    'monitors where nothing can be reached',
    { hostNetwork: true, podMonitor: { enabled: true } },
    /http\.host is 127\.0\.0\.1, where Prometheus can't/,
  ],
  ['loopback in the pod’s own network', { http: { host: '127.0.0.1' } }, /all probes would fail; leave it empty/],
  [
    'a port of the node that is taken',
    { hostNetwork: true, http: { port: 10_250 } },
    /http\.port 10250: that port of the node is for the kubelet/,
  ],
  ['a NetworkPolicy on the host network', { hostNetwork: true, networkPolicy: { enabled: true } }, /it would protect nothing/],
  ['pods from a directory', { config: { pods: { source: 'directory' } } }, /no directory of manifests is mounted/],
  [
    'the kubelet’s pods out of reach',
    { config: { pods: { source: 'kubelet' } } },
    /which from the pod's own network is the pod itself; set hostNetwork/,
  ],
  [
    'evictions by who only looks',
    { config: { evict: { enabled: true } } },
    /config\.evict\.enabled needs mode: enforce, not observe/,
  ],
  [
    'evictions that nobody granted',
    { config: { mode: 'enforce', evict: { enabled: true } }, rbac: { create: false } },
    /every eviction would be forbidden/,
  ],
  [
    'a recording where nothing is mounted',
    { config: { recording: { enabled: true, directory: '/data/recording' } } },
    /recording\.directory is \/data\/recording, where nothing is mounted; choose one below \/var\/lib\/kube-agent/,
  ],
  ['force without evictions', { config: { mode: 'enforce', evict: { force: true } } }, /evict\.force without evict\.enabled/],
  [
    'release at each restart',
    { config: { mode: 'enforce', onExit: 'release' } },
    /every restart and update of an agent would take all limits away/,
  ],
  [
    'the same in a pool',
    { pools: [{ name: 'a', nodeLabel: 'x', values: ['1'], config: { mode: 'enforce', onExit: 'release' } }] },
    /pools: a: config\.onExit is release/,
  ],
]

describe('refused, with the reason', () => {
  let answers: readonly Rendered[] = []
  beforeAll(() => {
    if (why === undefined) answers = renderChart(REFUSED.map(([, values]) => ({ values })))
  }, 300_000)

  it.each(REFUSED.map(([name, , reason], index) => [name, reason, index] as const))(
    '%s',
    (_name, reason, index, context?: TestContext) => {
      if (why !== undefined) return context?.skip(why)
      expect(answers[index]?.error).toMatch(reason)
    },
  )

  it('but not what needs it: onExit release with identity.rootIdle, evictions granted by others', (context) => {
    if (why !== undefined) context.skip(why)
    const fine = renderChart([
      { values: { config: { mode: 'enforce', onExit: 'release', identity: { rootIdle: true } } } },
      { values: { config: { mode: 'enforce', evict: { enabled: true } }, rbac: { create: false, evictionsGranted: true } } },
    ])
    expect(fine.map(({ error }) => error)).toEqual([undefined, undefined])
  })
})
