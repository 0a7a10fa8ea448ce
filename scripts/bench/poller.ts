/**
 * What the agent is compared with: a loop that once a second works out the same allowance from the same two counters, averaged over that
 * second, and writes it. It writes to a group without processes, so that both can be measured on the same spikes.
 */
import type { GroupPath, KernelPort } from '../../src/model/index.ts'
import { quotaOf } from '../../src/model/index.ts'
import type { BenchNode } from './node.ts'

const PERIOD_MS = 1000

export interface PollerSettings {
  readonly node: BenchNode
  readonly kernel: KernelPort
  /** Group whose quota it writes. */
  readonly group: GroupPath
  readonly cpus: number
  /** Of the capacity: watermark less margin, and floor. */
  readonly roomPermyriad: number
  readonly floorPermyriad: number
}

/** Starts it; returns what stops it. */
export function startPoller({ node, kernel, group, cpus, roomPermyriad, floorPermyriad }: PollerSettings): () => void {
  const look = () => ({
    atMs: performance.now(),
    nodeUs: kernel.readNodeCpuUs() ?? Number.NaN,
    offlineUs: kernel.readCpuUsageUs(node.offlineRoot) ?? Number.NaN,
  })
  let before = look()
  const poll = (): void => {
    const now = look()
    const onlineMilli = (now.nodeUs - before.nodeUs - (now.offlineUs - before.offlineUs)) / (now.atMs - before.atMs)
    before = now
    const milli = Math.max((cpus * floorPermyriad) / 10, (cpus * roomPermyriad) / 10 - onlineMilli)
    if (Number.isFinite(milli)) node.writeQuota(group, quotaOf(milli))
  }
  const timer = setInterval(poll, PERIOD_MS)
  return () => clearInterval(timer)
}
