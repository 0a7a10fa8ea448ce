/** Resident memory of the bundle after a minute of `run --mode enforce` with pods, a stand-in kubelet and scrapes. */
import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { stringify } from 'yaml'
import { KubeletStandIn } from '../../src/sim/index.ts'
import type { Result } from './main.ts'
import { BenchNode } from './node.ts'

const RUN_MS = 60_000
const SCRAPE_MS = 5_000
const PORT = 19_465

/** Kernel: VmRSS of /proc/PID/status, in KiB. */
function rssMiB(child: ChildProcess): number {
  return Number(/^VmRSS:\s+(\d+)/m.exec(readFileSync(`/proc/${child.pid}/status`, 'latin1'))?.[1] ?? Number.NaN) / 1024
}

export async function rssBench(name: string, count: number): Promise<Result> {
  const node = new BenchNode()
  node.addPods(count)
  const sockets = join(node.directory, 'dp')
  const kubelet = new KubeletStandIn({ directory: sockets, random: Math.random })
  await kubelet.start()
  const file = join(node.directory, 'config.yaml')
  const settings = {
    mode: 'enforce',
    node: { cgroupRoot: node.sandbox.root },
    paths: { state: join(node.directory, 'state'), devicePlugins: sockets },
    pods: { directory: join(node.directory, 'pods') },
    http: { port: PORT },
    log: { level: 'warn' },
  }
  writeFileSync(file, stringify(settings))
  const agent = spawn('dist/kube-agent.mjs', ['run', '--config', file], { stdio: 'inherit' })
  const bare = spawn(process.execPath, ['-e', 'setInterval(() => {}, 1000)'], { stdio: 'inherit' })
  try {
    const untilMs = performance.now() + RUN_MS
    while (performance.now() < untilMs && agent.exitCode === null) {
      await sleep(SCRAPE_MS)
      await fetch(`http://127.0.0.1:${PORT}/metrics`, { signal: AbortSignal.timeout(SCRAPE_MS) }).then((answer) => answer.text())
    }
    const value = rssMiB(agent)
    const floor = rssMiB(bare)
    return { name, value, unit: 'MiB', floor, ratio: value / floor, goal: 80, ok: value <= 80 }
  } finally {
    for (const child of [agent, bare]) {
      const ended = once(child, 'exit')
      child.kill('SIGTERM')
      await ended
    }
    await kubelet.stop()
    await node.close()
  }
}
