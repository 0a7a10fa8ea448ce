/** What `doctor` makes of nodes that don't exist here: each thing that can be wrong has its finding, its state and its way out. */
import { stripVTControlCharacters } from 'node:util'
import { describe, expect, it } from 'vitest'
import { paint } from '../../../src/cli/colour.ts'
import { AREAS, type Finding } from '../../../src/cli/doctor/finding.ts'
import { countStates, exitCodeOf, judge } from '../../../src/cli/doctor/judge.ts'
import { renderFindings } from '../../../src/cli/doctor/text.ts'
import { CpuSet } from '../../../src/cpu/index.ts'
import { IDENTITY_BACKENDS, KNOB_KINDS } from '../../../src/model/index.ts'
import { configOf } from '../../support/config.ts'
import { type FactsLiteral, factsOf } from '../../support/node-facts.ts'

const ENFORCE = { mode: 'enforce', placement: { reservedCpus: '0' } }

const judged = (literal: FactsLiteral = {}, settings: Readonly<Record<string, unknown>> = ENFORCE): readonly Finding[] =>
  judge(factsOf(literal), configOf(settings))

function only(findings: readonly Finding[], id: string): Finding {
  const found = findings.filter((finding) => finding.id === id)
  if (found.length !== 1 || found[0] === undefined) throw new Error(`${found.length} findings ${id}`)
  return found[0]
}

const worse = (findings: readonly Finding[]): readonly string[] =>
  findings.flatMap(({ id, state }) => (state === 'warn' || state === 'fail' ? [`${state} ${id}`] : []))

/** A v1 node with everything in the way that there can be. */
const SICK: FactsLiteral = {
  dialect: 'v1',
  topology: 'twoCpuVm',
  without: {
    quota: '/sys/fs/cgroup/cpu/kubepods/besteffort/cpu.cfs_quota_us is mounted read-only',
    idle: '/sys/fs/cgroup/cpu/kubepods/besteffort/cpu.idle does not exist (kernel 5.15 or later, this is 4.19.91)',
    coreCookie: 'this kernel was built without core scheduling',
  },
  cgroups: { hybrid: true, controllers: ['cpu', 'cpuacct', 'cpuset', 'memory', 'blkio'], forbidden: 'EROFS', ownGroups: [] },
  kernel: {
    release: '4.19.91-27.an8.x86_64',
    smtControl: undefined,
    nodePressure: [],
    swapBytes: 8 * 2 ** 30,
    clock: { current: 'hpet', available: ['hpet', 'acpi_pm'] },
    own: { uid: 0, nice: 0, mayRaisePriority: false, mayTraceOthers: false, openFiles: 1024, heldFiles: 512 },
  },
  kubelet: {
    socketProblem: 'nothing listens on /var/lib/kubelet/device-plugins/kubelet.sock: is the kubelet running?',
    podResourcesProblem: 'the directory /var/lib/kubelet/pod-resources does not exist',
    cpuManager: { path: '/var/lib/kubelet/cpu_manager_state', policy: 'static', exclusive: CpuSet.parse('1') },
    memoryManager: { path: '/var/lib/kubelet/memory_manager_state', policy: 'Static', exclusive: CpuSet.EMPTY },
    settings: {
      cpuCFSQuota: { value: 'false', from: '/etc/kubelet.yaml' },
      reservedSystemCPUs: { value: '0', from: 'its flag --reserved-cpus' },
      topologyManagerPolicy: { value: 'single-numa-node', from: '/etc/kubelet.yaml' },
    },
  },
  state: {
    is: 'there',
    uid: 0,
    mode: 0o700,
    freeBytes: 1_000_000,
    inMemory: false,
    lockedBy: undefined,
    journal: {
      path: '/run/kube-agent/restore.journal',
      bytes: 20_480,
      outstanding: 42,
      groups: 9,
      damagedLines: 0,
      boot: 'this',
    },
    damagedJournals: [],
  },
  pods: { source: '/var/lib/kube-agent/pods', everRead: false, pods: 0, problems: ['/var/lib/kube-agent/pods: ENOENT'] },
  api: { problem: 'https://10.0.0.1:6443: GET /api/v1/nodes/node-1: 403 Forbidden: nodes "node-1" is forbidden' },
  http: 'other',
}

