/** What a service manager is told of the agent's ticks: keep-alives from ticks that finish, and from nothing else. In virtual time. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { openSupervision, type Supervision } from '../../src/cli/supervise.ts'
import { unixAddress } from '../../src/kernel/datagram.ts'
import type { PodList } from '../../src/model/index.ts'
import { configOf } from '../support/config.ts'
import { SimulatedAgent } from '../support/simulated-agent.ts'
import { specOf } from '../support/snapshots.ts'
import { capturedLogger } from './record/fixtures.ts'

const CALM_MS = 1000
const WATCHDOG_MS = 8000

let directory: string

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'kube-agent-supervise-'))
})

afterEach(() => rmSync(directory, { recursive: true, force: true }))

interface Told {
  readonly messages: string[]
  readonly lines: ReturnType<typeof capturedLogger>['lines']
  readonly supervision: Supervision
  ready: boolean
  answer: string | undefined
}

function supervise(environment: Readonly<Record<string, string>> = {}, calmMs = CALM_MS): Told {
  const { logger, lines } = capturedLogger()
  const messages: string[] = []
  const told: { -readonly [Key in keyof Omit<Told, 'supervision'>]: Told[Key] } = {
    messages,
    lines,
    ready: true,
    answer: undefined,
  }
  const supervision = openSupervision({
    environment: { NOTIFY_SOCKET: '/run/notify', WATCHDOG_USEC: String(WATCHDOG_MS * 1000), ...environment },
    logger,
    calmMs,
    isReady: () => told.ready,
    brief: () => 'as it\nstands',
    open: () => (text) => {
      messages.push(text)
      return told.answer
    },
  })
  if (supervision === undefined) throw new Error('there is a manager')
  return Object.assign(told, { supervision })
}

const having = ({ messages }: Told, line: string): number => messages.filter((text) => text.split('\n').includes(line)).length

function agentUnder(told: Told, list: (pods: PodList) => PodList = (pods) => pods): SimulatedAgent {
  const agent = new SimulatedAgent({
    dialect: 'v1',
    directory,
    config: configOf({ loop: { calmMs: CALM_MS } }),
    told: list,
    watch: (sink) => told.supervision.watch(sink),
  })
  agent.node.addPod(specOf({ uid: 'be', asks: { 'be-cpu': 4, 'be-memory': 1 } }))
  return agent
}

describe('keep-alives', () => {
  it('come four times in the time of the watchdog, with the ticks', () => {
    const told = supervise()
    const agent = agentUnder(told)
    agent.run(4 * WATCHDOG_MS)
    expect(having(told, 'WATCHDOG=1')).toBeGreaterThanOrEqual(4 * 3)
    expect(having(told, 'WATCHDOG=1')).toBeLessThanOrEqual(4 * 4 + 1)
    agent.end()
  })

  it('end with the first tick that fails, though beats go on and the node has been released, and come back with the ticks', () => {
    const told = supervise()
    let fails = false
    const agent = agentUnder(told, (pods) => {
      if (fails) throw new Error('a bug in a source')
      return pods
    })
    agent.run(2 * WATCHDOG_MS)
    const before = having(told, 'WATCHDOG=1')
    expect(before).toBeGreaterThan(0)
    expect(agent.kernel.readKnob('/kubepods/besteffort/podbe', 'quota')).toMatchObject({ quotaUs: 40_000 })
    fails = true
    agent.run(2 * WATCHDOG_MS)
    expect(agent.failures.length).toBeGreaterThan(5)
    expect(having(told, 'WATCHDOG=1')).toBe(before)
    // failSafe.afterTicks
    expect(agent.kernel.readKnob('/kubepods/besteffort/podbe', 'quota')).toMatchObject({ quotaUs: null })
    fails = false
    agent.run(WATCHDOG_MS)
    expect(having(told, 'WATCHDOG=1')).toBeGreaterThan(before)
    agent.end()
  })

  it('are not sent where none are asked for, nor for another process', () => {
    for (const environment of [{ WATCHDOG_USEC: '' }, { WATCHDOG_USEC: '0' }, { WATCHDOG_USEC: 'x' }, { WATCHDOG_PID: '1' }]) {
      const told = supervise(environment)
      const agent = agentUnder(told)
      agent.run(WATCHDOG_MS)
      expect(having(told, 'READY=1')).toBe(1)
      expect(having(told, 'WATCHDOG=1')).toBe(0)
      agent.end()
    }
  })

  it('ask for more time where a calm pause would use the given one up', () => {
    const told = supervise({ WATCHDOG_PID: String(process.pid) }, 10_000)
    expect(told.messages).toEqual(['WATCHDOG_USEC=30000000'])
    expect(told.lines).toMatchObject([{ level: 'warn', watchdogMs: WATCHDOG_MS, leastMs: 30_000 }])
  })
})

describe('readiness', () => {
  it('is told once, on one line with the status, and waits for the kubelet no longer than 30 s', () => {
    const told = supervise()
    told.ready = false
    const agent = agentUnder(told)
    agent.run(25_000)
    expect(having(told, 'READY=1')).toBe(0)
    expect(having(told, 'WATCHDOG=1')).toBeGreaterThan(0)
    agent.run(10_000)
    expect(having(told, 'READY=1')).toBe(1)
    expect(told.lines.filter(({ level }) => level === 'warn')).toHaveLength(1)
    agent.run(30_000)
    expect(having(told, 'READY=1')).toBe(1)
    expect(having(told, 'STATUS=as it stands')).toBeGreaterThanOrEqual(3)
    agent.end()
  })

  it('is not told by an agent whose ticks have failed from the first one', () => {
    const told = supervise()
    const agent = agentUnder(told, () => {
      throw new Error('a bug in a source')
    })
    agent.run(60_000)
    expect(told.messages).toEqual([])
    agent.end()
  })
})

describe('a manager that can not be told', () => {
  it('costs no tick, and is one line per change', () => {
    const told = supervise()
    told.answer = 'ECONNREFUSED'
    const agent = agentUnder(told)
    agent.run(4 * WATCHDOG_MS)
    expect(agent.failures).toEqual([])
    expect(told.lines.filter(({ msg }) => msg === 'service manager could not be told')).toMatchObject([
      { problem: 'ECONNREFUSED' },
    ])
    agent.end()
  })

  it('is no manager without NOTIFY_SOCKET', () => {
    const { logger } = capturedLogger()
    const options = { logger, calmMs: CALM_MS, isReady: () => true, brief: () => '' }
    expect(openSupervision({ ...options, environment: { WATCHDOG_USEC: '1' } })).toBeUndefined()
    expect(openSupervision({ ...options, environment: { NOTIFY_SOCKET: '' } })).toBeUndefined()
  })
})

describe('unixAddress', () => {
  const family = [...Buffer.from(Uint16Array.of(1).buffer)]

  it('ends a path with a NUL and begins an abstract name with one', () => {
    expect([...(unixAddress('/a') ?? [])]).toEqual([...family, 0x2f, 0x61, 0])
    expect([...(unixAddress('@a') ?? [])]).toEqual([...family, 0, 0x61])
  })

  it('is undefined for what the kernel could not take or would cut', () => {
    for (const name of ['', '/', '@', 'run/notify', 'vsock:2:1', '/a\0b']) expect(unixAddress(name)).toBeUndefined()
    expect(unixAddress(`/${'a'.repeat(106)}`)).toHaveLength(2 + 108)
    expect(unixAddress(`/${'a'.repeat(107)}`)).toBeUndefined()
    expect(unixAddress(`@${'a'.repeat(107)}`)).toHaveLength(2 + 108)
  })
})
