/**
 * The verb `run`: the daemon. Order of start-up: configuration, node, lock, journal, kubelet socket, then registration and the loop at
 * once, and everything that can wait after it. On SIGTERM and SIGINT it finishes the step it is in, releases if so configured, and ends.
 */
import { existsSync } from 'node:fs'
import { setImmediate as nextTurn, setTimeout as sleep } from 'node:timers/promises'
import { journalPath } from '../actuate/index.ts'
import { type Agent, type Writing, Loop } from '../agent/index.ts'
import { composeAgent, openNode, openWriting, realNow } from '../compose.ts'
import { loadConfig, type Config, type ConfigSources, type LoadedConfig } from '../config/index.ts'
import { kubeletSocketProblem } from '../kubelet/index.ts'
import { raiseOwnPriority, readHostFacts, requireWritable, type OpenedKernel } from '../kernel/index.ts'
import { AgentError, EXIT, MODES, type ExitCode } from '../model/index.ts'
import { briefStatus, type Logger, LogLevels, openLog, Recorder } from '../record/index.ts'
import { type FlagInForce, startHttp } from '../serve/index.ts'
import { CONFIG_FLAGS, type Flags, PATH_FLAGS } from './args.ts'
import { apiServerOf, nodeNameOf, openCluster, sinkOf, tellCluster, withdrawalOf } from './cluster.ts'
import { flagsInForce } from './flags-in-force.ts'
import { lockNode } from './node-lock.ts'
import { startPlugins } from './plugins.ts'
import { keepRecording } from './recording.ts'
import { ReleaseDesk } from './release-desk.ts'
import { followConfig } from './reload.ts'
import { configSources } from './settings.ts'
import { awaitSlowWrites, endProcess } from './slow-writes.ts'
import { openSupervision } from './supervise.ts'
import { stopSignal, Teardown, type StopSignal } from './teardown.ts'
import type { Verb } from './verb.ts'
import { VERSION } from './version.ts'

const SOCKET_POLL_MS = 200
/** A loop that has not turned for this long is stuck. */
const LIVE_MS = 10_000

const FLAGS: Flags = {
  ...CONFIG_FLAGS,
  ...PATH_FLAGS,
  mode: { type: 'string', value: 'MODE', completes: MODES, help: 'observe (default), plan, or enforce.' },
}

export const run: Verb = {
  usage: 'kube-agent run [--mode MODE] [--config FILE]',
  summary: 'Run the agent on this node.',
  details: `
Without --mode or a configuration it only observes: it senses and decides, shows what it would do on
/statusz, and neither writes to a cgroup nor advertises anything. --mode enforce does both.

On SIGTERM or SIGINT it ends within seconds. What it wrote stays in force (onExit: hold), so that a
restart disturbs no pod; with onExit: release, or later with kube-agent release, every knob goes back.

SIGHUP reads the configuration again, and puts the configured log level back. SIGUSR2 puts the log level
debug in force (trace where debug is the configured one), and the next SIGUSR2 the configured one.`,
  flags: FLAGS,
  maxOperands: 0,
  run: async (parsed) => runAgent(configSources(parsed), flagsInForce(FLAGS, parsed, process.env)),
}