describe('the page of doctor', () => {
  it('of a sound node', async () => {
    await expect(renderFindings(judged(), paint(false))).toMatchFileSnapshot('../../golden/doctor-sound.txt')
  })

  it('of a node with everything in the way', async () => {
    const findings = judged(SICK, { capacity: { maxUnits: 4096 }, http: { host: '0.0.0.0' } })
    await expect(renderFindings(findings, paint(false))).toMatchFileSnapshot('../../golden/doctor-sick.txt')
  })

  it('says the same with colours, and marks in words', () => {
    const findings = judged(SICK)
    const bare = stripVTControlCharacters(renderFindings(findings, paint(true)))
    expect(bare).toBe(renderFindings(findings, paint(false)))
    for (const mark of ['ok  ', 'note', 'warn', 'FAIL']) expect(bare).toMatch(new RegExp(`^ {2}${mark} `, 'm'))
  })

  it('lets nothing that others wrote speak to the terminal', () => {
    const problems = ['a.yaml: \u001b]0;owned\u0007 no\nuid']
    const page = renderFindings(judged({ pods: { source: 'x', everRead: true, pods: 0, problems } }), paint(false))
    expect(page.replaceAll('\n', '')).not.toMatch(/\p{Cc}/u)
    expect(page).toContain('a.yaml: ]0;owned no uid')
  })

  it('fits into 100 columns', () => {
    for (const literal of [{}, SICK]) {
      const lines = renderFindings(judged(literal), paint(false)).split('\n')
      expect(lines.filter((line) => line.length > 100)).toEqual([])
    }
  })
})

describe('findings', () => {
  it('have ids of their own in kebab-case, of areas in the order of the page, and what costs something says what to do', () => {
    for (const findings of [judged(), judged(SICK), judged({ dialect: 'v1' }, { identity: { coreScheduling: true } })]) {
      const ids = findings.map(({ id }) => id)
      expect(new Set(ids).size).toBe(ids.length)
      expect(ids.filter((id) => !/^[a-z0-9]+(-[a-z0-9]+)*$/.test(id))).toEqual([])
      const order = findings.map(({ area }) => AREAS.indexOf(area))
      expect(order).toEqual(order.toSorted((a, b) => a - b))
      expect(findings.filter(({ state, remedy = '' }) => (state === 'warn' || state === 'fail') && remedy.length < 10)).toEqual(
        [],
      )
    }
  })

  it('are there for every knob and every backend', () => {
    const ids = new Set(judged().map(({ id }) => id))
    expect(ids.size).toBeGreaterThan(KNOB_KINDS.length)
    const kebab = (name: string) => name.replaceAll(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)
    for (const kind of KNOB_KINDS) expect(ids).toContain(`knob-${kebab(kind)}`)
    for (const backend of IDENTITY_BACKENDS) expect(ids).toContain(`backend-${kebab(backend)}`)
  })
})

describe('the exit code', () => {
  it('is 0 for a sound node, and for one with warnings unless they are to count', () => {
    expect(worse(judged())).toEqual([])
    const warned = judged({ kernel: { swapBytes: 2 ** 30 } })
    expect(worse(warned)).toEqual(['warn kernel-swap'])
    expect([exitCodeOf(warned, { strict: false }), exitCodeOf(warned, { strict: true })]).toEqual([0, 4])
    expect(exitCodeOf(judged(), { strict: true })).toBe(0)
  })

  it('is 4 where the main job can not be done', () => {
    const findings = judged(SICK)
    expect(exitCodeOf(findings, { strict: false })).toBe(4)
    expect(countStates(findings).fail).toBeGreaterThanOrEqual(5)
  })
})

const STATE = factsOf().state
if (STATE.is !== 'there') throw new Error('no state directory')
const JOURNAL = { path: '/x', bytes: 100, outstanding: 1, groups: 1, damagedLines: 0, boot: 'this' } as const
const THERE = { ...STATE, lockedBy: 7, journal: JOURNAL }

