/** The shipped bundle as a process of its own on cgroup v2: `demo` from beginning to end, and `run`, SIGKILL, `release`. */
import assert from 'node:assert/strict'
import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { stringify } from 'yaml'
import { RealNode } from '../../../test/support/real-node.ts'
import { CGROUP_PATH, suite, test, unrestored, until } from './bed.ts'

const PROGRAM = process.argv[2] ?? ''
const DEMO_MS_MAX = 240_000

/** What lies in the places where the demo makes its own. */
function traces(): unknown {
  return {
    groups: readdirSync(CGROUP_PATH, { withFileTypes: true })
      .filter((entry) => entry.isDirectory())
      .map(({ name }) => name),
    control: readFileSync(join(CGROUP_PATH, 'cgroup.subtree_control'), 'latin1'),
    temporary: readdirSync(tmpdir()),
  }
}

suite('the program on cgroup v2', () => {
  test(
    'plays the demo on real cgroups and leaves everything as it was',
    () => {
      const before = traces()
      const ran = spawnSync(process.execPath, [PROGRAM, 'demo', '--json'], {
        encoding: 'utf8',
        timeout: DEMO_MS_MAX,
        killSignal: 'SIGKILL',
      })
      assert.equal(ran.status, 0, `${ran.stdout.slice(-3000)}\n${ran.stderr}`)
      assert.match(ran.stdout, /own cgroups \(v2\)/)
      assert.deepEqual(traces(), before)
    },
    DEMO_MS_MAX + 30_000,
  )

  test('is killed, and `release` puts everything back', async (context) => {
    const node = await RealNode.open()
    context.after(() => node.close())
    const pod = { uid: 'flink', qos: 'BestEffort', asks: { 'be-cpu': 5, 'be-memory': 1 } } as const
    node.startPod(pod)
    const before = node.photograph()
    const config = join(node.podsDirectory, '../config.yaml')
    const settings = {
      mode: 'enforce',
      node: { name: 'vm', cgroupRoot: node.groups.root },
      paths: { state: join(node.podsDirectory, '../state') },
      pods: { directory: node.podsDirectory },
      kubelet: { enabled: false },
      http: { port: 19_466 },
      log: { level: 'warn' },
    }
    writeFileSync(config, stringify(settings))
    const agent = spawn(process.execPath, [PROGRAM, 'run', '--config', config], { stdio: ['ignore', 'inherit', 'inherit'] })
    const ended = once(agent, 'exit')
    context.after(() => agent.kill('SIGKILL'))
    const weight = (): string => node.read(node.groupOf(pod), 'cpu', 'cpu.weight')
    await until(
      () => weight() === '20' && unrestored(node, before).length >= 4,
      () => [agent.exitCode, unrestored(node, before)],
    )
    agent.kill('SIGKILL')
    await ended
    const ran = spawnSync(process.execPath, [PROGRAM, 'release', '--config', config], { encoding: 'utf8', timeout: 60_000 })
    assert.equal(ran.status, 0, ran.stdout + ran.stderr)
    assert.match(ran.stdout, / 0 left alone, 0 failed/)
    assert.deepEqual(unrestored(node, before), [])
  })
})
