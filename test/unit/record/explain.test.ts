/** Why: every subject, every spelling, and what is said of what is not there. The texts of a pod, a CPU and a resource are golden. */
import { describe, expect, it } from 'vitest'
import { CpuSet } from '../../../src/cpu/index.ts'
import {
  AgentError,
  type ClassifiedPod,
  type NodeSnapshot,
  type Reading,
  type KnobValue,
  quotaOf,
} from '../../../src/model/index.ts'
import { type Recorder, renderExplanation } from '../../../src/record/index.ts'
import {
  CPUS_STEP,
  FINDING,
  FLINK,
  OFFER,
  pod,
  reading,
  recorder,
  REGISTERED,
  ROOT,
  ROOT_STEP,
  tableOf,
  tick,
  TRAIN,
  WEB,
  writingTick,
} from './fixtures.ts'

const ID = '4f'.repeat(32)

/** Static, with an init container that has ended and a sidecar whose group is not there yet. */
const ODD = oddPod()

function oddPod(): ClassifiedPod {
  const base = pod('odd', 'BE')
  const { group, spec } = base.reading
  return {
    ...base,
    askedBytes: 0,
    because: { by: 'labelContradicted', key: 'k', value: 'LS', resource: 'kube-agent.io/be-cpu' },
    reading: {
      ...base.reading,
      childGroups: [`${group}/cri-containerd-${ID}.scope`, `${group}/cri-containerd-${'6d'.repeat(32)}.scope`],
      spec: {
        ...spec,
        containers: [
          { name: 'main', kind: 'main', extended: {}, id: `containerd://${ID}` },
          { name: 'fetch', kind: 'init', extended: {} },
          { name: 'proxy', kind: 'sidecar', extended: {}, id: `containerd://${'5e'.repeat(32)}` },
        ],
      },
    },
  }
}

function explainer(): Recorder {
  const record = recorder()
  record.resources([REGISTERED])
  record.tick(writingTick({ outcomes: [{ is: 'applied' }, { is: 'busy', errno: 'EBUSY' }] }))
  return record
}

function failure(run: () => unknown): AgentError {
  try {
    run()
  } catch (thrown) {
    if (thrown instanceof AgentError) return thrown
  }
  throw new Error('did not throw an AgentError')
}

const columns = (text: string): number => Math.max(...text.split('\n').map((line) => line.length))

