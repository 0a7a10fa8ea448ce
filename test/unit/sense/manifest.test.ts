/**
 * Manifests as people and tools write them, become what the kubelet would make of them: the class decides in which group a pod is looked
 * for, so a wrong one means the pod is never found. And texts that nobody meant well: they may be refused, but never throw, hang or
 * kill the process.
 */
import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { stringify } from 'yaml'
import { isPodUid, podGroup, type PodSpec } from '../../../src/model/index.ts'
import { parseManifest, type ParsedManifest } from '../../../src/sense/manifest.ts'

interface ContainerLiteral {
  readonly requests?: Readonly<Record<string, unknown>> | null
  readonly limits?: Readonly<Record<string, unknown>> | null
  readonly restartPolicy?: string
}

const named = (containers: readonly ContainerLiteral[]): unknown[] =>
  containers.map(({ restartPolicy, ...resources }, index) => ({
    name: `c${index}`,
    resources,
    ...(restartPolicy === undefined ? {} : { restartPolicy }),
  }))

function manifest(containers: readonly ContainerLiteral[], initContainers?: readonly ContainerLiteral[]): string {
  return stringify({
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name: 'p', uid: 'u1' },
    spec: { containers: named(containers), ...(initContainers === undefined ? {} : { initContainers: named(initContainers) }) },
  })
}

const parse = (text: string): ParsedManifest => parseManifest(text, 'f.yaml')

function podOf(text: string): PodSpec {
  const { pods, problems } = parse(text)
  expect(problems).toEqual([])
  const [pod] = pods
  if (pods.length !== 1 || pod === undefined) throw new Error(`${pods.length} pods`)
  return pod
}

function problemOf(text: string): string {
  const { pods, problems } = parse(text)
  expect([pods, problems.length]).toEqual([[], 1])
  return problems[0] ?? ''
}

const POD = manifest([{}])

describe('the kubelet class', () => {
  const both = { cpu: '1', memory: '1Gi' }
  it.each<[string, string, readonly ContainerLiteral[], (readonly ContainerLiteral[])?]>([
    ['no resources', 'BestEffort', [{}]],
    ['resources of null', 'BestEffort', [{ requests: null, limits: null }]],
    [
      'only extended resources',
      'BestEffort',
      [{ requests: { 'kube-agent.io/be-cpu': 2 }, limits: { 'kube-agent.io/be-cpu': 2 } }],
    ],
    ['requests of zero, which count as none', 'BestEffort', [{ requests: { cpu: 0, memory: '0' } }]],
    ['only other native resources', 'BestEffort', [{ requests: { 'ephemeral-storage': '1Gi' } }]],
    ['a CPU request', 'Burstable', [{ requests: { cpu: '1m' } }]],
    ['a memory limit', 'Burstable', [{ limits: { memory: '1Gi' } }]],
    ['both limits', 'Guaranteed', [{ limits: both }]],
    ['limits and equal requests', 'Guaranteed', [{ limits: both, requests: both }]],
    ['limits and requests equal in other words', 'Guaranteed', [{ limits: both, requests: { cpu: '1000m', memory: '1024Mi' } }]],
    ['limits above requests', 'Burstable', [{ limits: both, requests: { cpu: '500m', memory: '1Gi' } }]],
    ['one container of two without limits', 'Burstable', [{ limits: both }, {}]],
    ['a limit of zero, which counts as none', 'Burstable', [{ limits: { cpu: 0, memory: '1Gi' } }]],
    ['an init container that asks', 'Burstable', [{}], [{ requests: { cpu: '1' } }]],
    ['an init container without limits', 'Burstable', [{ limits: both }], [{}]],
    ['an init container with limits too', 'Guaranteed', [{ limits: both }], [{ limits: both }]],
  ])('%s: %s', (_, qos, containers, initContainers) => {
    expect(podOf(manifest(containers, initContainers)).kubeletQos).toBe(qos)
  })
})

