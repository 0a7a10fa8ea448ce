/**
 * The demo from the outside: the whole main job on real cgroups where this user may use them, on the simulated node everywhere, and
 * nothing left behind however it ends.
 */
import { once } from 'node:events'
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { demoSettings, MOST_REAL_CPUS } from '../../src/cli/demo/settings.ts'
import { GroupSandbox } from '../../src/kernel/index.ts'
import { BUNDLE, IS_ROOT, kubeAgent, NOBODY, pipeToHead, type Ran, runAsync, startKubeAgent } from './program.ts'

const DEMO_MS = 90_000
const NOT_ROOT = 'needs root: real cgroups can only be made by root'
const ROOT_ONLY = 'needs root, to become an ordinary user'

interface Summary {
  readonly bed: string
  readonly phases: readonly {
    readonly phase: string
    readonly allowanceMilli?: readonly [number, number]
    readonly writes: number
  }[]
  readonly reactionMs: number
  readonly knobsRestored: number
  readonly filesSame: number
  readonly filesDifferent: readonly string[]
  readonly kubeletViolations: readonly string[]
}

interface Event {
  readonly event: string
  readonly text?: string
}

function events(stdout: string): Event[] {
  return stdout
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as Event)
}

function summaryOf(all: readonly Event[]): Summary {
  return all.find((event) => event.event === 'summary') as unknown as Summary
}

/** Everything a demo makes carries its name: cgroups, the temporary directory with sockets and manifests, processes. */
function marks(): string[] {
  const found: string[] = []
  for (const tree of existsSync('/sys/fs/cgroup')
    ? ['/sys/fs/cgroup', ...readdirSync('/sys/fs/cgroup').map((name) => join('/sys/fs/cgroup', name))]
    : []) {
    try {
      found.push(
        ...readdirSync(tree)
          .filter((name) => name.startsWith('kube-agent-demo-'))
          .map((name) => join(tree, name)),
      )
    } catch {
      // A file, not a directory.
    }
  }
  found.push(...readdirSync(tmpdir()).filter((name) => name.startsWith('kube-agent-demo-')))
  for (const pid of readdirSync('/proc').filter((name) => /^\d+$/.test(name))) {
    try {
      const command = readFileSync(`/proc/${pid}/cmdline`, 'latin1')
      if (command.includes('kube-agent.mjs\0load') || command.includes('kube-agent.mjs\0demo')) found.push(`process ${pid}`)
    } catch {
      // It ended while we looked.
    }
  }
  return found
}

let before: ReadonlySet<string>

/** What has come since the test began; others may play the demo on this machine, or have left something. */
function leftovers(): string[] {
  return marks().filter((mark) => !before.has(mark))
}

beforeEach(() => {
  before = new Set(marks())
})

function expectWholePlay(summary: Summary): void {
  expect(summary.phases.map((phase) => phase.phase)).toEqual(['register', 'be', 'ot', 'spike', 'recovery', 'release'])
  expect(summary.filesDifferent).toEqual([])
  expect(summary.filesSame).toBeGreaterThan(40)
  expect(summary.knobsRestored).toBeGreaterThanOrEqual(10)
  expect(summary.kubeletViolations).toEqual([])
  const allowance = (phase: string) =>
    summary.phases.find((known) => known.phase === phase)?.allowanceMilli ?? [Number.NaN, Number.NaN]
  const [floor] = allowance('spike')
  expect(floor).toBeGreaterThan(0)
  expect(allowance('recovery')[1]).toBeGreaterThan(floor * 2)
}

/** Plays to its end beside others. */
const played = (words: readonly string[], uid?: number): Promise<Ran> =>
  runAsync(
    process.execPath,
    [BUNDLE, 'demo', ...words],
    { NO_COLOR: '1' },
    { timeoutMs: DEMO_MS, ...(uid === undefined ? {} : { uid }) },
  )

/** Plays until offline work of both classes runs, and is told to end then. Answers its exit code. */
async function endedInTheMiddle(signal: NodeJS.Signals): Promise<number | null> {
  const child = startKubeAgent(['demo', '--json'])
  const { stdout } = child
  if (stdout === null) throw new Error('no output')
  for await (const line of createInterface({ input: stdout })) {
    const event = JSON.parse(line) as Event & { phase?: string }
    if (event.phase === 'ot') break
  }
  child.kill(signal)
  stdout.resume()
  const [code] = (await once(child, 'exit')) as [number | null]
  return code
}

