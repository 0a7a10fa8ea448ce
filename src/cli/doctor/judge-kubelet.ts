/**
 * Judges the kubelet: whether it can be reached, and what in its configuration gets in the way of placement. Pure: facts in, findings out.
 * Source: kubernetes pkg/kubelet/cm/cpumanager/policy_static.go: the static policy writes cpusets of its own, by what it remembers, and gives
 * away whole CPUs of which nobody else is told.
 */
import type { Config } from '../../config/index.ts'
import { CpuListError, CpuSet } from '../../cpu/index.ts'
import type { KubeletSetting, KubeletSurvey, ManagerState } from '../../kubelet/index.ts'
import { ERRORS } from '../../model/index.ts'
import { count } from '../../record/index.ts'
import type { NodeFacts } from './facts.ts'
import { type Finding, findingsOf } from './finding.ts'

export function judgeKubelet({ kubelet }: NodeFacts, config: Config): readonly Finding[] {
  return [
    ...reachFindings(kubelet, config),
    fileFinding(kubelet),
    cpuManagerFinding(kubelet, config),
    memoryManagerFinding(kubelet, config),
    ...minorFindings(kubelet, config),
  ]
}

function reachFindings(kubelet: KubeletSurvey, { kubelet: { enabled }, paths }: Config): readonly Finding[] {
  const { fail, note, ok, warn } = findingsOf('kubelet')
  if (!enabled)
    return [
      note('kubelet-socket', 'kubelet.enabled is false: nothing is sold', 'Set kubelet.enabled: true to sell what is unused.'),
    ]
  const { socketProblem, directoryProblem, podResourcesProblem } = kubelet
  const findings: Finding[] = [
    socketProblem === undefined
      ? ok('kubelet-socket', `it answers at ${paths.devicePlugins}/kubelet.sock`)
      : fail('kubelet-socket', socketProblem, ERRORS.E_NO_KUBELET.hint),
  ]
  // Without the directory the finding above has said so.
  if (directoryProblem === undefined)
    findings.push(ok('kubelet-plugin-directory', `sockets can be made in ${paths.devicePlugins}`))
  else if (directoryProblem !== 'ENOENT') {
    const found = `no socket can be made in ${paths.devicePlugins} (${directoryProblem}): nothing can be sold`
    findings.push(fail('kubelet-plugin-directory', found, 'Run as root, with that directory of the host mounted read-write.'))
  }
  findings.push(
    podResourcesProblem === undefined
      ? ok('kubelet-pod-resources', `what is allocated is asked for at ${paths.podResources}/kubelet.sock`)
      : warn(
          'kubelet-pod-resources',
          `${podResourcesProblem}; what is allocated is learnt from the kubelet's checkpoint, which names some that are free again`,
          "Mount that directory of the host, and set paths.podResources to it (below the kubelet's --root-dir).",
        ),
  )
  return findings
}

function fileFinding({ file, seen }: KubeletSurvey): Finding {
  const { note, ok } = findingsOf('kubelet')
  const flags = seen ? ', and the flags of its process' : '; its process is not in sight, so flags that overrule it are not known'
  if (file.problem === undefined) return ok('kubelet-config', `${file.path}${flags}`)
  return note(
    'kubelet-config',
    `${whyNoFile({ file })}${seen ? '; its flags were read' : ''}`,
    'Name the file that the kubelet reads: kube-agent doctor --kubelet-config FILE. On the host, or with it mounted.',
  )
}

function whyNoFile({ file }: Pick<KubeletSurvey, 'file'>): string {
  return `${file.path}: ${file.problem ?? ''}`
}

interface Policy {
  readonly name: string
  readonly from: string
}

/** What is on record counts before what is configured: the kubelet does not start when the two differ. */
function policyOf(
  state: KubeletSurvey['cpuManager'],
  { settings, file }: KubeletSurvey,
  { setting, byDefault }: { readonly setting: KubeletSetting; readonly byDefault: string },
): Policy | undefined {
  if (state !== undefined && 'policy' in state) return { name: state.policy, from: state.path }
  const said = settings[setting]
  if (said !== undefined) return { name: said.value, from: said.from }
  return file.problem === undefined ? { name: byDefault, from: `the default; ${file.path} says nothing` } : undefined
}