describe('one thing that is wrong is told once, by its own finding:', () => {
  it.each<[string, string, FactsLiteral, Readonly<Record<string, unknown>>?]>([
    ['a slow clock', 'warn kernel-clock', { kernel: { clock: { current: 'hpet', available: ['hpet'] } } }],
    ['no meminfo', 'warn kernel-memory', { kernel: { memory: undefined } }],
    ['no CPU list', 'fail cpu-topology', { kernel: { topology: { problem: 'cannot read /sys/…/online' } } }],
    ['reserved CPUs that are offline', 'warn cpu-reserved', {}, { ...ENFORCE, placement: { reservedCpus: '0,77' } }],
    [
      'core scheduling without a kernel for it',
      'warn cpu-smt, warn knob-core-cookie',
      { without: { coreCookie: 'this kernel was built without core scheduling' } },
      { ...ENFORCE, identity: { coreScheduling: true } },
    ],
    [
      'no memory controller',
      'warn cgroup-controllers',
      { cgroups: { controllers: ['cpu', 'cpuacct', 'cpuset', 'freezer', 'io'] } },
    ],
    ['a driver that is not the one configured', 'fail cgroup-driver', {}, { ...ENFORCE, node: { cgroupDriver: 'systemd' } }],
    [
      'marks without what sets them',
      'warn cgroup-marks',
      { cgroups: { marks: { usable: false, reason: 'the optional package koffi is not installed' } } },
      { ...ENFORCE, journal: { marks: true } },
    ],
    ['no quota', 'fail knob-quota', { without: { quota: 'x is mounted read-only' } }],
    ['no cpuset', 'warn knob-cpuset', { without: { cpuset: 'controller cpuset is not mounted' } }],
    [
      'a backend that was asked for',
      'warn knob-idle, warn backend-idle',
      { without: { idle: 'no' } },
      { ...ENFORCE, identity: { backend: 'idle' } },
    ],
    ['an idle root', 'warn identity-root', {}, { ...ENFORCE, onExit: 'release', identity: { rootIdle: true } }],
    ['no PSI of the node', 'warn pressure-node', { kernel: { nodePressure: ['cpu', 'memory'] } }],
    ['nothing that tells of waiting', 'warn pressure-groups', { kernel: { runQueue: false }, cgroups: { groupPressure: false } }],
    ['no kubelet', 'fail kubelet-socket', { kubelet: { socketProblem: 'nothing listens' } }],
    ['a plugin directory of others', 'fail kubelet-plugin-directory', { kubelet: { directoryProblem: 'EACCES' } }],
    ['no pod-resources', 'warn kubelet-pod-resources', { kubelet: { podResourcesProblem: 'not there' } }],
    [
      'a kubelet that is about to be configured for the static policy',
      'warn kubelet-cpu-manager',
      { kubelet: { settings: { cpuManagerPolicy: { value: 'static', from: '/etc/kubelet.yaml' } } } },
    ],
    [
      'a kubelet that nothing is known of',
      'warn kubelet-cpu-manager',
      { kubelet: { cpuManager: undefined, file: { path: '/x', problem: 'there is no such file' } } },
    ],
    [
      'the MemoryQoS feature beside protection',
      'warn kubelet-memory-qos',
      { kubelet: { settings: { memoryQoS: { value: 'true', from: '/x' } } } },
      { ...ENFORCE, suppressMemory: { protectLowPermyriad: 5000 } },
    ],
    ['another user than root', 'warn user', { kernel: { own: { ...factsOf().kernel.own, uid: 1000 } } }],
    ['groups that may not be written', 'fail groups-writable', { cgroups: { forbidden: 'EACCES' } }],
    ['no CAP_SYS_NICE', 'warn capability-sys-nice', { kernel: { own: { ...factsOf().kernel.own, mayRaisePriority: false } } }],
    [
      'no CAP_SYS_PTRACE for core scheduling, and pods out of sight',
      'warn capability-sys-ptrace, warn host-processes',
      { kernel: { own: { ...factsOf().kernel.own, mayTraceOthers: false } }, cgroups: { hidesProcesses: true } },
      { ...ENFORCE, identity: { coreScheduling: true } },
    ],
    ['a state directory that can not be made', 'fail state-directory', { state: { is: 'missing', problem: 'EACCES' } }],
    ['a state directory of others', 'fail state-directory', { state: { is: 'unusable', problem: 'no', hint: undefined } }],
    ['a damaged journal that is kept', 'warn state-damaged', { state: { ...THERE, damagedJournals: ['/state/x.damaged-1'] } }],
    [
      'a journal of nobody knows which boot',
      'fail state-journal',
      { state: { ...THERE, journal: { ...JOURNAL, boot: 'unknown' } } },
    ],
    ['a journal with damaged lines', 'warn state-journal', { state: { ...THERE, journal: { ...JOURNAL, damagedLines: 2 } } }],
    ['no pods', 'fail pod-source', { pods: { source: 'x', everRead: false, pods: 0, problems: [] } }],
    [
      'a manifest with a mistake',
      'warn pod-source',
      { pods: { source: 'x', everRead: true, pods: 1, problems: ['a.yaml: no uid'] } },
    ],
    ['an API server that refuses', 'warn api-server', { api: { problem: '403' } }],
    ['conditions that may not be written', 'warn node-condition', { api: { condition: { problem: '403' } } }],
    ['a port that is taken', 'fail http-address', { http: 'other' }],
    ['settings that are hardly meant', 'warn config-resources-cpu-unit', {}, { ...ENFORCE, resources: { cpuUnit: '300m' } }],
  ])('%s', (_, expected, literal, settings = ENFORCE) => {
    expect(worse(judged(literal, settings)).join(', ')).toBe(expected)
  })

  it('one CPU', () => {
    const { topology } = factsOf({ topology: 'twoCpuVm' }).kernel
    if ('problem' in topology) throw new Error('no topology')
    expect(worse(judged({ kernel: { topology: { ...topology, online: CpuSet.of(0) } } }))).toEqual(['warn cpu-topology'])
  })
})