// They play in the time of those who watch: one after the other they would take four times as long, and at once they hardly cost more.
describe('demos at once', () => {
  let simulated: Ran
  let inPlainLines: Ran
  let asNobody: Ran | undefined
  let ended: number | null
  let left: readonly string[]

  beforeAll(async () => {
    before = new Set(marks())
    ;[simulated, inPlainLines, asNobody, ended] = await Promise.all([
      played(['--simulated', '--json']),
      played(['--simulated']),
      IS_ROOT ? played(['--json'], NOBODY) : undefined,
      // The only one of them on real cgroups, for root: two there would take each other's CPUs.
      endedInTheMiddle('SIGINT'),
    ])
    left = leftovers()
  }, DEMO_MS)

  it('play through on the simulated node and restore every knob', () => {
    const all = events(simulated.stdout)
    expect(simulated).toMatchObject({ code: 0, stderr: '' })
    expectWholePlay(summaryOf(all))
    // The virtual clock has no scheduler noise: a spike is answered within the measuring window and one hot tick.
    expect(summaryOf(all).reactionMs).toBeLessThanOrEqual(200)
  })

  it('say in plain lines what they are doing', () => {
    const { code, stdout } = inPlainLines
    expect(code).toBe(0)
    expect(stdout).toContain('simulated node')
    expect(stdout).toMatch(/SPIKE: the online workload jumps/)
    expect(stdout).toMatch(/why: allowance \d+m for BE and OT: watermark 65 % of 2000m is 1300m/)
    expect(stdout).toMatch(/spike to first quota write +\d+ ms/)
    expect(stdout).not.toContain('\u001b[')
  })

  it('fall back to the simulated node for an ordinary user, and say why', (context) => {
    if (asNobody === undefined) return context.skip(ROOT_ONLY)
    const all = events(asNobody.stdout)
    expect(asNobody.code).toBe(0)
    expect(all[0]?.text).toMatch(/simulated node.*because real cgroups can't be used here: cannot make the group/)
    expectWholePlay(summaryOf(all))
  })

  it('end in the middle on SIGINT', () => {
    expect(ended).toBe(1)
  })

  it('leave nothing behind, however they ended', () => {
    expect(left).toEqual([])
  })
})

describe('demo', () => {
  it('plays through on real cgroups, restores every file and leaves nothing', { timeout: DEMO_MS }, (context) => {
    if (!IS_ROOT) context.skip(NOT_ROOT)
    const ran = kubeAgent(['demo', '--json'], { timeoutMs: DEMO_MS })
    const all = events(ran.stdout)
    const summary = summaryOf(all)
    if (summary?.bed === 'simulated') context.skip(all[0]?.text ?? 'the demo chose the simulated node')
    expect(ran.stderr).toBe('')
    expect(ran.code).toBe(0)
    expectWholePlay(summary)
    expect(leftovers()).toEqual([])
  })

  it('leaves nothing behind after SIGTERM', { timeout: DEMO_MS }, async () => {
    expect(await endedInTheMiddle('SIGTERM')).toBe(1)
    expect(leftovers()).toEqual([])
  })

  // Where it opens its bed there is no output yet: what it has made by then shows on the machine alone.
  it.each([
    ['on real cgroups', ['demo']],
    ['on the simulated node', ['demo', '--simulated']],
  ])('leaves nothing behind after an early and impatient Ctrl-C %s', { timeout: DEMO_MS }, async (_where, words) => {
    const child = startKubeAgent(words)
    child.stdout?.resume()
    const ended = once(child, 'exit') as Promise<[number | null]>
    await expect.poll(() => leftovers().some((mark) => !mark.startsWith('process')), { timeout: 10_000, interval: 5 }).toBe(true)
    child.kill('SIGINT')
    await sleep(20)
    child.kill('SIGINT')
    const [code] = await ended
    expect(code).toBe(1)
    expect(leftovers()).toEqual([])
  })

  it('leaves nothing behind when signalled 300 ms after its start', { timeout: DEMO_MS }, async () => {
    const child = startKubeAgent(['demo'])
    child.stdout?.resume()
    const ended = once(child, 'exit')
    await sleep(300)
    child.kill('SIGINT')
    // Before it has begun it may die of the signal, too.
    expect([1, null]).toContain((await ended)[0])
    expect(leftovers()).toEqual([])
  })

  it.each([[['demo', '--simulated']], [['demo']]])(
    'ends and cleans up when nobody reads: %j | head -1',
    { timeout: DEMO_MS },
    (words) => {
      const { stdout, stderr } = pipeToHead(words, DEMO_MS)
      expect(stdout).toMatch(/^kube-agent demo on .*\n$/)
      expect(stderr).toBe('stopped; every process, group, socket and file of the demo is removed\n')
      expect(leftovers()).toEqual([])
    },
  )
})

describe('the settings of the demo', () => {
  const ALL = Array.from({ length: 1024 }, (_, index) => index + 1)

  it('are valid for any number of CPUs', () => {
    for (const cpus of ALL) expect(() => demoSettings(cpus, {}, '/nowhere'), `${cpus} CPUs`).not.toThrow()
  })

  it('put the watermark at 65 % of four CPUs at most, within reach of the load, wherever the demo uses the machine', () => {
    for (const cpus of ALL.filter((count) => count <= MOST_REAL_CPUS)) {
      const { config, load } = demoSettings(cpus, {}, '/nowhere')
      const { watermarkPermyriad, floorPermyriad, marginPermyriad } = config.suppressCpu
      const milli = (permyriad: number): number => (cpus * 1000 * permyriad) / 10_000
      const used = Math.min(cpus, 4) * 1000
      expect(milli(watermarkPermyriad) / used, `${cpus} CPUs`).toBeCloseTo(0.65, 2)
      // The online workload and three pods that want a CPU each.
      expect(load.spikeMilli + 3000).toBeGreaterThan(milli(watermarkPermyriad))
      expect(milli(floorPermyriad + marginPermyriad)).toBeLessThan(milli(watermarkPermyriad))
    }
    expect(MOST_REAL_CPUS).toBe(260)
  })
})

describe('the sandbox', () => {
  let tree = ''
  beforeEach(() => {
    tree = mkdtempSync(join(tmpdir(), 'kube-agent-sandbox-'))
  })
  afterEach(() => rmSync(tree, { recursive: true, force: true }))

  /** Plain files in a mount's place: what was written last stays to be read. */
  function v2(enabled: string, controllers = 'cpuset cpu io memory'): () => string {
    writeFileSync(join(tree, 'cgroup.controllers'), `${controllers}\n`)
    writeFileSync(join(tree, 'cgroup.subtree_control'), enabled)
    return () => readFileSync(join(tree, 'cgroup.subtree_control'), 'utf8')
  }

  it('takes back the controllers that were not handed out before', async () => {
    const control = v2('memory io\n')
    const sandbox = new GroupSandbox(tree, 'box')
    expect(control()).toBe('+cpu +cpuset')
    await sandbox.remove()
    expect(control()).toBe('-cpu -cpuset')
    expect(existsSync(join(tree, 'box'))).toBe(false)
  })

  it('leaves controllers alone that were handed out before', async () => {
    const control = v2('cpuset cpu io memory\n')
    const sandbox = new GroupSandbox(tree, 'box')
    await sandbox.remove()
    expect(control()).toBe('cpuset cpu io memory\n')
  })

  it('does without the IO controller where the kernel has none', async () => {
    const control = v2('\n', 'cpuset cpu memory')
    const sandbox = new GroupSandbox(tree, 'box')
    expect(control()).toBe('+cpu +cpuset +memory')
    await sandbox.remove()
    expect(control()).toBe('-cpu -cpuset -memory')
  })

  it('undoes everything when its group cannot be made', () => {
    const control = v2('\n')
    writeFileSync(join(tree, 'box'), 'a file in the way')
    expect(() => new GroupSandbox(tree, 'box')).toThrow('cannot make the group /box')
    expect(control()).toBe('-cpu -cpuset -memory -io')
  })

  it('removes what it made in the first trees when a later one refuses', () => {
    for (const controller of ['cpu', 'cpuacct', 'memory']) {
      mkdirSync(join(tree, controller))
      writeFileSync(join(tree, controller, 'tasks'), '')
    }
    writeFileSync(join(tree, 'memory', 'box'), 'a file in the way')
    expect(() => new GroupSandbox(tree, 'box')).toThrow('cannot make the group /box')
    expect(['cpu', 'cpuacct'].filter((controller) => existsSync(join(tree, controller, 'box')))).toEqual([])
  })
})
