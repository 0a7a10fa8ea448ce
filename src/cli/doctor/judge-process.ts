/** Judges what this process may do here, and the state directory. Pure: facts in, findings out. */
import type { Config } from '../../config/index.ts'
import { ERRORS, formatBytes } from '../../model/index.ts'
import { count } from '../../record/index.ts'
import type { NodeFacts } from './facts.ts'
import { type Finding, findingsOf } from './finding.ts'
import { WRITABLE } from './knob-uses.ts'

/** Below this the files of a node of 250 pods are opened for each read: a tick costs several times as much. */
const FEW_OPEN_FILES = 4096

export function judgePermissions({ kernel }: NodeFacts, config: Config): readonly Finding[] {
  const { note, ok, warn } = findingsOf('permissions')
  const { cgroups, own } = kernel
  const findings: Finding[] = [
    own.uid === 0
      ? ok('user', 'root')
      : warn(
          'user',
          `user ${own.uid}: cgroup files and the sockets of the kubelet belong to root`,
          'Run as root; no capability is needed for that.',
        ),
  ]
  if (!('problem' in cgroups) && cgroups.offlineRootExists) findings.push(writableFinding(cgroups.forbidden, cgroups.offlineRoot))
  findings.push(niceFinding(own, config.own))
  if (config.identity.coreScheduling) {
    findings.push(
      own.mayTraceOthers
        ? ok('capability-sys-ptrace', 'CAP_SYS_PTRACE: cookies can be given to processes of other users')
        : warn(
            'capability-sys-ptrace',
            'CAP_SYS_PTRACE is missing: processes of other users get no cookie, and share cores with online work',
            'Add the capability SYS_PTRACE, or set identity.coreScheduling: false.',
          ),
    )
    if (!('problem' in cgroups) && cgroups.hidesProcesses) {
      const found = 'the processes of pods are in another PID namespace and out of sight: none gets a cookie'
      findings.push(
        warn('host-processes', found, 'Set hostPID: true in the pod of the agent, or identity.coreScheduling: false.'),
      )
    }
  }
  const files = `${own.openFiles} may be open, ${own.heldFiles} of them held from tick to tick`
  findings.push(
    own.openFiles >= FEW_OPEN_FILES
      ? ok('open-files', files)
      : note(
          'open-files',
          `${files}: with many pods files are opened for each read`,
          'Raise the limit (LimitNOFILE=, ulimit -n) to 20000.',
        ),
  )
  if (config.own.weight && !('problem' in cgroups)) findings.push(ownGroupFinding(cgroups.ownGroups))
  return findings
}

function writableFinding(forbidden: string | undefined, group: string): Finding {
  const { fail, ok } = findingsOf('permissions')
  if (forbidden === undefined) return ok('groups-writable', `groups below ${group} may be written`)
  const isMount = forbidden === 'EROFS'
  return fail(
    'groups-writable',
    `groups below ${group} may not be written (${forbidden}${isMount ? ': the cgroup tree is mounted read-only' : ''})`,
    WRITABLE,
  )
}

function niceFinding(own: NodeFacts['kernel']['own'], { nice, realtimePriority }: Config['own']): Finding {
  const { ok, warn } = findingsOf('permissions')
  const id = 'capability-sys-nice'
  if (nice >= own.nice && realtimePriority === 0) return ok(id, 'CAP_SYS_NICE is not needed: own.nice asks for nothing better')
  if (own.mayRaisePriority) return ok(id, 'CAP_SYS_NICE: the agent can take its place in the queue')
  return warn(
    id,
    `CAP_SYS_NICE is missing: nice ${nice}${realtimePriority > 0 ? ` and real-time priority ${realtimePriority}` : ''} can't be taken, and on a full node the agent reacts later`,
    'Add the capability SYS_NICE, or set own.nice: 0 and own.realtimePriority: 0.',
  )
}

function ownGroupFinding(ownGroups: readonly string[]): Finding {
  const { note, ok } = findingsOf('permissions')
  const group = ownGroups.at(-1)
  if (group !== undefined) return ok('own-group', `own.weight is for ${group}`)
  return note(
    'own-group',
    'it runs in the root group, or its group is out of sight: own.weight has no effect',
    'Run it as a service or a pod, in a group of its own, with the cgroup tree of the host mounted.',
  )
}

