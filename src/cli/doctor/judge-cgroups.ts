/** Judges the cgroup tree, every knob in it, and what tells the classes apart. Pure: facts in, findings out. */
import type { Config } from '../../config/index.ts'
import { hazardOf } from '../../decide/identity-hazards.ts'
import { identityState } from '../../decide/identity.ts'
import type { CgroupSurvey } from '../../kernel/index.ts'
import {
  ERRORS,
  IDENTITY_BACKENDS,
  type IdentityBackend,
  type IdentityState,
  KNOB_KINDS,
  QOS_CLASSES,
} from '../../model/index.ts'
import type { NodeFacts } from './facts.ts'
import { type Finding, findingsOf, kebab } from './finding.ts'
import { KNOB_USES, WRITABLE } from './knob-uses.ts'

type Controller = CgroupSurvey['controllers'][number]

/** What is lost without a controller; cpu and cpuacct, without which nothing works, are asked for by detectMounts. */
const LOST: readonly (readonly [names: readonly Controller[], loss: string])[] = [
  [['cpuset'], 'no class can be placed on CPUs'],
  [['memory'], 'the memory of pods is neither known nor limited'],
  [['blkio', 'io'], 'IO of offline pods is not held back'],
  [['freezer'], 'OT pods are not frozen'],
]

export function judgeCgroups({ kernel: { cgroups }, kubelet }: NodeFacts, config: Config): readonly Finding[] {
  const { fail, note, ok, warn } = findingsOf('cgroups')
  const { paths, node } = config
  if ('problem' in cgroups) return [fail('cgroup-tree', cgroups.problem, ERRORS.E_NO_CGROUPS.hint)]
  const lost = LOST.filter(([names]) => !names.some((name) => cgroups.controllers.includes(name)))
  const findings = [
    cgroups.dialect === 'v2'
      ? ok('cgroup-tree', `cgroup v2 at ${paths.cgroup}`)
      : note(
          'cgroup-tree',
          `cgroup v1 at ${paths.cgroup}${cgroups.hybrid ? ', with a v2 tree beside it that carries no controllers (hybrid)' : ''}`,
          'Nothing; cgroup v2 would add memory.high, memory.low and stalls of groups, and kubelets are giving v1 up.',
        ),
    lost.length === 0
      ? ok('cgroup-controllers', cgroups.controllers.join(', '))
      : warn(
          'cgroup-controllers',
          `missing ${lost.map(([names, loss]) => `${names.join(' or ')}: ${loss}`).join('; ')}`,
          cgroups.dialect === 'v1'
            ? 'Mount them, and look for cgroup_disable= among the boot parameters.'
            : 'Hand them out from the root (cgroup.subtree_control), and look for cgroup_disable= among the boot parameters.',
        ),
  ]
  if (!cgroups.offlineRootExists) {
    const said = kubelet.settings.cgroupRoot
    const root = said === undefined || said.value === node.cgroupRoot ? '' : ` The kubelet has ${said.value} (${said.from}).`
    const found = `no group for best-effort pods at ${cgroups.offlineRoot}: the agent would not start`
    findings.push(fail('cgroup-pods', found, `${ERRORS.E_NO_PODS_ROOT.hint}${root}`))
  } else findings.push(ok('cgroup-pods', `offline pods are below ${cgroups.offlineRoot}`))
  return [...findings, driverFinding(cgroups, kubelet, node.cgroupDriver), marksFinding(cgroups.marks, config.journal.marks)]
}

function marksFinding(marks: CgroupSurvey['marks'], wanted: boolean): Finding {
  const { note, ok, warn } = findingsOf('cgroups')
  const id = 'cgroup-marks'
  if (marks.usable)
    return ok(id, `groups can bear ${marks.file}${wanted ? ', and do while they are held' : '; not in use (journal.marks)'}`)
  if (!wanted) return note(id, `${marks.reason}; not in use (journal.marks)`)
  const remedy = 'See to what is missing, or set journal.marks: false; kube-agent explain knob says the same of a file.'
  return warn(id, `${marks.reason}: groups do not tell which of their files are held`, remedy)
}

function driverFinding(
  { driverFound }: CgroupSurvey,
  { settings }: NodeFacts['kubelet'],
  configured: Config['node']['cgroupDriver'],
): Finding {
  const { fail, note, ok } = findingsOf('cgroups')
  const id = 'cgroup-driver'
  const said = settings.cgroupDriver
  const bySaying = said === undefined ? '' : `; the kubelet says ${said.value} (${said.from})`
  if (driverFound === undefined) return note(id, `not to be seen: the kubelet has made no groups yet${bySaying}`)
  if (configured !== 'auto' && configured !== driverFound) {
    const found = `node.cgroupDriver is ${configured}, and the kubelet's groups have the names of ${driverFound}`
    return fail(id, `${found}${bySaying}`, 'Set node.cgroupDriver: auto.')
  }
  const found = `${driverFound}, by the names of the kubelet's groups`
  if (said !== undefined && said.value !== driverFound)
    return note(id, `${found}${bySaying}: the container runtime may overrule it, and the names count`)
  if (driverFound === 'cgroupfs') return ok(id, found)
  return note(
    id,
    `${found}: systemd writes limits of its slices again when it reloads`,
    'Nothing: what it undoes is found at the next tick, written again and counted as drift.',
  )
}

