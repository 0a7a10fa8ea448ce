/**
 * Wires the rooms into an agent for a real node: the one place that knows them all. Steps are in the order of start-up, and each either
 * succeeds or throws one AgentError before anything on the node has been written.
 */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { performance } from 'node:perf_hooks'
import { Actuator, RestoreJournal } from './actuate/index.ts'
import { Agent, type Publisher, type Tape, type TickSink, type Writing } from './agent/index.ts'
import type { Config } from './config/index.ts'
import { openKernel, requireWritable, type OpenedKernel } from './kernel/index.ts'
import { AgentError, type Evictor, type Instant, messageOf, type Mode, type PodSource } from './model/index.ts'
import { PodDirectory, Sensor } from './sense/index.ts'

/** Both clocks of this machine. */
export function realNow(): Instant {
  return { nowMs: performance.now(), wallMs: Date.now() }
}

function cpuMs(): number {
  const { user, system } = process.cpuUsage()
  return (user + system) / 1000
}

/** Opens the node's kernel interfaces as configured. */
export function openNode(config: Config): OpenedKernel {
  return openKernel({
    cgroupPath: config.paths.cgroup,
    procPath: config.paths.proc,
    sysPath: config.paths.sys,
    cgroupRoot: config.node.cgroupRoot,
    driver: config.node.cgroupDriver,
    coreScheduling: config.identity.coreScheduling,
  })
}

/**
 * The ID of this boot. Throws E_STATE_DIR where it can't be read: by it alone originals on record are told from those of an earlier boot, which
 * must not be written to groups of this one.
 */
function bootIdOf({ paths }: Config): string {
  const path = join(paths.proc, 'sys/kernel/random/boot_id')
  const complain = (why: string, cause?: unknown): AgentError =>
    new AgentError('E_STATE_DIR', `the restore journal can't be used without the ID of this boot (${path}): ${why}`, {
      hint: 'Mount the host /proc and set paths.proc to it.',
      cause,
    })
  try {
    const text = readFileSync(path, 'latin1').trim()
    if (text !== '') return text
  } catch (thrown) {
    throw complain(messageOf(thrown), thrown)
  }
  throw complain('the file is empty')
}

/** Opens the restore journal and what writes. Throws E_STATE_DIR, and E_JOURNAL for a journal of a newer version. */
export function openWriting(config: Config, { kernel }: Pick<OpenedKernel, 'kernel'>): Writing {
  requireWritable(kernel.capabilities)
  const journal = new RestoreJournal({
    stateDirectory: config.paths.state,
    bootId: bootIdOf(config),
    maxBytes: config.journal.maxBytes,
    groupId: (group) => kernel.groupId(group),
    now: () => performance.now(),
    marks: { enabled: config.journal.marks, open: () => kernel.openMarks(), now: () => performance.now() },
  })
  return { journal, actuator: new Actuator(kernel, journal) }
}

/** Pods from the configured directory of manifests. */
export function openPodDirectory(config: Config): PodSource {
  const { directory, rescanMs, maxPods } = config.pods
  return new PodDirectory({ directory, rescanMs, maxPods, now: () => performance.now() })
}

export interface ComposedAgent {
  readonly agent: Agent
  readonly pods: PodSource
}

export interface AgentParts {
  readonly config: Config
  readonly mode: Mode
  readonly node: OpenedKernel
  readonly sink: TickSink
  /** @default the configured directory of manifests */
  readonly pods?: PodSource
  readonly writing?: Writing
  readonly publisher?: Publisher
  readonly evictor?: Evictor
  readonly tape?: Tape
}

/** An agent on an opened node. The caller closes the `pods` that come back. */
export function composeAgent({
  config,
  mode,
  node,
  sink,
  writing,
  publisher,
  evictor,
  tape,
  ...rest
}: AgentParts): ComposedAgent {
  const pods = rest.pods ?? openPodDirectory(config)
  const stopwatch = (): number => performance.now()
  try {
    const agent = new Agent({
      kernel: node.kernel,
      sensor: new Sensor({ kernel: node.kernel, pods, layout: node.layout, windowMs: config.suppressCpu.windowMs, stopwatch }),
      config,
      mode,
      ...(writing === undefined ? {} : { writing }),
      ...(publisher === undefined ? {} : { publisher }),
      ...(evictor === undefined ? {} : { evictor }),
      ...(tape === undefined ? {} : { tape }),
      sink,
      stopwatch,
      cpuMs,
    })
    return { agent, pods }
  } catch (thrown) {
    // Its watch would keep a process alive that has failed to start.
    pods.close()
    throw thrown
  }
}