export function judgeState({ state }: NodeFacts, { paths, journal }: Config): readonly Finding[] {
  const { fail, note, ok, warn } = findingsOf('state')
  const id = 'state-directory'
  if (state.is === 'missing') {
    return state.problem === undefined
      ? [ok(id, `${paths.state} is not there yet; the agent will make it`)]
      : [fail(id, `${paths.state}: ${state.problem}`, ERRORS.E_STATE_DIR.hint)]
  }
  if (state.is === 'unusable') return [fail(id, state.problem, state.hint ?? ERRORS.E_STATE_DIR.hint)]
  const findings = [ok(id, `${paths.state}, mode ${state.mode.toString(8)}, of user ${state.uid}`)]
  findings.push(
    state.inMemory
      ? ok('state-memory', 'in memory: no tick waits for a disk')
      : warn(
          'state-memory',
          'on a disk: a tick that writes a knob for the first time waits until its original is on it, which takes seconds where offline work floods that disk',
          'Set paths.state to a directory in memory, such as /run/kube-agent; what is in it means nothing after a reboot.',
        ),
  )
  // The old file and the new one are there together while it is rewritten.
  const neededBytes = journal.maxBytes * 2
  findings.push(
    state.freeBytes >= neededBytes
      ? ok('state-space', `${formatBytes(state.freeBytes)} free`)
      : warn(
          'state-space',
          `${formatBytes(state.freeBytes)} free: the restore journal may need ${formatBytes(neededBytes)}, and without it no further knob is written`,
          'Make room on that file system, or set paths.state to one that has some.',
        ),
  )
  if (state.lockedBy === undefined) findings.push(ok('state-lock', 'free: no agent runs in mode enforce'))
  else {
    const who = state.lockedBy === 0 ? 'an agent' : `the agent with pid ${state.lockedBy}`
    findings.push(note('state-lock', `held by ${who}, which is running; another one would be refused`))
  }
  findings.push(journalFinding(state))
  const { damagedJournals } = state
  if (damagedJournals.length > 0) {
    const found = `an agent has found its restore journal damaged: ${damagedJournals.join(' and ')}`
    findings.push(warn('state-damaged', found, SEE_TO_DAMAGE))
  }
  return findings
}

/** What a person does about a damaged journal: nothing but the file itself says what it alone told of. */
const SEE_TO_DAMAGE =
  'What it alone told of is not put back: make such groups anew (recreate their pods), or write their files by hand. Then remove it.'

function journalFinding({ lockedBy, journal }: Extract<NodeFacts['state'], { readonly is: 'there' }>): Finding {
  const { fail, note, ok, warn } = findingsOf('state')
  const id = 'state-journal'
  if (journal === undefined) return ok(id, 'none yet: the agent has not written to this node')
  if ('problem' in journal) return fail(id, journal.problem, ERRORS.E_JOURNAL.hint)
  const lines = count(journal.damagedLines, 'line')
  if (journal.boot === 'unknown')
    return fail(
      id,
      `${journal.path}: ${lines} can't be read, and no other says of which boot it is: nothing can be put back`,
      SEE_TO_DAMAGE,
    )
  if (journal.damagedLines > 0 && journal.boot === 'this')
    return warn(
      id,
      `${journal.path}: ${lines} can't be read, ${count(journal.outstanding, 'knob')} can be put back`,
      'An agent, or kube-agent release, keeps the file beside a new one. What only the lost lines told of is not put back.',
    )
  if (journal.boot === 'another') return ok(id, `${journal.path} is of an earlier boot, which has put back everything`)
  if (journal.outstanding === 0) return ok(id, `${journal.path}: nothing to put back`)
  const found = `${journal.path}: ${count(journal.outstanding, 'knob')} of ${count(journal.groups, 'group')} to be put back (${formatBytes(journal.bytes)})`
  return lockedBy === undefined
    ? note(id, `${found}, and no agent runs`, 'Start the agent again, or put them back with: kube-agent release')
    : ok(id, found)
}