describe('explain', () => {
  it('a pod: its class, every knob, winners and losers, originals and last writes', async () => {
    const record = explainer()
    const text = ['pod default/flink', 'pod default/train']
      .map((subject) => renderExplanation(record.explain(subject, 12_000)))
      .join('\n')
    await expect(text).toMatchFileSnapshot('../../golden/explain-pod.txt')
    expect(columns(text)).toBeLessThanOrEqual(100)
  })

  it('what the kubelet says that a pod holds, and that it holds nothing', () => {
    const record = explainer()
    const spec = record.lastTick()?.decision.pods.find(({ qosClass }) => qosClass === 'BE')?.reading.spec
    const pod = `${spec?.namespace}/${spec?.name}`
    expect(renderExplanation(record.explain(`pod ${pod}`, 11_000))).not.toMatch(/^holds/m)
    record.allocations({ exact: true, held: new Map([[pod, { 'kube-agent.io/be-cpu': 3, 'kube-agent.io/be-memory': 1 }]]) })
    expect(renderExplanation(record.explain(`pod ${pod}`, 11_000))).toMatch(
      /^holds +3 units of kube-agent\.io\/be-cpu, 1 unit of kube-agent\.io\/be-memory$/m,
    )
    record.allocations({ exact: true, held: new Map() })
    expect(renderExplanation(record.explain(`pod ${pod}`, 11_000))).toMatch(
      /^holds +nothing yet, by the last list of the kubelet$/m,
    )
  })

  it('a pod that asks for something odd, container by container', async () => {
    const record = recorder()
    record.tick(tick({ pods: [ODD], findings: [{ ...FINDING, name: 'odd', uid: 'uid-odd' }, FINDING] }))
    const explained = record.explain('pod default/odd', 12_000)
    expect(explained).toMatchObject({
      containers: [
        { name: 'main', kind: 'main', id: ID, group: `${ODD.reading.group}/cri-containerd-${ID}.scope` },
        { name: 'fetch', kind: 'init' },
        { name: 'proxy', kind: 'sidecar', id: '5e'.repeat(32) },
      ],
      otherGroups: [`${ODD.reading.group}/cri-containerd-${'6d'.repeat(32)}.scope`],
    })
    const text = renderExplanation(explained)
    await expect(text).toMatchFileSnapshot('../../golden/explain-odd-pod.txt')
    expect(columns(text)).toBeLessThanOrEqual(100)
    expect(renderExplanation(record.explain(`${ODD.reading.group}/cri-containerd-${ID}.scope`, 12_000))).toContain(
      'container     main',
    )
  })

  it('of two pods of one name the one that runs', () => {
    const old = pod('flink', 'BE')
    const ended = {
      ...old,
      reading: { ...old.reading, present: false, spec: { ...old.reading.spec, uid: 'old', phase: 'Failed' } },
    } as const
    const record = recorder()
    record.tick(tick({ pods: [ended, FLINK] }))
    expect(record.explain('pod default/flink', 11_000)).toMatchObject({ uid: 'uid-flink' })
    record.tick(tick({ seq: 2, pods: [ended] }))
    expect(record.explain('pod default/flink', 11_000)).toMatchObject({ uid: 'old', phase: 'Failed' })
  })

  it('a pod, as data', () => {
    const explained = explainer().explain('pod default/train', 12_000)
    expect(explained).toMatchObject({ is: 'pod', qosClass: 'OT', asked: { cpu: '2.0 CPU', memory: '2 GiB' } })
    expect(explained.is === 'pod' && explained.knobs).toMatchObject([
      {
        knob: 'quota',
        now: { value: '80m (8000/100000 us)', ageMs: 1900 },
        desired: '80m (8000/100000 us)',
        winner: { rule: 'suppressCpu', because: expect.stringContaining('OT pods together get 80m') as unknown },
        losers: [{ rule: 'limits', value: '2000m (200000/100000 us)', because: 'the OT pod asked for 20 units of 100m' }],
      },
    ])
    expect(JSON.parse(JSON.stringify(explained))).toEqual(explained)
  })

  it('what the parent of a pod allows, when it holds less than is wanted and nothing is planned', () => {
    const explained = explainer().explain('pod default/flink', 12_000)
    const quota = explained.is === 'pod' ? explained.knobs.find(({ knob }) => knob === 'quota') : undefined
    expect(quota?.note).toBe(`held to what the parent ${ROOT} allows: 600m (60000/100000 us)`)
  })

  it('a knob that could not be read', () => {
    const record = recorder()
    const base = tick()
    const actual: NodeSnapshot['actual'] = tableOf<Reading<KnobValue>>([ROOT, 'quota', reading(quotaOf(600), 1)])
    record.tick({ ...base, snapshot: { ...base.snapshot, actual } })
    expect(renderExplanation(record.explain('pod default/train', 11_000))).toMatch(
      /now {9}not read[\s\S]*could not be read, so it is left alone/,
    )
  })

  it('a value that was written after it was read', () => {
    const record = recorder()
    record.tick(writingTick())
    const explained = record.explain('pod default/flink', 12_000)
    expect(explained.is === 'pod' && explained.knobs.find(({ knob }) => knob === 'cpuset')).toMatchObject({
      now: { value: '2-3,6-7', ageMs: 1000 },
      lastWrite: { outcome: 'written', agoMs: 1000 },
    })
  })

  it('an online pod without knobs', () => {
    const text = renderExplanation(explainer().explain('pod default/web', 12_000))
    expect(text).toContain('class         LS: kubelet QoS Burstable; no label, offline resource, level,')
    expect(text).toContain('no knob of it is read or wanted')
  })

  it('a CPU that a pod has for itself, its siblings, and who may run there', () => {
    const record = recorder()
    const set = (cpus: string): CpuSet => CpuSet.parse(cpus)
    const [db, api, flink] = [pod('db', 'LSX'), pod('api', 'LSR'), pod('flink', 'BE')]
    const placement = {
      exclusive: [
        { uid: 'uid-db', qosClass: 'LSX', cpus: set('1,5'), shared: CpuSet.EMPTY },
        { uid: 'uid-api', qosClass: 'LSR', cpus: set('2-3'), shared: set('3') },
      ],
      pool: set('6-7'),
      dedicated: CpuSet.EMPTY,
      bestEffort: set('3,7'),
      pinned: [{ uid: 'uid-flink', cpus: set('7') }],
      unpinned: set('3'),
    } as const
    record.tick(tick({ pods: [db, api, flink], placement }))
    const textOf = (subject: string): string => renderExplanation(record.explain(subject, 12_000))
    expect(textOf('cpu 1')).toContain('whose         LSX pod default/db; nobody else runs there\n')
    expect(textOf('cpu 1')).toContain('CPU 5         LSX pod default/db; nobody else runs there\n')
    expect(textOf('cpu 1')).toMatch(/LSX +yes +1.*\nLSR +no +1/)
    expect(textOf('cpu 2')).toContain('whose         LSR pod default/api; nobody else runs there\n')
    expect(textOf('cpu 2')).toContain('CPU 6         the online pool; no offline pod runs there\n')
    expect(textOf('cpu 3')).toContain('whose         LSR pod default/api; offline pods may run there too\n')
    expect(textOf('cpu 7')).toContain('the online pool; offline pods, of BE only default/flink may run there too\n')
    expect(textOf('cpu 0')).toContain('reserved for the system')
    expect(textOf('pod default/db')).toContain('own CPUs      1, 5 (1 whole core on NUMA node 0): nobody else runs there.')
    expect(textOf('pod default/api')).toContain(
      'own CPUs      2-3 (threads of 2 cores on NUMA node 0): offline pods may use 3 too.',
    )
    expect(textOf('pod default/flink')).toContain(
      'own CPUs      7 (threads of 1 core on NUMA node 0): no other BE pod runs there\n',
    )
  })

  it('a CPU: its neighbours, its sets and its classes', async () => {
    const text = renderExplanation(explainer().explain('cpu 3', 12_000))
    await expect(text).toMatchFileSnapshot('../../golden/explain-cpu.txt')
  })

  it('a resource: units, terms, bound and the kubelet', async () => {
    const record = explainer()
    const text = ['be-cpu', 'resource ot-memory'].map((subject) => renderExplanation(record.explain(subject, 12_000))).join('\n')
    await expect(text).toMatchFileSnapshot('../../golden/explain-resource.txt')
    expect(record.explain('be-cpu', 12_000)).toMatchObject({
      offeredUnits: 12,
      bound: 'formula',
      allocatedUnits: 4,
      kubelet: { registered: true },
    })
  })

  it('a resource that is not registered', () => {
    const record = recorder()
    record.resources([{ ...REGISTERED, registered: false, lastError: 'no kubelet.sock' }])
    record.tick(tick({ offers: [{ ...OFFER, units: 1 }] }))
    expect(renderExplanation(record.explain('be-cpu', 11_000))).toContain('NOT registered: no kubelet.sock, 1 open stream')
  })

  it('a group, with its owner and what is planned', () => {
    const record = recorder()
    record.tick(tick({ mode: 'plan', plan: [ROOT_STEP, CPUS_STEP] }))
    const root = renderExplanation(record.explain(`group ${ROOT}`, 11_000))
    expect(root).toContain('planned     quota of /kubepods/besteffort max → 600m (60000/100000 us): watermark 65 % of 8000m')
    expect(root).toContain('before      max')
    expect(renderExplanation(record.explain(`${FLINK.reading.group}/`, 11_000))).toContain('pod           default/flink')
    expect(renderExplanation(record.explain(`group ${WEB.reading.group}/c1`, 11_000))).toContain('pod           default/web')
  })
})