describe('amounts', () => {
  it('sums requests, and takes the limit where there is no request', () => {
    const pod = podOf(
      manifest([{ requests: { cpu: '250m' }, limits: { cpu: 1, memory: '1Gi' } }, { requests: { cpu: 0.5, memory: '1G' } }]),
    )
    expect(pod.requests).toEqual({ cpuMilli: 750, memoryBytes: 2 ** 30 + 1e9 })
  })

  it('counts the neediest moment of the start, and sidecars all the time', () => {
    const init = [{ requests: { cpu: 1 }, restartPolicy: 'Always' }, { requests: { cpu: 3 } }]
    expect(podOf(manifest([{ requests: { cpu: 2 } }], init)).requests.cpuMilli).toBe(4000)
    expect(podOf(manifest([{ requests: { cpu: 5 } }], init)).requests.cpuMilli).toBe(6000)
  })

  it.each([
    [5, 5],
    ['10', 10],
    ['2k', 2000],
    ['3000m', 3],
    ['1Ki', 1024],
    [0, 0],
  ])('counts extended units of %j as %d', (amount, units) => {
    expect(podOf(manifest([{ limits: { 'x.io/be-cpu': amount } }])).extended).toEqual({ 'x.io/be-cpu': units })
  })

  it('sums extended units over containers and counts a limit and its request once', () => {
    const one = { limits: { 'x.io/be-cpu': 2 }, requests: { 'x.io/be-cpu': 2 } }
    expect(podOf(manifest([one, one])).extended).toEqual({ 'x.io/be-cpu': 4 })
  })

  it.each([
    [0.5, 1],
    ['1500m', 2],
    ['0.1', 1],
  ])('keeps a pod that asks for a fraction, %j, and counts it as %d units', (amount, units) => {
    const pod = podOf(manifest([{ limits: { 'x.io/be-cpu': amount, 'nvidia.com/gpu': '500m' } }]))
    expect(pod.extended).toEqual({ 'x.io/be-cpu': units, 'nvidia.com/gpu': 1 })
    expect(pod.fractions).toEqual({ 'x.io/be-cpu': String(amount), 'nvidia.com/gpu': '500m' })
  })

  it.each([-1, '', ' ', '0x10', 'ten', '1e30', true, [], {}, null])('refuses extended units of %j', (amount) => {
    expect(problemOf(manifest([{ limits: { 'x.io/be-cpu': amount } }]))).toContain('be-cpu')
  })

  it.each(['1 CPU', '', '-1', '1,5', true, '1'.repeat(1000)])('refuses a CPU request of %j with one short line', (amount) => {
    const problem = problemOf(manifest([{ requests: { cpu: amount } }]))
    expect(problem).toMatch(/^f\.yaml:\d+: .+$/)
    expect(problem.length).toBeLessThan(400)
  })
})

describe('the pod', () => {
  it('has the defaults of the API server where nothing is said', () => {
    expect(podOf(POD)).toMatchObject({
      namespace: 'default',
      name: 'p',
      uid: 'u1',
      phase: 'Running',
      labels: {},
      origin: 'f.yaml',
    })
  })

  it('takes null for absent, as the API server does', () => {
    const text =
      'kind: Pod\nmetadata: {name: p, uid: u, namespace: , labels: , annotations: }\nspec: {containers: [{name: c, resources: }], initContainers: }\nstatus:\n'
    expect(podOf(text)).toMatchObject({ namespace: 'default', kubeletQos: 'BestEffort' })
  })

  it('is found under the config hash when it is static, not under the UID of its mirror', () => {
    const hash = 'a'.repeat(32)
    const text = stringify({
      kind: 'Pod',
      metadata: {
        name: 'p',
        uid: 'mirror',
        annotations: { 'kubernetes.io/config.hash': hash, 'kubernetes.io/config.mirror': hash },
      },
      spec: { containers: [{ name: 'c' }] },
    })
    expect(podOf(text).uid).toBe(hash)
  })

  it('has labels, class, phase and the ids of its containers', () => {
    const text = stringify({
      kind: 'Pod',
      metadata: { name: 'p', uid: 'u', namespace: 'n', labels: { tier: 'x', number: 5 } },
      spec: { containers: [{ name: 'a' }, { name: 'b' }] },
      status: { phase: 'Succeeded', containerStatuses: [{ name: 'b', containerID: 'containerd://1' }, null, 'x'] },
    })
    expect(podOf(text)).toMatchObject({
      namespace: 'n',
      labels: { tier: 'x', number: '5' },
      phase: 'Succeeded',
      containers: [{ name: 'a' }, { name: 'b', id: 'containerd://1' }],
    })
  })

  it('may be JSON, with tabs', () => {
    const json = JSON.stringify(
      { kind: 'Pod', metadata: { name: 'p', uid: 'u' }, spec: { containers: [{ name: 'c' }] } },
      null,
      '\t',
    )
    expect(podOf(json).name).toBe('p')
  })

  it('is nothing in an empty text, and in one of comments', () => {
    for (const text of ['', '\n', '---\n', '# nothing\n', '---\n---\n']) expect(parse(text)).toEqual({ pods: [], problems: [] })
  })

  it('may be nested as deeply as managed fields are', () => {
    const deep = JSON.parse(`${'{"f:x":'.repeat(20)}{}${'}'.repeat(20)}`) as unknown
    const text = stringify({
      kind: 'Pod',
      metadata: { name: 'p', uid: 'u', managedFields: [{ fieldsV1: deep }] },
      spec: { containers: [{ name: 'c' }] },
    })
    expect(podOf(text).name).toBe('p')
  })
})

