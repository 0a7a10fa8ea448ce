/**
 * The verb `record`: a recording of this node without a running agent, for `replay`. It senses and decides as `run --mode observe` does and
 * writes nothing but its file, so it takes no lock and may run beside an agent.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { composeAgent, openNode, realNow } from '../compose.ts'
import type { Config } from '../config/index.ts'
import { Loop } from '../agent/index.ts'
import { AgentError, EXIT, type ExitCode, messageOf } from '../model/index.ts'
import { count, createLogger, FileStore, formatDuration, Recorder, type RecordingState } from '../record/index.ts'
import { CONFIG_FLAGS, durationFlag, JSON_FLAG, type Parsed, PATH_FLAGS, textFlag } from './args.ts'
import { nodeNameOf, openCluster } from './cluster.ts'
import { endRecording, recordedSink, recordingInto } from './recording.ts'
import { configOf } from './settings.ts'
import { endProcess } from './slow-writes.ts'
import { stopSignal } from './teardown.ts'
import { print, type Verb } from './verb.ts'
import { VERSION } from './version.ts'

const DEFAULT_MS = 30_000
const MOST_MS = 7 * 24 * 3_600_000
/** How often the end of the recording by its bound is looked for. */
const LOOK_MS = 200

export const record: Verb = {
  usage: 'kube-agent record [--for TIME] [--out FILE] [--config FILE]',
  summary: 'Record what this node is like and what would be decided, for replay.',
  details: `
Reads the node and decides as kube-agent run --mode observe does, and writes nothing but FILE, so it may
run beside an agent. Ends after --for, with Ctrl-C, or when FILE has reached recording.maxBytes; FILE is
good in each case. It holds the names and labels of the pods on the node, and is made for its user alone.

A running agent keeps a recording with recording.enabled: true. Decide again with kube-agent replay.`,
  flags: {
    ...CONFIG_FLAGS,
    ...PATH_FLAGS,
    for: { type: 'string', value: 'TIME', help: 'How long, as in 90s, 10m or 1h. Default: 30s.' },
    out: { type: 'string', short: 'o', value: 'FILE', help: 'A file that is not there yet. Default: NODE-TIME.recording.' },
    ...JSON_FLAG,
  },
  maxOperands: 0,
  run: async (parsed) => {
    const { config } = configOf(parsed)
    const forMs = durationFlag(parsed, 'for', { leastMs: 1000, mostMs: MOST_MS }) ?? DEFAULT_MS
    const path = textFlag(parsed, 'out') ?? defaultName(config)
    return recordNode(parsed, config, { path, forMs })
  },
}

function defaultName(config: Config): string {
  const time = new Date().toISOString().slice(0, 19).replaceAll(/[-:]/g, '')
  return `${nodeNameOf(config)}-${time}Z.recording`
}

async function recordNode(
  parsed: Parsed,
  config: Config,
  { path, forMs }: { readonly path: string; readonly forMs: number },
): Promise<ExitCode> {
  process.umask(0o077)
  const stop = stopSignal()
  const node = openNode(config)
  const store = new FileStore(path, config.recording.maxBytes)
  const over = new AbortController()
  const recording = recordingInto(store, config, {
    segmentBytes: Infinity,
    onChange: (state) => state.pausedBy !== undefined && over.abort(),
  })
  const logger = createLogger('error')
  const began = realNow()
  const recorder = new Recorder({
    version: VERSION,
    nodeName: nodeNameOf(config),
    logger,
    maxDecisions: 1,
    startedWallMs: began.wallMs,
    startedMs: began.nowMs,
  })
  const cluster = openCluster(config, { writes: false, environment: process.env })
  const sink = recordedSink(recorder, recording)
  const { agent, pods } = composeAgent({ config, mode: 'observe', node, sink, pods: cluster.pods, tape: recording })
  const loop = new Loop({ agent, guardMs: config.loop.guardMs, now: realNow })
  try {
    pods.onChange(() => loop.wantTick())
    if (parsed.flags['json'] !== true) process.stderr.write(`recording to ${path} for ${formatDuration(forMs)}; Ctrl-C ends it\n`)
    loop.start()
    for (const endMs = began.nowMs + forMs; realNow().nowMs < endMs && !stop.asked && !over.signal.aborted;)
      await Promise.race([sleep(Math.min(LOOK_MS, Math.max(1, endMs - realNow().nowMs))), stop.promise])
  } finally {
    loop.stop()
    cluster.close()
  }
  const end = await endRecording(recording).catch((thrown: unknown) => {
    throw new AgentError('E_RECORDING', `can't write ${path}: ${messageOf(thrown)}`, { hint: WRITE_HINT, cause: thrown })
  })
  if (end === 'hangs') {
    endProcess(logger, { hangs: true })
    throw new AgentError('E_RECORDING', `can't write ${path}: the disk does not answer`, { hint: WRITE_HINT })
  }
  return tell(parsed, path, recording.state, realNow().nowMs - began.nowMs)
}

const WRITE_HINT = 'Name another file with --out, on a disk with room.'

/** Ended by its bound is ended well; a file that could not be written is not. */
function tell(parsed: Parsed, path: string, state: RecordingState, tookMs: number): ExitCode {
  const { pausedBy, over, ticks, bytes } = state
  if (pausedBy !== undefined && (!over || ticks === 0 || bytes === 0))
    throw new AgentError('E_RECORDING', `can't write ${path}: ${pausedBy}`, { hint: WRITE_HINT })
  if (ticks === 0)
    throw new AgentError('E_RECORDING', 'no tick was recorded: the node could not be sensed', { hint: 'See: kube-agent doctor' })
  if (parsed.flags['json'] === true) print(JSON.stringify({ path, ticks, bytes, tookMs: Math.round(tookMs), full: over }))
  else {
    if (over) print(`full: ${pausedBy ?? ''}`)
    print(`${count(ticks, 'tick')} in ${formatDuration(tookMs)}, ${bytes} bytes: ${path}`)
    print(`decide again with: kube-agent replay ${path} --set suppressCpu.watermarkPermyriad=6000`)
  }
  return EXIT.ok
}
