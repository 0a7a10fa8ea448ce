/**
 * The pages of `run`, served while the demo plays: the recorder takes the same ticks, on the clock of the bed. Loopback only; the port is
 * free again when the play is over.
 */
import type { TickSink } from '../../agent/index.ts'
import type { Config } from '../../config/index.ts'
import type { DevicePlugins } from '../../kubelet/index.ts'
import { createLogger, Recorder } from '../../record/index.ts'
import { startHttp } from '../../serve/index.ts'
import { addressOf } from '../client.ts'
import { statesOf } from '../plugins.ts'
import { VERSION } from '../version.ts'
import type { Bed } from './bed.ts'

const HOST = '127.0.0.1'

export interface DemoPages {
  readonly sink: TickSink
  /** URL of the status page. */
  readonly address: string
  close(): Promise<void>
}

/** Listens on `port`, 0 for any free one. Throws AgentError E_HTTP_LISTEN. */
export async function openPages(bed: Bed, config: Config, plugins: DevicePlugins, port: number): Promise<DemoPages> {
  // The play is told on standard output; what goes wrong with a request is on its page.
  const logger = createLogger(config.log.level, { write: () => undefined })
  const { nowMs, wallMs } = bed.now()
  const recorder = new Recorder({
    version: VERSION,
    nodeName: config.node.name,
    logger,
    maxDecisions: config.journal.decisions,
    startedWallMs: wallMs,
    startedMs: nowMs,
  })
  const http = await startHttp({ host: HOST, port, recorder, now: () => bed.now(), logger })
  const sink: TickSink = {
    tick: (record) => {
      recorder.resources(statesOf(config, plugins))
      recorder.tick(record)
    },
    tickFailed: (thrown, at) => recorder.tickFailed(thrown, at),
    guardBeat: (lateMs, late) => recorder.guardBeat(lateMs, late),
  }
  return { sink, address: `http://${addressOf({ host: HOST, port: http.port })}/`, close: () => http.close() }
}