describe('the conditions of the node', () => {
  const OFF = { ...ENFORCE, cluster: { condition: false } }

  it('are told to be kept and permitted, to be off, and nothing where no server is or it does not answer', () => {
    expect(only(judged(), 'node-condition')).toMatchObject({ state: 'ok', found: expect.stringContaining('may patch') as string })
    expect(only(judged({}, OFF), 'node-condition')).toMatchObject({ state: 'note' })
    const without = [judged({ api: { server: '' } }, OFF), judged({ api: { problem: '401' } })].flat()
    expect(without.filter(({ id }) => id === 'node-condition')).toEqual([])
  })
})

describe("the kubelet's CPU manager", () => {
  const STATIC = { path: '/var/lib/kubelet/cpu_manager_state', policy: 'static', exclusive: CpuSet.parse('2-3,6-7') }

  it('with the static policy fails the node, names the CPUs that are given away and says how to get rid of it', () => {
    const finding = only(judged({ kubelet: { cpuManager: STATIC } }), 'kubelet-cpu-manager')
    expect(finding.state).toBe('fail')
    expect(finding.found).toContain('4 CPUs (2-3,6-7)')
    expect(finding.remedy).toMatch(/Drain .*cpuManagerPolicy: none.*cpu_manager_state.*placement\.enabled: false/)
  })

  it('may have any policy where the agent places nothing', () => {
    const findings = judged({ kubelet: { cpuManager: STATIC } }, { mode: 'enforce', placement: { enabled: false } })
    expect(only(findings, 'kubelet-cpu-manager').state).toBe('note')
  })

  it('is judged by the configuration where it has nothing on record, and by its default where that says nothing', () => {
    const configured = { cpuManagerPolicy: { value: 'static', from: 'its flag --cpu-manager-policy' } }
    const finding = only(judged({ kubelet: { cpuManager: undefined, settings: configured } }), 'kubelet-cpu-manager')
    expect(finding).toMatchObject({ state: 'fail', found: expect.stringContaining('its flag --cpu-manager-policy') as string })
    expect(only(judged({ kubelet: { cpuManager: undefined, settings: {} } }), 'kubelet-cpu-manager').state).toBe('ok')
  })
})

