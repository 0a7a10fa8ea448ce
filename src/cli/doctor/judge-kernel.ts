/** Judges the machine and its kernel: release, clock, memory, CPUs and how waiting shows. Pure: facts in, findings out. */
import type { Config } from '../../config/index.ts'
import type { CpuSet, CpuTopology } from '../../cpu/index.ts'
import type { CgroupSurvey } from '../../kernel/index.ts'
import { ERRORS, formatBytes } from '../../model/index.ts'
import { count } from '../../record/index.ts'
import type { NodeFacts } from './facts.ts'
import { type Finding, findingsOf } from './finding.ts'

/** Kernel: clock sources that the vDSO can't read, so that each look is a system call, and of some a slow one. */
const SLOW_CLOCKS: ReadonlySet<string> = new Set(['hpet', 'acpi_pm', 'xen', 'jiffies', 'refined-jiffies'])
/** The last mainline release that brought a file the agent uses: cpu.idle. */
const COMPLETE = [5, 15] as const

export function judgeKernel({ kernel, kubelet }: NodeFacts, config: Config): readonly Finding[] {
  const { ok, note, warn } = findingsOf('kernel')
  const [major = 0, minor = 0] = kernel.release.split('.').map((part) => Number.parseInt(part, 10))
  const isComplete = major > COMPLETE[0] || (major === COMPLETE[0] && minor >= COMPLETE[1])
  const findings = [
    isComplete
      ? ok('kernel-release', kernel.release)
      : note(
          'kernel-release',
          `${kernel.release}: older than ${COMPLETE.join('.')}; what it lacks for that is under knobs and identity`,
          'Nothing, since weights and quotas do the work; 5.14 would bring CPU burst and core scheduling, 5.15 cpu.idle.',
        ),
  ]
  const { clock, memory, swapBytes } = kernel
  if (clock === undefined) findings.push(note('kernel-clock', 'the kernel does not say which clock source it uses'))
  else if (SLOW_CLOCKS.has(clock.current)) {
    findings.push(
      warn(
        'kernel-clock',
        `clock source ${clock.current} (there are ${clock.available.join(', ')}): each look at the time is a slow system call`,
        `Find out why the kernel left a faster one (dmesg | grep -i clocksource); ${config.loop.guardMs} ms guard beats cost more CPU until then.`,
      ),
    )
  } else findings.push(ok('kernel-clock', `clock source ${clock.current}`))
  findings.push(
    memory === undefined
      ? warn(
          'kernel-memory',
          `${config.paths.proc}/meminfo tells no available memory: the memory ladder abstains`,
          "Mount the host's procfs and set paths.proc to it.",
        )
      : ok('kernel-memory', `${formatBytes(memory.availableBytes)} of ${formatBytes(memory.totalBytes)} available`),
  )
  findings.push(swapFinding(swapBytes, kubelet.settings.swapBehavior?.value))
  return findings
}

/** Kubernetes: with NoSwap (the default, where swap is borne at all) pods get none of it, under cgroup v2. */
function swapFinding(swapBytes: number | undefined, behavior: string | undefined): Finding {
  const { ok, note, warn } = findingsOf('kernel')
  if (swapBytes === undefined) return note('kernel-swap', 'the kernel does not say whether there is swap')
  if (swapBytes === 0) return ok('kernel-swap', 'none')
  const size = formatBytes(swapBytes)
  if (behavior === 'NoSwap') return note('kernel-swap', `${size}, and the kubelet gives none of it to pods (NoSwap)`)
  return warn(
    'kernel-swap',
    `${size}: pods that are squeezed for memory swap instead, and online work waits for the disk`,
    'Switch it off (swapoff -a, and the lines in /etc/fstab), or set memorySwap.swapBehavior: NoSwap in the kubelet.',
  )
}

export function judgeCpus({ kernel }: NodeFacts, config: Config): readonly Finding[] {
  const { fail, ok, warn } = findingsOf('cpus')
  const { topology } = kernel
  if ('problem' in topology) return [fail('cpu-topology', topology.problem, ERRORS.E_TOPOLOGY.hint)]
  const { online, cores, sockets, nodes, caches } = topology
  const parts = [count(cores.length, 'core'), count(caches.length, 'cache'), count(nodes.length, 'NUMA node')]
  const found = `${count(online.size, 'CPU')} online (${online.toString()}): ${[...parts, count(sockets.length, 'socket')].join(', ')}`
  return [
    online.size > 1
      ? ok('cpu-topology', found)
      : warn(
          'cpu-topology',
          `${found}; offline work can't be given other CPUs than online work`,
          'Sell little here, or nothing: capacity.enabled: false. Weights and quotas still hold.',
        ),
    smtFinding(kernel.cgroups, topology, { control: kernel.smtControl, wanted: config.identity.coreScheduling }),
    ...(['reservedCpus', 'dedicatedCpus'] as const).flatMap((name) => absentFinding(name, config.placement[name], online)),
  ]
}

