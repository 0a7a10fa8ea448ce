/** Nodes made up for `doctor`: a sound one, and whatever a test changes about it. */
import type { StateSurvey } from '../../src/actuate/index.ts'
import type { NodeFacts } from '../../src/cli/doctor/facts.ts'
import { buildTopology, CpuSet } from '../../src/cpu/index.ts'
import type { CgroupSurvey, KernelSurvey } from '../../src/kernel/index.ts'
import type { KubeletSurvey } from '../../src/kubelet/index.ts'
import { type Capability, type Dialect, KNOB_KINDS, type KnobKind } from '../../src/model/index.ts'
import { filesOf } from '../../src/kernel/dialect.ts'
import { TOPOLOGIES } from './topologies.ts'

const GIB = 2 ** 30

export interface FactsLiteral {
  readonly dialect?: Dialect
  readonly topology?: keyof typeof TOPOLOGIES
  /** Knobs that can't be used, and why. */
  readonly without?: Readonly<Partial<Record<KnobKind, string>>>
  readonly cgroups?: Partial<CgroupSurvey>
  readonly kernel?: Partial<KernelSurvey>
  readonly kubelet?: Partial<KubeletSurvey>
  readonly state?: StateSurvey
  readonly pods?: NodeFacts['pods']
  readonly api?: Partial<NodeFacts['api']>
  readonly http?: NodeFacts['http']
}

const VENDORS: Readonly<Partial<Record<KnobKind, string>>> = {
  bvt: 'no cpu.bvt_warp_ns here: kernels of Anolis and Alibaba have it',
  qosLevel: 'no cpu.qos_level here: kernels of openEuler have it',
  offline: 'no cpu.offline here: kernels of TencentOS have it',
  btShares: 'no cpu.bt_shares here: kernels of TencentOS have it',
}

function knobsOf(dialect: Dialect, without: FactsLiteral['without']): Record<KnobKind, Capability> {
  const missing: FactsLiteral['without'] = { ...VENDORS, ...without }
  return Object.fromEntries(
    KNOB_KINDS.map((kind): [KnobKind, Capability] => {
      const reason = missing[kind]
      if (reason !== undefined) return [kind, { usable: false, reason }]
      if (kind === 'coreCookie') return [kind, { usable: true, file: 'prctl(PR_SCHED_CORE)' }]
      const [file] = filesOf(dialect, kind)
      return [
        kind,
        file === undefined ? { usable: false, reason: `cgroup ${dialect} has no such file` } : { usable: true, file: file.name },
      ]
    }),
  ) as Record<KnobKind, Capability>
}

function cgroupsOf({ dialect = 'v2', without, cgroups }: FactsLiteral): CgroupSurvey {
  const driver = 'cgroupfs'
  const offlineRoot = '/kubepods/besteffort'
  return {
    dialect,
    hybrid: false,
    controllers: ['cpu', 'cpuacct', 'cpuset', 'memory', 'freezer', dialect === 'v1' ? 'blkio' : 'io', 'pids'],
    driverFound: driver,
    layout: { root: '/', driver },
    offlineRoot,
    offlineRootExists: true,
    forbidden: undefined,
    capabilities: {
      dialect,
      driver,
      knobs: knobsOf(dialect, without),
      nestedQuota: dialect === 'v1',
      nestedCpuset: dialect === 'v1',
      nestedIo: dialect === 'v2',
      kernelRelease: '6.1.0-18-amd64',
    },
    groupPressure: dialect === 'v2',
    tasks: true,
    hidesProcesses: false,
    marks: { usable: true, file: 'user.kube-agent' },
    ownGroups: ['/system.slice', '/system.slice/kube-agent.service'],
    ...cgroups,
  }
}

/** A sound node of 8 CPUs with SMT, cgroup v2 and a kubelet that leaves CPUs alone, changed as the literal says. */
export function factsOf(literal: FactsLiteral = {}): NodeFacts {
  const config = '/var/lib/kubelet/config.yaml'
  return {
    kernel: {
      release: '6.1.0-18-amd64',
      cgroups: cgroupsOf(literal),
      topology: buildTopology(TOPOLOGIES[literal.topology ?? 'desktop']),
      smtControl: 'on',
      nodePressure: ['cpu', 'memory', 'io'],
      runQueue: true,
      memory: { totalBytes: 64 * GIB, availableBytes: 40 * GIB },
      swapBytes: 0,
      clock: { current: 'tsc', available: ['tsc', 'hpet', 'acpi_pm'] },
      kubeletCommand: ['/usr/bin/kubelet', `--config=${config}`],
      bootId: 'boot-1',
      own: { uid: 0, nice: 0, mayRaisePriority: true, mayTraceOthers: true, openFiles: 524_288, heldFiles: 523_776 },
      ...literal.kernel,
    },
    kubelet: {
      socketProblem: undefined,
      directoryProblem: undefined,
      podResourcesProblem: undefined,
      file: { path: config },
      seen: true,
      settings: { cgroupDriver: { value: 'cgroupfs', from: config } },
      cpuManager: { path: '/var/lib/kubelet/cpu_manager_state', policy: 'none', exclusive: CpuSet.EMPTY },
      memoryManager: { path: '/var/lib/kubelet/memory_manager_state', policy: 'None', exclusive: CpuSet.EMPTY },
      ...literal.kubelet,
    },
    state: literal.state ?? {
      is: 'there',
      uid: 0,
      mode: 0o700,
      freeBytes: 20 * GIB,
      inMemory: true,
      lockedBy: undefined,
      journal: undefined,
      damagedJournals: [],
    },
    pods: literal.pods ?? { source: 'https://10.0.0.1:6443', everRead: true, pods: 31, problems: [] },
    api: { server: 'https://10.0.0.1:6443', nodeName: 'node-1', problem: undefined, condition: 'permitted', ...literal.api },
    http: 'http' in literal ? literal.http : 'nobody',
  }
}
