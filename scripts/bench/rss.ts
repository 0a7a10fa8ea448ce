/** Resident memory of the bundle after a minute of `run --mode enforce` with pods, 8,000 devices, a stand-in kubelet and scrapes. */
import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { pause } from './stop.ts'
import { deviceId } from '../../src/kubelet/device-ids.ts'
import { OFFLINE_RESOURCES } from '../../src/model/index.ts'
import { KubeletStandIn } from '../../src/sim/index.ts'
import type { Result } from './result.ts'
import { BenchNode } from './node.ts'

const RUN_MS = 60_000
const SCRAPE_MS = 5_000
const PORT = 19_465
const REGISTERED = 2_000

/** Kernel: VmRSS of /proc/PID/status, in KiB. */
function rssMiB(child: ChildProcess): number {
  return Number(/^VmRSS:\s+(\d+)/m.exec(readFileSync(`/proc/${child.pid}/status`, 'latin1'))?.[1] ?? Number.NaN) / 1024
}

function checkpoint(): object {
  const entries = OFFLINE_RESOURCES.map((resource) => {
    const ids = Array.from({ length: REGISTERED }, (_, at) => deviceId(resource, at + 1))
    return {
      PodUID: 'bench',
      ContainerName: 'main',
      ResourceName: `kube-agent.io/${resource}`,
      DeviceIDs: { '-1': ids },
      AllocResp: '',
    }
  })
  return { Data: { PodDeviceEntries: entries, RegisteredDevices: {} }, Checksum: 0 }
}

export async function rssBench(name: string, count: number): Promise<Result> {
  const node = new BenchNode()
  node.addPods(count)
  const directory = join(node.directory, 'dp')
  const kubelet = new KubeletStandIn({ directory, podResourcesDirectory: join(node.directory, 'pr'), random: Math.random })
  await kubelet.start()
  // A capacity of 2,000 of everything is more than this node has: the agent finds them handed out, and so lists them.
  writeFileSync(join(directory, 'kubelet_internal_checkpoint'), JSON.stringify(checkpoint()))
  const file = node.writeConfig({ http: { port: PORT } })
  const agent = spawn('dist/kube-agent.mjs', ['run', '--config', file], { stdio: 'inherit' })
  const bare = spawn(process.execPath, ['-e', 'setInterval(() => {}, 1000)'], { stdio: 'inherit' })
  try {
    const untilMs = performance.now() + RUN_MS
    while (performance.now() < untilMs && agent.exitCode === null) {
      await pause(SCRAPE_MS)
      await fetch(`http://127.0.0.1:${PORT}/metrics`, { signal: AbortSignal.timeout(SCRAPE_MS) }).then((answer) => answer.text())
    }
    const listed = OFFLINE_RESOURCES.map((resource) => kubelet.devices(`kube-agent.io/${resource}`).size)
    if (listed.some((devices) => devices < REGISTERED)) throw new Error(`registered devices: ${listed.join()}`)
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