function smtFinding(
  cgroups: NodeFacts['kernel']['cgroups'],
  { smt }: CpuTopology,
  { control, wanted }: { readonly control: string | undefined; readonly wanted: boolean },
): Finding {
  const { note, ok, warn } = findingsOf('cpus')
  if (!smt) {
    const said = control === undefined ? '' : ` (SMT: ${control})`
    return ok('cpu-smt', `no core has more than one thread online${said}; nothing is to be kept apart`)
  }
  const cookie =
    'problem' in cgroups ? { usable: false as const, reason: cgroups.problem } : cgroups.capabilities.knobs.coreCookie
  const found = 'SMT is on: two threads share a core'
  if (cookie.usable) {
    return wanted
      ? ok('cpu-smt', `${found}; core scheduling keeps offline work off cores whose other thread runs online work`)
      : note(
          'cpu-smt',
          `${found}, and offline work may run beside online work; the kernel has core scheduling`,
          'identity.coreScheduling: true keeps them apart, at the price of threads that stand idle.',
        )
  }
  if (!wanted)
    return note('cpu-smt', `${found}, and offline work may run beside online work; no core scheduling: ${cookie.reason}`)
  return warn(
    'cpu-smt',
    `${found}, and identity.coreScheduling has no effect: ${cookie.reason}`,
    'Set identity.coreScheduling: false, or see to what is missing; LSX pods have whole cores in either case.',
  )
}

function absentFinding(name: 'reservedCpus' | 'dedicatedCpus', cpus: CpuSet, online: CpuSet): Finding[] {
  const absent = cpus.minus(online)
  if (absent.isEmpty) return []
  const { warn } = findingsOf('cpus')
  const id = name === 'reservedCpus' ? 'cpu-reserved' : 'cpu-dedicated'
  const found = `placement.${name} names CPUs that are not online: ${absent.toString()}`
  return [warn(id, found, `Correct placement.${name} (online are ${online.toString()}), or bring them online.`)]
}

/** How it shows that online work waits, and what takes the place of stalls where the kernel does not count them. */
export function judgePressure({ kernel }: NodeFacts, config: Config): readonly Finding[] {
  const { note, ok, warn } = findingsOf('pressure')
  const { nodePressure, cgroups } = kernel
  const missing = (['cpu', 'memory', 'io'] as const).filter((resource) => !nodePressure.includes(resource))
  const node =
    missing.length === 0
      ? ok('pressure-node', 'PSI: stalls of the node for CPU, memory and IO are counted')
      : warn(
          'pressure-node',
          `no PSI of the node for ${missing.join(', ')}: the memory ladder goes by available memory alone, and IO limits are not cut`,
          'Boot a kernel with CONFIG_PSI and psi=1.',
        )
  if ('problem' in cgroups) return [node]
  return [node, groupsFinding({ cgroups, runQueue: kernel.runQueue }, { note, ok, warn }, config)]
}

function groupsFinding(
  { cgroups, runQueue }: { readonly cgroups: CgroupSurvey; readonly runQueue: boolean },
  { note, ok, warn }: Pick<ReturnType<typeof findingsOf>, 'note' | 'ok' | 'warn'>,
  { pressure }: Config,
): Finding {
  const id = 'pressure-groups'
  if (cgroups.groupPressure) return ok(id, 'PSI of groups: how long online pods wait for CPU and IO is read directly')
  // Under v1 it is known without them.
  if (!cgroups.offlineRootExists && cgroups.dialect === 'v2')
    return note(id, "not judged: the kubelet's groups are not there yet")
  const why = cgroups.dialect === 'v1' ? 'cgroup v1 counts no stalls of groups' : 'no cpu.pressure in the groups'
  const remedy =
    cgroups.dialect === 'v1'
      ? 'Nothing; cgroup v2 would make it finer (boot parameter systemd.unified_cgroup_hierarchy=1).'
      : 'Boot with psi=1, or a kernel with CONFIG_PSI; look for cgroup.pressure = 0 in the groups.'
  if (!runQueue) {
    return warn(id, `${why}, and the run queue can't be read either: nothing tells that online work waits for CPU`, remedy)
  }
  if (!(cgroups.offlineRootExists ? cgroups.tasks : cgroups.controllers.includes('pids'))) {
    const found = `${why}, and the run queue says nothing without a count of the tasks that offline work has in it: nothing tells that online work waits for CPU`
    const files = `pids.current of ${cgroups.offlineRoot} can't be read`
    return warn(id, `${found} (${files})`, `Let the kernel have the pids controller (cgroup_disable must not name it). ${remedy}`)
  }
  const bound = pressure.runQueuePermyriad / 10_000
  const found = `${why}: the run queue of the node takes their place, less all tasks that offline work has, asleep or not (the allowance is cut above ${bound} waiting tasks for each CPU). That is coarser: beside offline pods of many threads only a long queue shows. Throttling of online pods is not counted, since their own limits cause it`
  return note(id, found, remedy)
}