async function runAgent(sources: ConfigSources, flags: readonly FlagInForce[]): Promise<ExitCode> {
  // Sockets and files that the agent makes are for its own user alone; the kubelet runs as the same.
  process.umask(0o077)
  const loaded = loadConfig(sources)
  const { config } = loaded
  const log = openLog(config.log.level)
  const { logger } = log
  const levels = new LogLevels(logger, config.log.level)
  process.on('SIGUSR2', () => levels.toggle())
  const stop = stopSignal()
  // A mistake in the configuration is told before anything about the node.
  apiServerOf(config, process.env)
  const node = openNode(config)
  const enforcing = config.mode === 'enforce'
  if (enforcing) requireWritable(node.kernel.capabilities)
  if (enforcing && config.kubelet.enabled && (await waitForKubelet(config, stop)) === 'stopped') return EXIT.ok
  if (await isStoppedEarly(config, stop)) return EXIT.ok
  const teardown = new Teardown()
  let writing: Writing | undefined
  try {
    const desk = new ReleaseDesk()
    if (enforcing) {
      const { unlock, problem } = await lockNode(config, node, desk.take)
      teardown.add(unlock)
      if (problem !== undefined) logger.warn({ problem }, 'another agent on this cgroup root would not be noticed')
    }
    writing = enforcing ? openWriting(config, node) : undefined
    if (writing !== undefined) {
      const { journal, actuator } = writing
      teardown.add(() => journal.end())
      // However the run ends: none may begin after the journal was let go of.
      teardown.add(() => void actuator.stopSlowWrites())
      for (const problem of raiseOwnPriority(config.own)) logger.warn({ problem }, 'own priority not raised')
      const { marks } = journal
      logger.info(
        { journal: journal.path, knobs: journal.entries.size, damagedLines: journal.damagedLines, marks: marks.state },
        'journal opened',
      )
      if (marks.problem !== undefined) logger.warn({ problem: marks.problem }, 'marks of groups; see kube-agent doctor')
      const { damage } = journal.health
      if (damage !== undefined) logger.error({ damage }, 'restore journal damaged; see kube-agent doctor')
    }
    const { agent, loop } = await start(loaded, sources, {
      log,
      levels,
      flags,
      node,
      stop,
      desk,
      teardown,
      ...(writing === undefined ? {} : { writing }),
    })
    logger.info({ mode: config.mode, dialect: node.kernel.capabilities.dialect, version: VERSION }, 'agent started')
    await stop.promise
    // Before anything else: a tick after the release would suppress again.
    loop.stop()
    logger.info({ onExit: config.onExit }, 'stopping')
    if (writing !== undefined) await awaitSlowWrites(writing.actuator, logger)
    return config.onExit === 'release' ? releaseOnExit(agent, writing, logger) : EXIT.ok
  } finally {
    await teardown.run(logger)
    const hangs = teardown.hangs || (writing !== undefined && writing.actuator.underWay > 0)
    // Who was asked to stop waits for nothing that somebody has left behind; a start that failed has its error to tell first.
    if (hangs || stop.asked) endProcess(logger, { hangs })
  }
}

/**
 * A kubelet that restarts has no socket for a moment; a node without a kubelet is a mistake to be told of. But where an agent has written
 * before, limits are in force that have to follow the load, whether or not the kubelet runs just now.
 */
async function waitForKubelet(config: Config, stop: StopSignal): Promise<'there' | 'stopped'> {
  if (existsSync(journalPath(config.paths.state))) return 'there'
  const deadlineMs = realNow().nowMs + config.kubelet.waitMs
  for (;;) {
    const problem = await kubeletSocketProblem(config.paths.devicePlugins)
    if (problem === undefined) return 'there'
    if (realNow().nowMs >= deadlineMs) throw new AgentError('E_NO_KUBELET', problem)
    await Promise.race([sleep(SOCKET_POLL_MS), stop.promise])
    if (stop.asked) return 'stopped'
  }
}

/**
 * Whether it was asked to stop before it began, and has nothing to undo: then the kubelet and the node are not troubled. What has come while Node
 * read the program is delivered in the first turn of the loop.
 */
async function isStoppedEarly(config: Config, stop: StopSignal): Promise<boolean> {
  await nextTurn()
  return stop.asked && (config.onExit === 'hold' || !existsSync(journalPath(config.paths.state)))
}

interface Parts {
  readonly log: ReturnType<typeof openLog>
  readonly levels: LogLevels
  readonly flags: readonly FlagInForce[]
  readonly node: OpenedKernel
  readonly stop: StopSignal
  readonly desk: ReleaseDesk
  readonly teardown: Teardown
  readonly writing?: Writing
}