describe('subjects', () => {
  it.each([
    ['pod default/web', 'pod'],
    ['pod/default/web', 'pod'],
    ['default/web', 'pod'],
    ['  pod   default/web ', 'pod'],
    ['cpu 7', 'cpu'],
    ['cpu/7', 'cpu'],
    ['resource be-cpu', 'resource'],
    ['resource/kube-agent.io/be-cpu', 'resource'],
    ['ot-memory', 'resource'],
    [`group ${ROOT}`, 'group'],
    [`group${ROOT}`, 'group'],
    [ROOT, 'group'],
    [TRAIN.reading.group, 'group'],
  ])('understands %j', (text, is) => {
    expect(explainer().explain(text, 12_000).is).toBe(is)
  })

  it.each([
    ['pod default/wbe', 'no pod "default/wbe"; near matches: default/web'],
    ['pod flink', 'no pod "flink"; near matches: default/flink'],
    ['pod kube-system/coredns', 'no pod "kube-system/coredns"'],
    ['cpu 8', 'no CPU 8 is online; online are 0-7'],
    ['cpu x', 'not the number of a CPU: "x"'],
    ['resource be-cpus', 'no resource "be-cpus"; near matches: be-cpu, ot-cpu'],
    ['group /kubepods/besteffrot', 'no group "/kubepods/besteffrot"; near matches: /kubepods/besteffort'],
    ['nonsense', 'not a pod, CPU, resource, knob or group: "nonsense"'],
    ['flnik', 'not a pod, CPU, resource, knob or group: "flnik"; near matches: pod default/flink'],
    ['flink', 'not a pod, CPU, resource, knob or group: "flink"; near matches: pod default/flink'],
    ['be-cpus', 'not a pod, CPU, resource, knob or group: "be-cpus"; near matches: resource be-cpu, resource ot-cpu'],
    ['pdo default/web', 'not a pod, CPU, resource, knob or group: "pdo default/web"; did you mean pod default/web?'],
    ['CPU 3', 'not a pod, CPU, resource, knob or group: "CPU 3"; did you mean cpu 3?'],
    ['completely different words', 'not a pod, CPU, resource, knob or group: "completely different words"'],
    ['knob', 'which knob? As in: explain knob shop/web quota'],
    [' pod ', 'which pod? As in: explain pod shop/web'],
    ['constructor', 'not a pod, CPU, resource, knob or group: "constructor"'],
    ['knob quota', 'not a knob: "quota"'],
    ['knob a b c', 'not a knob: "a b c"'],
    [`knob ${ROOT} qouta`, 'no knob "qouta"; near matches: quota'],
    [`knob ${ROOT} cpu.quotas`, 'no knob "cpu.quotas"; near matches: cpu.quota, quota'],
    ['knob /kubepods/besteffrot quota', 'no group "/kubepods/besteffrot"; near matches: /kubepods/besteffort'],
    ['', 'nothing to explain: no subject given'],
    [`pod ${'x'.repeat(600)}`, 'nothing to explain: no subject given'],
  ])('answers %j with what is near', (text, message) => {
    const error = failure(() => explainer().explain(text, 12_000))
    expect(error.code).toBe('E_NO_SUBJECT')
    expect(error.message).toBe(message)
  })

  it('says that nothing is known before the first tick', () => {
    const error = failure(() => recorder().explain('cpu 0', 2000))
    expect(error).toMatchObject({ code: 'E_NO_SUBJECT', message: 'no tick has finished yet' })
  })
})
