/**
 * Somebody else who keeps writing a knob of the agent, on the real kernel: a process of its own that fights for the weight of a pod. The
 * agent repairs it, then leaves it to him, then tries again, and a release puts back what was there.
 */
import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { afterEach, describe, expect, it } from 'vitest'
import type { DriftNews } from '../../src/model/index.ts'
import { realNow } from '../../src/compose.ts'
import { RealNode, type RealPod, type RunningAgent, settled, whyNotHere } from '../support/real-node.ts'

const FLINK: RealPod = { uid: 'flink', qos: 'BestEffort', asks: { 'be-cpu': 5, 'be-memory': 1 } }
const CONCEDE_MS = 4000
const HIS = '4321'

let node: RealNode | undefined
let writer: ChildProcess | undefined

async function endWriter(): Promise<void> {
  if (writer === undefined || writer.exitCode !== null || writer.signalCode !== null) return
  const ended = once(writer, 'exit')
  writer.kill('SIGKILL')
  await ended
}

afterEach(async () => {
  await endWriter()
  writer = undefined
  await node?.close()
  node = undefined
})

const news = ({ records }: RunningAgent): DriftNews['is'][] =>
  records.flatMap(({ drift }) => (drift?.news ?? []).map(({ is }) => is))

describe('a process that keeps writing a knob of the agent', () => {
  it('is undone, then given way to with its value left, then undone again after drift.concedeMs', async (context) => {
    const reason = whyNotHere()
    if (reason !== undefined) return context.skip(reason)
    const opened = await RealNode.open({ 'drift.maxPerMinute': 3, 'drift.concedeMs': CONCEDE_MS })
    node = opened
    opened.startPod(FLINK)
    const before = opened.photograph()
    const running = opened.startAgent()
    await opened.tickUntil(running, settled)
    const name = running.node.kernel.capabilities.dialect === 'v1' ? 'cpu.shares' : 'cpu.weight'
    const file = opened.groups.fileOf(opened.groupOf(FLINK), 'cpu', name)
    const read = (): string => opened.read(opened.groupOf(FLINK), 'cpu', name)
    const ours = read()
    expect(ours).not.toBe(HIS)
    // At most a minute, whatever becomes of this test.
    const loop = 'for i in $(seq 600); do echo "$2" > "$1"; sleep 0.1; done'
    writer = spawn('sh', ['-c', loop, 'sh', file, HIS], { stdio: 'ignore' })
    await opened.tickUntil(running, () => news(running).includes('conceded'), 20)
    const concededMs = realNow().nowMs
    expect(news(running)).toEqual(['first', 'conceded'])
    const repairs = running.records
      .flatMap(({ results }) => results)
      .filter(({ step }) => step.kind === 'weight' && step.group === opened.groupOf(FLINK))
    // The first write, and a repair each time but the last.
    expect(repairs.map(({ outcome }) => outcome.is)).toEqual(['applied', 'applied', 'applied', 'applied'])
    await opened.tickUntil(running, () => realNow().nowMs - concededMs > CONCEDE_MS / 2)
    expect(read()).toBe(HIS)
    await endWriter()
    const from = running.records.length
    await opened.tickUntil(running, () => read() === ours, 20)
    expect(realNow().nowMs - concededMs).toBeGreaterThan(CONCEDE_MS - 100)
    expect(news(running)).toEqual(['first', 'conceded', 'retried'])
    expect(running.records.slice(from).every(({ drift }) => drift?.found.weight === undefined)).toBe(true)
    expect(running.failures).toEqual([])
    expect(running.agent.release(realNow().nowMs)).toMatchObject({ failed: [], foreign: [] })
    // He wrote it before the agent took it up again: that is what was there.
    expect(read()).toBe(HIS)
    const now = opened.photograph()
    expect([...before].filter(([path, text]) => path !== file && now.get(path) !== text)).toEqual([])
  }, 90_000)
})