describe('where groups count no stalls', () => {
  it('it is said that the run queue takes their place, from which queue on is cut, and that throttling is not counted', () => {
    const finding = only(judged({ dialect: 'v1' }), 'pressure-groups')
    expect(finding.state).toBe('note')
    expect(finding.found).toMatch(/the run queue of the node takes their place, less all tasks that offline work has/)
    expect(finding.found).toContain('Throttling of online pods is not counted')
    expect(finding.found).toContain('above 3 waiting tasks')
    const lower = judged({ dialect: 'v1' }, { ...ENFORCE, pressure: { runQueuePermyriad: 15_000 } })
    expect(only(lower, 'pressure-groups').found).toContain('above 1.5 waiting tasks')
  })

  it('and offline tasks can not be counted, it is a warning: then nothing tells that online work waits', () => {
    const uncounted = only(judged({ dialect: 'v1', cgroups: { tasks: false } }), 'pressure-groups')
    expect(uncounted).toMatchObject({ state: 'warn', remedy: expect.stringContaining('pids controller') as string })
    expect(uncounted.found).toContain('pids.current of /kubepods/besteffort')
    // While the group is not there yet the controller decides.
    const none = { dialect: 'v1', cgroups: { tasks: false, offlineRootExists: false } } as const
    expect(only(judged(none), 'pressure-groups').state).toBe('note')
    const without = {
      ...none,
      cgroups: { ...none.cgroups, controllers: ['cpu', 'cpuacct', 'cpuset', 'memory', 'freezer', 'blkio'] },
    } as const
    expect(only(judged(without), 'pressure-groups').state).toBe('warn')
  })
})

describe('identity', () => {
  it('names the backend in force for each class, and why a better one is passed over', () => {
    const mainline = judged()
    expect(only(mainline, 'identity-classes').found).toMatch(/^OT: idle; BE: weight; /)
    expect(only(mainline, 'backend-bvt').found).toBe('this kernel lacks it: see knob-bvt')
    const plain = judged({ without: { idle: 'no cpu.idle' } })
    expect(only(plain, 'identity-classes').found).toBe('BE, OT: weight; LSX, LSR, LS, SYSTEM, UNTAGGED: nothing of their own')
    expect(only(plain, 'backend-weight').found).toBe('in force for BE, OT')
  })

  it('tells of the hazard of bvt beside core scheduling', () => {
    const facts = factsOf()
    const { cgroups } = facts.kernel
    if ('problem' in cgroups) throw new Error('no cgroups')
    const knobs = { ...cgroups.capabilities.knobs, bvt: { usable: true, file: 'cpu.bvt_warp_ns' } as const }
    const withBvt = { cgroups: { capabilities: { ...cgroups.capabilities, knobs } } }
    expect(only(judged(withBvt), 'backend-bvt').found).toMatch(/^in force for/)
    const both = judged(withBvt, { ...ENFORCE, identity: { coreScheduling: true } })
    expect(only(both, 'backend-bvt').found).toContain('kernels have locked up with both')
  })
})

describe('what is switched off', () => {
  it('is not asked of the API server, and that is said', () => {
    const off = { events: false, condition: false, annotations: false }
    const findings = judged({ api: { server: '' } }, { ...ENFORCE, cluster: off })
    expect(only(findings, 'api-server')).toMatchObject({ state: 'ok', found: expect.stringMatching(/^not asked/) as string })
    expect(only(judged({ api: { server: '' } }), 'api-server')).toMatchObject({
      state: 'note',
      found: expect.stringContaining('cluster.events, cluster.condition, cluster.annotations') as string,
    })
  })

  it('needs no kubelet where nothing is sold', () => {
    const findings = judged({ kubelet: { socketProblem: 'nothing listens' } }, { ...ENFORCE, kubelet: { enabled: false } })
    expect(only(findings, 'kubelet-socket').state).toBe('note')
  })
})