interface Started {
  readonly agent: Agent
  readonly loop: Loop
}

/** Registers, starts the loop and then what can wait. Whatever was started is on the teardown by the time something throws. */
async function start(loaded: LoadedConfig, sources: ConfigSources, parts: Parts): Promise<Started> {
  const { log, levels, flags, node, stop, teardown, writing } = parts
  const { logger } = log
  const { config } = loaded
  const began = realNow()
  const recorder = new Recorder({
    version: VERSION,
    nodeName: nodeNameOf(config),
    logger,
    maxDecisions: config.journal.decisions,
    startedWallMs: began.wallMs,
    startedMs: began.nowMs,
    maxPodSeries: config.metrics.perPod ? config.metrics.maxPods : 0,
    levels,
  })
  const advertises = writing !== undefined && config.kubelet.enabled
  const plugins = advertises ? await startPlugins(config, { logger, recorder, teardown }) : undefined
  const cluster = openCluster(config, { writes: writing !== undefined, logger, environment: process.env })
  teardown.add(() => cluster.close())
  const supervision = openSupervision({
    environment: process.env,
    logger,
    calmMs: config.loop.calmMs,
    isReady: () => recorder.ready().ok,
    brief: (nowMs) => briefStatus(recorder.status(nowMs)),
  })
  void stop.promise.then(() => supervision?.stopping())
  const sink = sinkOf(recorder, cluster)
  const { agent, pods } = composeAgent({
    config,
    mode: config.mode,
    node,
    ...keepRecording(config, supervision?.watch(sink) ?? sink, { recorder, logger, teardown }),
    pods: cluster.pods,
    ...(writing === undefined ? {} : { writing }),
    ...(plugins === undefined ? {} : { publisher: plugins }),
    evictor: cluster.evictor,
  })
  const loop = new Loop({ agent, guardMs: config.loop.guardMs, now: realNow })
  teardown.add(() => loop.stop())
  pods.onChange(() => loop.wantTick())
  recorder.watch('source', () => agent.runs.source)
  recorder.watch('rule', () => agent.runs.rule)
  if (writing !== undefined) {
    const { run, marks } = writing.journal
    recorder.watch('sink', () => (marks.isOn ? [run, marks.run] : [run]))
  }
  recorder.watch('sink', () => [log.run])
  loop.start()
  const followed = followConfig(loaded, sources, { agent, recorder, levels })
  teardown.add(() => followed.stop())
  if (config.http.enabled) {
    const liveMaxAgeMs = Math.max(LIVE_MS, config.loop.calmMs * 5)
    const shown = { configText: followed.text, configJson: followed.json, flags }
    const http = await startHttp({ ...config.http, ...shown, recorder, now: realNow, logger, liveMaxAgeMs })
    teardown.add(() => http.close())
    logger.info({ host: config.http.host, port: http.port }, 'serving HTTP')
  }
  tellCluster(cluster, recorder, { config, teardown })
  if (writing !== undefined) parts.desk.open({ agent, loop, writing, logger, withdraw: withdrawalOf(cluster, config) })
  void readHostFacts().then((facts) => recorder.host(facts))
  return { agent, loop }
}

function releaseOnExit(agent: Agent, writing: Writing | undefined, logger: Logger): ExitCode {
  const report = agent.release(realNow().nowMs)
  // What only a later version can put back is left behind as well.
  const failed = report === undefined ? 0 : report.failed.length + report.unknown.length
  logger.info({ restored: report?.restored ?? 0, failed, foreign: report?.foreign.length ?? 0 }, 'released')
  const marked = writing?.journal.marks.left
  if (marked !== undefined) logger.warn({ problem: marked }, 'groups are still marked')
  return failed === 0 && marked === undefined ? EXIT.ok : EXIT.failed
}
