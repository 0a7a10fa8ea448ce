/**
 * One look at the node without an agent: a few seconds of readings, a decision, a plan, and nothing written. For `plan`, and for `explain`
 * when no agent answers. It knows nothing of the past: what an agent would restore is not in its plan.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { composeAgent, openNode, realNow } from '../compose.ts'
import type { Config } from '../config/index.ts'
import { AgentError, type TickRecord } from '../model/index.ts'
import { createLogger, Recorder } from '../record/index.ts'
import { nodeNameOf, openCluster } from './cluster.ts'
import { VERSION } from './version.ts'

const SAMPLE_MS = 100

export interface Look {
  readonly recorder: Recorder
  readonly record: TickRecord
}

/** Looks at the node for as long as suppression needs to decide. Throws what opening the node throws, and E_BUG when a tick fails. */
export async function lookOnce(config: Config): Promise<Look> {
  const node = openNode(config)
  const began = realNow()
  const logger = createLogger('error')
  const recorder = new Recorder({
    version: VERSION,
    nodeName: nodeNameOf(config),
    logger,
    maxDecisions: config.journal.decisions,
    startedWallMs: began.wallMs,
    startedMs: began.nowMs,
  })
  const cluster = openCluster(config, { writes: false, environment: process.env })
  try {
    const { agent } = composeAgent({ config, mode: 'plan', node, sink: recorder, pods: cluster.pods })
    agent.tick(realNow(), 0)
    const untilMs = realNow().nowMs + config.suppressCpu.dwellMs * 2 + SAMPLE_MS
    while (realNow().nowMs < untilMs) {
      await sleep(SAMPLE_MS)
      agent.tick(realNow(), 0)
    }
    const record = agent.tick(realNow(), 0)
    if (record === undefined) throw new AgentError('E_BUG', 'the node could not be sensed; the line above says why')
    return { recorder, record }
  } finally {
    cluster.close()
  }
}