function cpuManagerFinding(kubelet: KubeletSurvey, { placement }: Config): Finding {
  const { fail, note, ok, warn } = findingsOf('kubelet')
  const id = 'kubelet-cpu-manager'
  const { cpuManager: state, settings } = kubelet
  const policy = policyOf(state, kubelet, { setting: 'cpuManagerPolicy', byDefault: 'none' })
  if (policy === undefined) {
    const why = state !== undefined && 'problem' in state ? state.problem : `no cpu_manager_state, and ${whyNoFile(kubelet)}`
    return placement.enabled
      ? warn(
          id,
          `its CPU manager policy is not known: ${why}`,
          'See that it is none (cpuManagerPolicy), or set placement.enabled: false.',
        )
      : note(id, `its CPU manager policy is not known: ${why}; placement.enabled is false`)
  }
  const found = `CPU manager policy ${policy.name} (${policy.from})`
  if (policy.name === 'none') {
    const said = settings.cpuManagerPolicy
    if (said === undefined || said.value === 'none') return ok(id, found)
    const differing = `${found}, and ${said.value} is configured (${said.from}): a kubelet that is restarted with that does not come up`
    return warn(id, differing, 'Set cpuManagerPolicy: none there.')
  }
  if (!placement.enabled) return note(id, `${found}; placement.enabled is false, so the agent writes no cpusets`)
  const { exclusive } = asState(state)
  const given = exclusive.isEmpty ? '' : `; it has given away ${count(exclusive.size, 'CPU')} (${exclusive.toString()})`
  const remedy = `Drain the node, stop the kubelet, set cpuManagerPolicy: none, remove ${asState(state).path} and start it; or set placement.enabled: false.`
  return fail(
    id,
    `${found}${given}: two would write the same cpusets, and offline work would run on CPUs that are given away`,
    remedy,
  )
}

function memoryManagerFinding(kubelet: KubeletSurvey, { placement }: Config): Finding {
  const { note, ok, warn } = findingsOf('kubelet')
  const id = 'kubelet-memory-manager'
  const policy = policyOf(kubelet.memoryManager, kubelet, { setting: 'memoryManagerPolicy', byDefault: 'None' })
  if (policy === undefined) return note(id, 'its memory manager policy is not known')
  const found = `memory manager policy ${policy.name} (${policy.from})`
  if (policy.name === 'None' || !placement.enabled) return ok(id, found)
  return warn(
    id,
    `${found}: it binds pods to the memory of NUMA nodes, and the agent places them on CPUs without asking it`,
    'Set memoryManagerPolicy: None (drain first, and remove memory_manager_state), or placement.enabled: false.',
  )
}

function minorFindings({ settings }: KubeletSurvey, config: Config): readonly Finding[] {
  const { note, ok, warn } = findingsOf('kubelet')
  const findings: Finding[] = []
  const { cpuCFSQuota, topologyManagerPolicy, reservedSystemCPUs, memoryQoS } = settings
  if (cpuCFSQuota?.value === 'false') {
    const found = `no CPU limits of online pods are enforced (cpuCFSQuota: false, ${cpuCFSQuota.from}); quotas of offline pods are the agent's`
    findings.push(note('kubelet-cfs-quota', found))
  }
  if (topologyManagerPolicy !== undefined && topologyManagerPolicy.value !== 'none') {
    const found = `topology manager policy ${topologyManagerPolicy.value} (${topologyManagerPolicy.from}): the agent's devices give it no hints`
    findings.push(note('kubelet-topology-manager', found))
  }
  const reserved = reservedSystemCPUs === undefined ? undefined : cpusOf(reservedSystemCPUs.value)
  if (reserved !== undefined && reservedSystemCPUs !== undefined && !reserved.isEmpty) {
    const { reservedCpus } = config.placement
    const found = `reservedSystemCPUs ${reserved.toString()} (${reservedSystemCPUs.from})`
    findings.push(
      reserved.isSubsetOf(reservedCpus) || !config.placement.enabled
        ? ok('kubelet-reserved-cpus', found)
        : warn(
            'kubelet-reserved-cpus',
            `${found}, and placement.reservedCpus is ${reservedCpus.isEmpty ? 'empty' : reservedCpus.toString()}: offline work may run on them`,
            `Set placement.reservedCpus: ${reserved.union(reservedCpus).toString()}.`,
          ),
    )
  }
  const { protectLowPermyriad, protectMinPermyriad } = config.suppressMemory
  if (memoryQoS?.value === 'true' && protectLowPermyriad + protectMinPermyriad > 0) {
    findings.push(
      warn(
        'kubelet-memory-qos',
        `the feature MemoryQoS is on (${memoryQoS.from}) and writes memory.min and memory.low, as suppressMemory.protect* does`,
        'Set suppressMemory.protectLowPermyriad: 0 and protectMinPermyriad: 0, or switch the feature off.',
      ),
    )
  }
  return findings
}

function asState(state: KubeletSurvey['cpuManager']): Pick<ManagerState, 'exclusive' | 'path'> {
  return state !== undefined && 'policy' in state ? state : { exclusive: CpuSet.EMPTY, path: 'cpu_manager_state' }
}

function cpusOf(text: string): CpuSet | undefined {
  try {
    return CpuSet.parse(text)
  } catch (thrown) {
    if (thrown instanceof CpuListError) return undefined
    throw thrown
  }
}
