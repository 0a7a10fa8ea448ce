/** The bundle as a daemon on real cgroups of the test's own: a kubelet's groups with one offline pod, a stand-in for the kubelet, a configuration. */
import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { stringify } from 'yaml'
import { manifestOf, podSpec } from '../../src/cli/demo/pods.ts'
import { GroupSandbox, KubeletGroups } from '../../src/kernel/index.ts'
import type { GroupPath } from '../../src/model/index.ts'
import { KubeletStandIn } from '../../src/sim/index.ts'
import { BUNDLE } from '../cli/program.ts'

const BE = podSpec({
  uid: 'dddddddd-0000-4000-8000-000000000006',
  name: 'batch',
  namespace: 'jobs',
  kubeletQos: 'BestEffort',
  extended: { 'kube-agent.io/be-cpu': 3, 'kube-agent.io/be-memory': 1 },
})

interface DaemonOptions {
  readonly port: number
  readonly settings?: Readonly<Record<string, unknown>>
}

export class Daemon {
  readonly child: ChildProcess
  stderr = ''

  constructor(child: ChildProcess) {
    this.child = child
    child.stdout?.resume()
    child.stderr?.on('data', (data: Buffer) => (this.stderr += data.toString()))
  }

  get hasEnded(): boolean {
    return this.child.exitCode !== null || this.child.signalCode !== null
  }

  /** Ends it and resolves with its exit code; null after a signal. */
  async stop(signal: NodeJS.Signals = 'SIGTERM'): Promise<number | null> {
    if (!this.hasEnded) {
      const ended = once(this.child, 'exit')
      this.child.kill(signal)
      await ended
    }
    return this.child.exitCode
  }

  /** Fields of the log lines with that message. */
  logged(message: string): readonly Readonly<Record<string, unknown>>[] {
    const lines = this.stderr.split('\n').filter((line) => line.startsWith('{') && line.endsWith('}'))
    return lines.map((line) => JSON.parse(line) as Record<string, unknown>).filter(({ msg }) => msg === message)
  }
}

export class DaemonBed {
  readonly directory: string
  readonly config: string
  readonly kubelet: KubeletStandIn
  readonly podGroup: GroupPath
  readonly #sandbox: GroupSandbox
  readonly #port: number
  readonly #groups: readonly GroupPath[]
  readonly #sleeper: ChildProcess
  readonly #daemons: Daemon[] = []

  static async open(options: DaemonOptions): Promise<DaemonBed> {
    const bed = new DaemonBed(options)
    await bed.kubelet.start()
    return bed
  }

  private constructor({ port, settings = {} }: DaemonOptions) {
    this.#port = port
    this.directory = mkdtempSync(join(tmpdir(), 'kube-agent-daemon-'))
    this.#sandbox = new GroupSandbox('/sys/fs/cgroup', `kube-agent-test-${process.pid}`)
    const groups = new KubeletGroups(this.#sandbox)
    const made = groups.startPod(BE)
    this.podGroup = made.group
    this.#groups = [...groups.roots, made.group, ...made.containers]
    this.#sleeper = spawn('sleep', ['1000'])
    this.#sandbox.attach(made.containers[0] ?? '', this.#sleeper.pid ?? 0)
    mkdirSync(join(this.directory, 'pods'))
    writeFileSync(join(this.directory, 'pods/batch.yaml'), manifestOf(BE))
    this.kubelet = new KubeletStandIn({ directory: this.pluginDirectory, random: Math.random })
    this.config = join(this.directory, 'config.yaml')
    const base = {
      mode: 'enforce',
      node: { name: 'test-node', cgroupRoot: this.#sandbox.root },
      paths: { state: this.stateDirectory, devicePlugins: this.pluginDirectory },
      pods: { directory: join(this.directory, 'pods') },
      http: { port },
      // What else runs on this machine must not decide these tests.
      suppressCpu: { enabled: false },
    }
    writeFileSync(this.config, stringify({ ...base, ...settings }))
  }

  get stateDirectory(): string {
    return join(this.directory, 'state')
  }

  get pluginDirectory(): string {
    return join(this.directory, 'dp')
  }

  /** Starts the agent, by a command that runs another one where `through` is given. */
  start({
    through = [],
    words = [],
    environment = {},
    bundle = BUNDLE,
  }: {
    readonly through?: readonly string[]
    readonly words?: readonly string[]
    readonly environment?: Readonly<Record<string, string>>
    readonly bundle?: string
  } = {}): Daemon {
    return this.startCommand([...through, process.execPath, bundle, 'run', '--config', this.config, ...words], environment)
  }

  /** Starts an agent by a whole command line. */
  startCommand([command = '', ...rest]: readonly string[], environment: Readonly<Record<string, string>> = {}): Daemon {
    const child = spawn(command, rest, {
      stdio: ['ignore', 'pipe', 'pipe'],
      cwd: '/',
      env: { PATH: process.env['PATH'], ...environment },
    })
    const daemon = new Daemon(child)
    this.#daemons.push(daemon)
    return daemon
  }

  async get(path: string): Promise<{ readonly status: number; readonly body: string } | undefined> {
    try {
      const answer = await fetch(`http://127.0.0.1:${this.#port}${path}`)
      return { status: answer.status, body: await answer.text() }
    } catch {
      return undefined
    }
  }

  /** Waits until the agent is ready and the pod's limit is in force. Throws with what it said when it does not come to that. */
  async untilReady(daemon: Daemon): Promise<void> {
    for (let tries = 0; tries < 150 && !daemon.hasEnded; tries += 1) {
      if ((await this.get('/readyz'))?.status === 200 && this.podQuota().startsWith('30000')) return
      await sleep(100)
    }
    throw new Error(`the agent did not become ready: ${JSON.stringify(await this.get('/readyz?verbose'))}\n${daemon.stderr}`)
  }

  /** Waits until the agent answers, whatever it says. Throws with what it said on standard error when it ends before. */
  async untilAnswers(daemon: Daemon): Promise<void> {
    for (let tries = 0; tries < 150 && !daemon.hasEnded; tries += 1) {
      if ((await this.get('/statusz?brief'))?.status === 200) return
      await sleep(100)
    }
    throw new Error(`the agent did not answer\n${daemon.stderr}`)
  }

  /** Text of the pod's quota file. */
  podQuota(): string {
    const files = [...this.#sandbox.photograph(this.podGroup)]
    return files.find(([path]) => /cfs_quota_us$|cpu\.max$/.test(path))?.[1] ?? ''
  }

  /** The text of every knob. */
  photograph(): ReadonlyMap<string, string> {
    return new Map(this.#groups.flatMap((group) => [...this.#sandbox.photograph(group)]))
  }

  async close(): Promise<void> {
    for (const daemon of this.#daemons) await daemon.stop('SIGKILL')
    const ended = once(this.#sleeper, 'exit')
    this.#sleeper.kill('SIGKILL')
    await ended
    await this.kubelet.stop()
    await this.#sandbox.remove()
    rmSync(this.directory, { recursive: true, force: true })
  }
}