describe('several documents', () => {
  it('are several pods', () => {
    const text = `${POD}---\n${POD.replace('u1', 'u2')}...\n---\n${POD.replace('u1', 'u3')}`
    expect(parse(text).pods.map((pod) => pod.uid)).toEqual(['u1', 'u2', 'u3'])
  })

  it.each([
    ['no Pod', 'kind: ConfigMap\n', 'expected kind: Pod, got "ConfigMap"'],
    ['broken', 'a: [1\n', 'not YAML'],
    ['a list', '- 1\n', 'expected a mapping'],
    ['without a UID', 'kind: Pod\nmetadata: {name: x}\nspec: {containers: [{name: c}]}\n', 'metadata.uid'],
    ['without containers', 'kind: Pod\nmetadata: {name: x, uid: y}\nspec: {containers: []}\n', 'spec.containers'],
    ['with a key given twice', 'kind: Pod\nkind: Pod\n', '"kind" is given twice'],
    ['with an alias to nowhere', 'kind: *nowhere\n', 'nowhere'],
  ])('take no other down with one that is %s', (_, bad, message) => {
    const { pods, problems } = parse(`${POD}---\n${bad}---\n${POD.replace('u1', 'u2')}`)
    expect(pods.map((pod) => pod.uid)).toEqual(['u1', 'u2'])
    expect(problems).toHaveLength(1)
    expect(problems[0]).toContain(message)
    expect(problems[0]).toMatch(/^f\.yaml:\d+: [^\n]*$/)
  })

  it('name the line of the bad one', () => {
    expect(problemOf('\n\n\nkind: Service\n')).toMatch(/^f\.yaml:4:/)
    expect(problemOf('a: 1\nb: "x\n')).toMatch(/^f\.yaml:[23]:/)
  })

  it('show a bounded number of problems', () => {
    const { problems } = parse('kind: X\n---\n'.repeat(5000))
    expect(problems.length).toBeLessThan(30)
    expect(problems.at(-1)).toContain('more problems')
  })
})