export function judgeKnobs({ kernel: { cgroups } }: NodeFacts, config: Config): readonly Finding[] {
  const { fail, note, ok, warn } = findingsOf('knobs')
  if ('problem' in cgroups || !cgroups.offlineRootExists)
    return [note('knobs-unknown', "not judged: they are looked for in the kubelet's groups, and those are not there")]
  const { dialect, knobs } = cgroups.capabilities
  return KNOB_KINDS.map((kind) => {
    const id = `knob-${kebab(kind)}`
    const { is, wanted, off, vital } = KNOB_USES[kind]
    const knob = knobs[kind]
    if (knob.usable) return ok(id, `${knob.file}: ${is}`)
    if (!wanted(config, dialect) && vital !== true) return note(id, `${knob.reason}; not in use`)
    const found = `${knob.reason}; needed for ${is}`
    if (vital === true) return fail(id, found, WRITABLE)
    return warn(id, found, `See to what is missing, or set ${off} where the node does without.`)
  })
}

export function judgeIdentity({ kernel: { cgroups, topology } }: NodeFacts, config: Config): readonly Finding[] {
  const { note } = findingsOf('identity')
  if ('problem' in cgroups || !cgroups.offlineRootExists)
    return [note('identity-unknown', 'not judged: it follows from the knobs')]
  const state = identityState(cgroups.capabilities, config, { smt: 'smt' in topology && topology.smt })
  const backends = IDENTITY_BACKENDS.map((backend) => backendFinding(backend, state, { cgroups, config }))
  return [classesFinding(state, config), ...backends, ...rootFindings(state, config)]
}

/** Which backend is in force for which classes: `OT: idle; BE: weight; others nothing of their own`. */
function classesFinding({ backends }: IdentityState, { identity }: Config): Finding {
  const { note, ok, warn } = findingsOf('identity')
  const id = 'identity-classes'
  const parts = [...IDENTITY_BACKENDS, 'none' as const].flatMap((backend) => {
    const classes = QOS_CLASSES.filter((qosClass) => backends[qosClass] === backend)
    return classes.length === 0 ? [] : [`${classes.join(', ')}: ${backend === 'none' ? 'nothing of their own' : backend}`]
  })
  const found = parts.join('; ')
  if (backends.BE !== 'none' && backends.OT !== 'none') return ok(id, found)
  if (!identity.enabled || identity.backend === 'none')
    return note(id, `${found}: switched off`, 'Set identity.enabled: true and identity.backend: auto, so that BE goes before OT.')
  return warn(
    id,
    `${found}: OT does not yield to BE`,
    'Mount the controller cpu read-write: weights, at least, are in every kernel.',
  )
}

function backendFinding(
  backend: IdentityBackend,
  state: IdentityState,
  { cgroups, config }: { readonly cgroups: CgroupSurvey; readonly config: Config },
): Finding {
  const { note, ok, warn } = findingsOf('identity')
  const id = `backend-${kebab(backend)}`
  const classes = QOS_CLASSES.filter((qosClass) => state.backends[qosClass] === backend)
  if (classes.length > 0) return ok(id, `in force for ${classes.join(', ')}`)
  const passed = state.passedOver.find((one) => one.backend === backend)
  if (passed !== undefined && config.identity.backend === backend) {
    const remedy = 'Set identity.backend: auto, which takes the best that the kernel has; weights are used until then.'
    return warn(id, `asked for (identity.backend), and not used: ${passed.reason}`, remedy)
  }
  const knob = cgroups.capabilities.knobs[backend]
  if (!knob.usable) return note(id, `this kernel lacks it: see knob-${kebab(backend)}`)
  const hazard = passed?.reason ?? hazardOf({ backend, on: 'pod', named: false }, config)
  return hazard === undefined ? ok(id, 'there, and not needed') : note(id, `there, and not used: ${hazard}`)
}

/** Kernel: between offline pods and all others their root's own value counts, which the kubelet writes too. */
function rootFindings({ backends, rootIdle }: IdentityState, config: Config): readonly Finding[] {
  const { ok, warn } = findingsOf('identity')
  const id = 'identity-root'
  if (rootIdle) {
    return [
      warn(
        id,
        'identity.rootIdle is on: the kernel refuses the weight that the kubelet writes to the root of offline pods, at its start and every minute',
        'Set identity.rootIdle: false; the least weight, which the kubelet gives that root, yields nearly as well.',
      ),
    ]
  }
  const backend = backends.OT
  if (backend === 'none') return []
  const hazard = hazardOf({ backend, on: 'qosRoot', named: true }, config)
  if (hazard !== undefined) return [ok(id, `the root of offline pods is left alone: ${hazard}`)]
  return backend === 'bvt' ? [ok(id, 'bvt is written to the QoS roots too, where it counts')] : []
}
