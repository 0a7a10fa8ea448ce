/**
 * The agent's own priority: what the kernel says of a real process that raised itself, and what people are told where it can't.
 */
import { spawnSync } from 'node:child_process'
import { mkdirSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs'
import { getPriority } from 'node:os'
import { join, resolve } from 'node:path'
import { describe, expect, it } from 'vitest'
import { raiseOwnPriority } from '../../../src/kernel/own-priority.ts'

const CAP_SYS_NICE = 23
const SETPRIV = 'setpriv'
const V1_CPU = '/sys/fs/cgroup/cpu'

/** Fields 19 (nice), 40 (rt_priority) and 41 (policy) of /proc/PID/stat, after the command name: proc(5). */
interface Seen {
  readonly problems: readonly string[]
  readonly nice: number
  readonly priority: number
  readonly policy: number
  /** Policies of the other threads, some of which were started after the raise. */
  readonly others: readonly number[]
}

const CHILD = `
import { readdirSync, readFileSync } from 'node:fs'
import { stat } from 'node:fs/promises'
import { raiseOwnPriority } from '${resolve('src/kernel/own-priority.ts')}'
const fields = (path) => { const text = readFileSync(path, 'latin1'); return text.slice(text.lastIndexOf(')') + 2).split(' ') }
const run = async () => {
  const problems = raiseOwnPriority(JSON.parse(process.argv.at(-1)))
  await stat('/')
  const [own, ...others] = readdirSync('/proc/self/task').map(Number).sort((a, b) => a - b).map((tid) => fields('/proc/self/task/' + tid + '/stat'))
  console.log(JSON.stringify({ problems, nice: Number(own[16]), priority: Number(own[37]), policy: Number(own[38]), others: others.map((other) => Number(other[38])) }))
}
run()
`

/** Runs the raise in a process of its own, started by \`prefix\`. */
function child(own: { nice: number; realtimePriority: number }, prefix: readonly string[] = []): Seen {
  const command = [...prefix, process.execPath, '--import', 'tsx', '--input-type=module', '-e', CHILD, '--', JSON.stringify(own)]
  const { stdout, stderr, status } = spawnSync(command[0] ?? '', command.slice(1), { encoding: 'utf8', timeout: 60_000 })
  if (status !== 0) throw new Error(`the child ended with ${status}: ${stderr}`)
  return JSON.parse(stdout) as Seen
}

function mayRaise(): boolean {
  const [, mask = '0'] = /^CapEff:\s*([0-9a-f]+)$/m.exec(readFileSync('/proc/self/status', 'latin1')) ?? []
  return ((BigInt(`0x${mask}`) >> BigInt(CAP_SYS_NICE)) & 1n) === 1n
}

describe('a real process', () => {
  it('has the nice value that it asked for, on the thread of its loop', (context) => {
    if (!mayRaise()) context.skip('needs CAP_SYS_NICE')
    const seen = child({ nice: -7, realtimePriority: 0 })
    expect(seen).toMatchObject({ problems: [], nice: -7, priority: 0, policy: 0 })
  }, 70_000)

  it('keeps a better one that it was started with, and whatever it has where 0 is asked for', (context) => {
    if (!mayRaise()) context.skip('needs CAP_SYS_NICE')
    expect(child({ nice: -7, realtimePriority: 0 }, ['nice', '-n', '-12']).nice).toBe(-12)
    expect(child({ nice: 0, realtimePriority: 0 }).nice).toBe(getPriority())
  }, 140_000)

  it('is in the real-time class with its loop, and with no other thread; or says what is missing', (context) => {
    if (!mayRaise()) context.skip('needs CAP_SYS_NICE')
    const seen = child({ nice: 0, realtimePriority: 20 })
    if (seen.problems.length === 0) {
      // Kernel: SCHED_FIFO is 1; SCHED_RESET_ON_FORK is not shown in stat.
      expect(seen).toMatchObject({ priority: 20, policy: 1 })
    } else {
      expect(seen.problems).toEqual([expect.stringMatching(/cpu\.rt_runtime_us/)])
      expect(seen.policy).toBe(0)
    }
    expect(seen.others.length).toBeGreaterThan(0)
    expect(seen.others.every((policy) => policy === 0)).toBe(true)
  }, 70_000)

  it('without CAP_SYS_NICE runs on as it was and names the capability', (context) => {
    if (spawnSync(SETPRIV, ['--version']).status !== 0) context.skip('needs setpriv')
    if (!mayRaise()) context.skip('needs CAP_SYS_NICE, to drop it')
    const seen = child({ nice: -5, realtimePriority: 10 }, [SETPRIV, '--bounding-set=-sys_nice', '--inh-caps=-sys_nice'])
    expect(seen.nice).toBe(getPriority())
    expect(seen.policy).toBe(0)
    expect(seen.problems).toHaveLength(2)
    for (const problem of seen.problems) expect(problem).toMatch(/CAP_SYS_NICE is missing/)
  }, 70_000)

  it('in a v1 group without real-time runtime is told of the runtime', (context) => {
    if (!mayRaise()) context.skip('needs CAP_SYS_NICE')
    const group = join(V1_CPU, `kube-agent-test-rt-${process.pid}`)
    try {
      mkdirSync(group)
    } catch {
      return context.skip('needs a writable v1 cpu tree')
    }
    try {
      try {
        readFileSync(join(group, 'cpu.rt_runtime_us'))
      } catch {
        return context.skip('needs RT_GROUP_SCHED')
      }
      writeFileSync(join(group, 'cpu.rt_runtime_us'), '0')
      const enter = `echo $$ > ${join(group, 'cgroup.procs')} && exec "$@"`
      const seen = child({ nice: 0, realtimePriority: 10 }, ['sh', '-c', enter, 'sh'])
      expect(seen.policy).toBe(0)
      expect(seen.problems).toEqual([expect.stringMatching(/EPERM.*no real-time runtime.*cpu\.rt_runtime_us/)])
    } finally {
      rmdirSync(group)
    }
  }, 70_000)
})

describe('what is told', () => {
  it('names koffi where it is not installed', () => {
    const missing = (): never => {
      throw Object.assign(new Error("Cannot find module 'koffi'"), { code: 'MODULE_NOT_FOUND' })
    }
    expect(raiseOwnPriority({ nice: 0, realtimePriority: 10 }, missing)).toEqual([
      'priority 10 in the real-time class was not taken: the optional package koffi is not installed',
    ])
  })

  it('is nothing, and nothing is called, where nothing is asked for', () => {
    const never = (): never => {
      throw new Error('called')
    }
    expect(raiseOwnPriority({ nice: 0, realtimePriority: 0 }, never)).toEqual([])
  })

  it('asks for FIFO that children do not inherit, and names any other answer', () => {
    const calls: [number, number][] = []
    const problems = raiseOwnPriority({ nice: 0, realtimePriority: 30 }, (policy, priority) => {
      calls.push([policy, priority])
      return 'EINVAL'
    })
    expect(calls).toEqual([[0x4000_0001, 30]])
    expect(problems).toEqual(['priority 30 in the real-time class was not taken (EINVAL): the kernel does not take it'])
  })
})
