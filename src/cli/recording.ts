/** Recordings as the verbs make them: the one a running agent keeps in its directory, and the pieces that `record` shares with it. */
import { setTimeout as sleep } from 'node:timers/promises'
import { openStateDirectory } from '../actuate/index.ts'
import type { Tape, TickSink } from '../agent/index.ts'
import { realNow } from '../compose.ts'
import { fileSettings, type Config } from '../config/index.ts'
import { lasting, type Memory } from '../decide/index.ts'
import { messageOf, Run } from '../model/index.ts'
import {
  type ConfigObject,
  DirectoryStore,
  type Logger,
  type Recorder,
  Recording,
  type RecordingState,
  type Store,
} from '../record/index.ts'
import { nodeNameOf } from './cluster.ts'
import type { Teardown } from './teardown.ts'
import { VERSION } from './version.ts'

/** A disk that hangs must not keep the agent from ending, nor take more than its share of the five seconds for that. */
const MOST_END_MS = 1500
/** Room for a restore journal and a log many times over. */
const LEAVE_BYTES = 64 * 1024 * 1024

/** A recording of what an agent under `config` decides, into a store. */
export function recordingInto(
  store: Store,
  config: Config,
  { segmentBytes, onChange }: { readonly segmentBytes: number; readonly onChange: (state: RecordingState) => void },
): Recording {
  return new Recording({
    store,
    header: { version: VERSION, nodeName: nodeNameOf(config), session: `${Date.now().toString(36)}-${process.pid}` },
    segmentBytes,
    flushMs: config.recording.flushMs,
    settingsOf: (recorded: ConfigObject) => fileSettings(recorded as Config),
    lasting: (memory) => lasting(memory as Memory),
    onChange,
    now: () => realNow().nowMs,
  })
}

/** Ends a recording, or gives it up after a while: then a thread of this process is still in the kernel. Rejects with what its store says. */
export async function endRecording(recording: Recording): Promise<'ended' | 'hangs'> {
  const ended = new AbortController()
  const late = sleep(MOST_END_MS, 'hangs' as const, { signal: ended.signal })
  late.catch(() => undefined)
  try {
    return await Promise.race([recording.end().then(() => 'ended' as const), late])
  } finally {
    ended.abort()
  }
}

/** The sink of an agent that is recorded. What it is told, `sink` is told first. */
export function recordedSink(sink: TickSink, recording: Recording, afterTick: () => void = () => undefined): TickSink {
  return {
    tick: (record) => {
      sink.tick(record)
      recording.tick(record)
      if (record.snapshot.pace === 'calm') afterTick()
    },
    tickFailed: (thrown, at) => sink.tickFailed(thrown, at),
    guardBeat: (lateMs, late) => sink.guardBeat(lateMs, late),
  }
}

/**
 * What a running agent tells of its ticks, and to whom: with recording.enabled also to a recording, which ends with the teardown. In a directory
 * that can't be made, or that others may write in, nothing is recorded, and it is said: to protect online work matters more.
 */
export function keepRecording(
  config: Config,
  sink: TickSink,
  { recorder, logger, teardown }: { readonly recorder: Recorder; readonly logger: Logger; readonly teardown: Teardown },
): { readonly sink: TickSink; readonly tape?: Tape } {
  const { enabled, directory, maxBytes, segmentBytes } = config.recording
  if (!enabled) return { sink }
  try {
    openStateDirectory(directory, 'recording.directory')
  } catch (thrown) {
    const reason = messageOf(thrown)
    recorder.recording({ pausedBy: reason, over: true, ticks: 0, missedTicks: 0, bytes: 0 })
    const run = new Run('recording')
    run.failed(reason, realNow().nowMs)
    recorder.watch('sink', () => [run])
    logger.error({ directory, reason }, 'nothing is recorded; the agent goes on')
    return { sink }
  }
  const recording = recordingInto(new DirectoryStore(directory, maxBytes, LEAVE_BYTES), config, {
    segmentBytes,
    onChange: (state) => {
      recorder.recording(state)
      const { pausedBy, missedTicks } = state
      if (pausedBy !== undefined) logger.warn({ directory, reason: pausedBy }, 'recording paused; the agent goes on')
      else logger.info({ directory, missedTicks }, 'recording goes on')
    },
  })
  recorder.watch('sink', () => [recording.run])
  teardown.add(async () => {
    if ((await endRecording(recording)) === 'ended') return
    teardown.hangs = true
    logger.warn(
      { directory, graceMs: MOST_END_MS },
      'the disk of the recording does not answer: what was not written is given up',
    )
  })
  return { sink: recordedSink(sink, recording, () => recorder.recording(recording.state)), tape: recording }
}