describe('hostile texts', () => {
  it.each(['../../x', '/etc', '..', '.', '', 'a/b', 'a\0b', 'a b', `a${'b'.repeat(100)}`, 'é', '-a', ' '])(
    'refuse a UID of %j',
    (uid) => {
      const text = JSON.stringify({ kind: 'Pod', metadata: { name: 'p', uid }, spec: { containers: [{ name: 'c' }] } })
      expect(problemOf(text)).toContain('uid')
    },
  )

  it('can lead no pod out of the pods root, whatever the UID', () => {
    fc.assert(
      fc.property(
        fc.oneof(fc.string(), fc.string({ unit: 'binary' }), fc.string({ unit: fc.constantFrom(...Array.from('./a-_0\\')) })),
        (uid) => {
          const { pods } = parse(
            JSON.stringify({ kind: 'Pod', metadata: { name: 'p', uid }, spec: { containers: [{ name: 'c' }] } }),
          )
          for (const pod of pods) {
            expect(isPodUid(pod.uid)).toBe(true)
            for (const driver of ['cgroupfs', 'systemd'] as const)
              expect(podGroup({ root: '/', driver }, 'BestEffort', pod.uid)).toMatch(
                /^\/kubepods[^/]*\/[^/]*besteffort[^/]*\/[^/.][^/]*$/,
              )
          }
        },
      ),
    )
  })

  it.each([
    ['['.repeat(100_000), 'brackets'],
    ['{a: '.repeat(100_000), 'mappings'],
    ['- '.repeat(100_000), 'sequences'],
    ['? '.repeat(100_000), 'keys'],
    [`${'['.repeat(50_000)}${']'.repeat(50_000)}`, 'closed brackets'],
    [Array.from({ length: 1000 }, (_, depth) => `${' '.repeat(depth)}a:`).join('\n'), 'indentation'],
  ])('are one problem when nested too deeply', (text) => {
    expect(problemOf(text)).toContain('nested too deeply')
  })

  it('are a problem when their aliases multiply', () => {
    const rows = Array.from({ length: 20 }, (_, row) => `a${row + 1}: &a${row + 1} [${`*a${row},`.repeat(9)}]`)
    expect(problemOf(`kind: Pod\na0: &a0 [x]\n${rows.join('\n')}\n`)).toMatch(/alias/i)
  })

  it('are looked at once, not once for each alias or key', () => {
    // Both took many seconds with the library's own checks.
    const aliases = Array.from({ length: 20_000 }, (_, index) => ` - &a${index} x\n - *a${index}\n`).join('')
    expect(problemOf(`a:\n${aliases}`)).toContain('more than 100 aliases')
    const keys = Array.from({ length: 100_000 }, (_, index) => `k${index}: 1\n`).join('')
    expect(problemOf(keys)).toContain('expected kind: Pod')
  })

  it('leave Object.prototype as it is', () => {
    const text =
      'kind: Pod\nmetadata: {name: p, uid: u, labels: {__proto__: x, constructor: y}}\n__proto__: {polluted: 1}\nspec: {containers: [{name: c, resources: {limits: {__proto__: 5, __proto__/x: 2}}}]}\n'
    parse(text)
    expect('polluted' in {}).toBe(false)
  })

  it('never throw, and say in one line each what is wrong', () => {
    const words = [
      'kind: Pod',
      'metadata:',
      ' uid: u',
      ' name: p',
      'spec:',
      ' containers:',
      ' - name: c',
      '---',
      '&a',
      '*a',
      '[',
      ']',
      '{',
      '}',
    ]
    const yaml = fc
      .array(fc.oneof(fc.constantFrom(...words), fc.string({ maxLength: 8 })), { maxLength: 15 })
      .map((lines) => lines.join('\n'))
    const anything = fc.object({
      maxDepth: 4,
      key: fc.constantFrom('kind', 'metadata', 'spec', 'uid', 'name', 'containers', 'resources', 'limits', 'cpu', 'x/y'),
    })
    const pods = anything.map((odd) =>
      JSON.stringify({
        kind: 'Pod',
        metadata: { uid: 'u', name: 'p', ...odd },
        spec: { containers: [{ name: 'c', ...odd }], ...odd },
      }),
    )
    fc.assert(
      fc.property(fc.oneof(yaml, pods, fc.string(), fc.json(), fc.string({ unit: 'binary' })), (text) => {
        const { pods, problems } = parse(text)
        for (const problem of problems) expect(problem).toMatch(/^f\.yaml:\d+: .*$/u)
        for (const pod of pods) {
          expect(pod.requests.cpuMilli).toBeGreaterThanOrEqual(0)
          expect(pod.containers.length).toBeGreaterThan(0)
        }
      }),
      { numRuns: 1500 },
    )
  })
})
