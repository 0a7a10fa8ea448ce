/** How soon after its start the bundle has registered all four resources, with everything else still to be loaded. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { pause } from './stop.ts'
import { OFFLINE_RESOURCES } from '../../src/model/index.ts'
import { KubeletStandIn } from '../../src/sim/index.ts'
import type { Result } from './result.ts'
import { BenchNode } from './node.ts'
import { median } from './turns.ts'

const STARTS = 7
const GOAL_MS = 500
const GIVE_UP_MS = 20_000

export async function startBench(name: string, pods: number): Promise<Result> {
  const node = new BenchNode()
  node.addPods(pods)
  const directory = join(node.directory, 'dp')
  const podResourcesDirectory = join(node.directory, 'pr')
  const kubelet = new KubeletStandIn({ directory, podResourcesDirectory, random: Math.random })
  await kubelet.start()
  const file = node.writeConfig({ http: { enabled: false } })
  const ours: number[] = []
  const floors: number[] = []
  try {
    for (let start = 0; start < STARTS; start += 1) {
      ours.push(await registeredMs(kubelet, file))
      floors.push(await bareMs())
    }
  } finally {
    await kubelet.stop()
    await node.close()
  }
  const [value, floor] = [median(ours), median(floors)]
  return { name, value, unit: 'ms', floor, ratio: value / floor, goal: GOAL_MS, ok: value <= GOAL_MS }
}

async function registeredMs(kubelet: KubeletStandIn, config: string): Promise<number> {
  const wanted = kubelet.registrations + OFFLINE_RESOURCES.length
  const started = performance.now()
  const agent = spawn('dist/kube-agent.mjs', ['run', '--config', config], { stdio: 'inherit' })
  const ended = once(agent, 'exit')
  try {
    while (kubelet.registrations < wanted) {
      if (agent.exitCode !== null || performance.now() - started > GIVE_UP_MS) throw new Error('the agent did not register')
      await pause(1)
    }
    return performance.now() - started
  } finally {
    agent.kill('SIGTERM')
    await ended
  }
}

async function bareMs(): Promise<number> {
  const started = performance.now()
  await once(spawn(process.execPath, ['-e', '0'], { stdio: 'inherit' }), 'exit')
  return performance.now() - started
}
