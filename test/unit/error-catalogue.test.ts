/**
 * The catalogue of errors: each code is provoked for real, by a command line or by the function that throws it, and shows its exit code
 * and a hint. A code without a case here does not compile, and one that nothing throws fails.
 */
import { chmodSync, readdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs'
import { type AddressInfo, createServer } from 'node:net'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it, onTestFinished, vi } from 'vitest'
import { takeLock } from '../../src/actuate/index.ts'
import { formatRecord } from '../../src/actuate/records.ts'
import { ask } from '../../src/cli/client.ts'
import { play } from '../../src/cli/demo/scenario.ts'
import { SimBed } from '../../src/cli/demo/sim-bed.ts'
import { main, VERBS } from '../../src/cli/main.ts'
import { loadConfig } from '../../src/config/index.ts'
import { SETTINGS } from '../../src/config/settings.ts'
import { ApiClient } from '../../src/kube/api-client.ts'
import { Credentials } from '../../src/kube/credentials.ts'
import { AgentError, type ErrorCode, ERRORS, EXIT, podGroup } from '../../src/model/index.ts'
import { recordingFiles } from '../../src/record/recording/read.ts'
import { errorsReference } from '../../scripts/reference/errors.ts'
import { TOPOLOGIES } from '../support/topologies.ts'
import { planted, PROC, sysfsOf, type Tree, V2_GROUP, v2Tree } from '../support/trees-on-disk.ts'

const SRC = join(import.meta.dirname, '../../src')
const OFFLINE = '/kubepods/besteffort'
const BOOT_ID: Tree = { sys: { kernel: { random: { boot_id: 'boot-1\n' } } } }

interface Complaint {
  readonly code: string
  readonly exit: number | undefined
  readonly message: string
  readonly hint: string
}

/** Runs a command line in this process, and reads what it complains of. */
async function commandLine(...words: readonly string[]): Promise<Complaint> {
  let text = ''
  const stderr = vi.spyOn(process.stderr, 'write').mockImplementation((chunk) => {
    text += String(chunk)
    return true
  })
  const stdout = vi.spyOn(process.stdout, 'write').mockImplementation(() => true)
  try {
    const exit = await main(words)
    const [, message = '', hint = '', code = ''] = /^kube-agent: (.*)\n {2}(.*) \((E_\w+)\)\n$/s.exec(text) ?? []
    if (code === '') throw new Error(`no complaint: ${text}`)
    return { code, exit, message, hint }
  } finally {
    stderr.mockRestore()
    stdout.mockRestore()
  }
}

/** What a function throws, or rejects with. */
async function thrown(body: () => unknown): Promise<Complaint> {
  try {
    await body()
  } catch (error) {
    if (!(error instanceof AgentError)) throw error
    return { code: error.code, exit: error.exitCode, message: error.message, hint: error.hint }
  }
  throw new Error('nothing was thrown')
}

/** A node of plain files with what `tree` lacks or adds, as flags that make it the agent's. */
function node(cgroup: Tree, sys: Tree = sysfsOf(TOPOLOGIES.twoCpuVm)): readonly string[] {
  const root = planted({ cgroup, proc: { ...PROC, ...BOOT_ID }, sys, pods: {}, state: {} })
  chmodSync(join(root, 'state'), 0o700)
  const paths = (['cgroup', 'proc', 'sys', 'state'] as const).map((name) => `paths.${name}=${join(root, name)}`)
  const own = [...paths, `paths.devicePlugins=${root}`, `pods.directory=${root}/pods`, 'http.enabled=false', 'log.level=error']
  return own.flatMap((setting) => ['--set', setting])
}

const stateOf = (flags: readonly string[]): string => flags.find((flag) => flag.startsWith('paths.state='))?.slice(12) ?? ''

/** A v2 node whose knobs are all there. */
const whole = (): readonly string[] => node(v2Tree(OFFLINE))

/** A bed whose clock runs away from everything that one waits for. */
class HurriedBed extends SimBed {
  #nowMs = 0

  override now() {
    return { nowMs: this.#nowMs, wallMs: this.#nowMs }
  }

  override runUntil(untilMs: number): Promise<void> {
    this.#nowMs = untilMs + 60_000
    return Promise.resolve()
  }
}

/** A way to each code; the order is that of the catalogue. */
const CASES: Readonly<Record<ErrorCode, () => Promise<Complaint>>> = {
  E_USAGE: () => commandLine('frobnicate'),
  E_CONFIG: () => commandLine('config', 'check', join(planted({ 'a.yaml': 'loop: { hotMs: fast }\n' }), 'a.yaml')),
  E_CONFIG_READ: () => commandLine('config', 'check', join(planted(), 'none.yaml')),
  E_NO_CGROUPS: () => commandLine('plan', ...node({})),
  E_CGROUP_ACCESS: () => {
    const { 'cpu.max': _quota, ...others } = V2_GROUP
    return commandLine('release', ...node(v2Tree(OFFLINE, others)))
  },
  E_NO_PODS_ROOT: () => commandLine('plan', ...node(v2Tree('/elsewhere'))),
  E_NO_KUBELET: () => commandLine('run', '--mode', 'enforce', ...whole(), '--set', 'kubelet.waitMs=0'),
  E_STATE_DIR: () => {
    const flags = whole()
    chmodSync(stateOf(flags), 0o777)
    return commandLine('release', ...flags)
  },
  E_LOCKED: async () => {
    const flags = whole()
    onTestFinished(await takeLock(stateOf(flags)))
    return commandLine('release', ...flags)
  },
  E_JOURNAL: () => {
    const flags = whole()
    writeFileSync(join(stateOf(flags), 'restore.journal'), formatRecord({ is: 'header', version: 999, bootId: 'boot-1' }))
    return commandLine('release', ...flags)
  },
  E_HTTP_LISTEN: async () => {
    const taken = createServer()
    await new Promise<void>((resolve) => taken.listen(0, '127.0.0.1', resolve))
    onTestFinished(() => void taken.close())
    const { port } = taken.address() as AddressInfo
    return commandLine('run', ...whole(), '--set', `http.enabled=true,http.port=${port}`)
  },
  E_NO_AGENT: () => commandLine('status', '--address', '127.0.0.1:1'),
  E_NO_ANSWER: async () => {
    const hung = createServer()
    await new Promise<void>((resolve) => hung.listen(0, '127.0.0.1', resolve))
    onTestFinished(() => void hung.close())
    const { port } = hung.address() as AddressInfo
    const asked = { flags: { address: `127.0.0.1:${port}` }, operands: [] }
    const asking = { accept: 'text/plain', signal: AbortSignal.timeout(300) }
    return thrown(() => ask(asked, loadConfig().config, '/statusz', asking))
  },
  E_NO_SUBJECT: () => commandLine('explain'),
  E_GROUP_NAME: () => thrown(() => podGroup({ root: '/', driver: 'cgroupfs' }, 'BestEffort', '../../system.slice')),
  E_TOPOLOGY: () => commandLine('plan', ...node(v2Tree(OFFLINE), {})),
  E_DEMO: () => {
    const { signal } = new AbortController()
    return thrown(() => play({ bed: new HurriedBed('a test'), show: () => undefined, signal, random: Math.random }))
  },
  E_RECORDING: () => thrown(() => recordingFiles(join(planted(), 'none'))),
  E_BUNDLE: () => commandLine('bundle', ...whole(), '--output', '/nonexistent/a.tar.gz'),
  E_BUG: () => {
    const files = { tokenFile: '/nonexistent', caFile: '/nonexistent' }
    const credentials = new Credentials({ ...files, now: () => 0 })
    const client = new ApiClient({ server: 'https://127.0.0.1:1', credentials, requestMs: 1000, version: 'test' })
    // A path that belongs to another resource than the operation: no user can ask for it.
    return thrown(() => client.call('getNode', { path: '/api/v1/secrets/x' }))
  },
}

const CODES = Object.keys(ERRORS) as ErrorCode[]

/** A command line leaves its umask and its listeners with the process, which is that of the tests here. */
const EVENTS = ['SIGTERM', 'SIGINT', 'SIGUSR2'] as const
let umask: number
let listeners: (() => void)[]

beforeEach(() => {
  umask = process.umask()
  const before = new Set([...EVENTS.flatMap((event) => process.listeners(event)), ...outputListeners()])
  listeners = [
    () => EVENTS.forEach((event) => process.listeners(event).forEach((one) => before.has(one) || process.off(event, one))),
    () => process.stdout.listeners('error').forEach((one) => before.has(one) || process.stdout.off('error', one as () => void)),
    () => process.stderr.listeners('error').forEach((one) => before.has(one) || process.stderr.off('error', one as () => void)),
  ]
})

afterEach(() => {
  process.umask(umask)
  for (const remove of listeners) remove()
})

function outputListeners() {
  return [...process.stdout.listeners('error'), ...process.stderr.listeners('error')]
}

describe('each code of the catalogue', () => {
  it('has a case here, in the same order', () => {
    expect(Object.keys(CASES)).toEqual(CODES)
  })

  it.each(CODES)('%s is what it says: code, exit code, one line and a hint', async (code) => {
    const complaint = await CASES[code]()
    expect(complaint).toMatchObject({ code, exit: ERRORS[code].exit })
    expect(complaint.message).toMatch(/^\S.{5,}/)
    expect(complaint.message.split('\n')).toHaveLength(1)
    expectUsable(complaint.hint)
  })

  it('is thrown somewhere, and there is no exit code but the documented ones', () => {
    const sources = readdirSync(SRC, { recursive: true, encoding: 'utf8' })
      .filter((path) => path.endsWith('.ts') && path !== join('model', 'errors.ts'))
      .map((path) => readFileSync(join(SRC, path), 'utf8'))
      .join('\n')
    expect(CODES.filter((code) => !sources.includes(`'${code}'`))).toEqual([])
    const exits = new Set<number>(Object.values(EXIT))
    expect(CODES.filter((code) => !exits.has(ERRORS[code].exit))).toEqual([])
  })

  it('is in the reference, with its exit code and its hint', () => {
    const cells = (row: string): readonly string[] => row.split('|').map((cell) => cell.trim())
    const rows = errorsReference().split('\n').map(cells)
    for (const code of CODES) {
      const { exit, hint, meaning } = ERRORS[code]
      expect(rows.filter((row) => row[1] === `\`${code}\``)).toEqual([['', `\`${code}\``, String(exit), meaning, hint, '']])
    }
    expect(rows.filter(([, first = '']) => first.includes('E_'))).toHaveLength(CODES.length)
  })
})

describe('each hint of the catalogue', () => {
  it.each(CODES)('of %s names verbs, flags and settings that there are', (code) => expectUsable(ERRORS[code].hint))

  it('would be found out if it named others', () => {
    for (const hint of ['Try: kube-agent mend', 'Use kube-agent run --hasten.', 'Set paths.cgruop to it.', 'No']) {
      expect(() => expectUsable(hint)).toThrow()
    }
  })
})

/** Of the kubelet, not of the agent. */
const FOREIGN_FLAGS = new Set(['cgroup-root'])

/** That a hint is a sentence, and that the commands, flags and settings in it exist. */
function expectUsable(hint: string): void {
  expect(hint).toMatch(/^[A-Z][^\n]{10,}/)
  const verbs = [...hint.matchAll(/kube-agent ([a-z]+)/g)].map(([, verb = '']) => verb)
  expect(verbs.filter((verb) => !Object.hasOwn(VERBS, verb))).toEqual([])
  const known = new Set(Object.values(VERBS).flatMap(({ flags }) => Object.keys(flags)))
  const flags = [...hint.matchAll(/--([a-z][-a-z]*)/g)].map(([, flag = '']) => flag)
  expect(flags.filter((flag) => flag !== 'help' && !known.has(flag) && !FOREIGN_FLAGS.has(flag))).toEqual([])
  const keys = new Set<string>(SETTINGS.map(({ key }) => key))
  const settings = [...hint.matchAll(/\b([a-z]+[A-Za-z]*\.[a-z][A-Za-z]+)\b/g)].map(([, key = '']) => key)
  expect(settings.filter((key) => !keys.has(key))).toEqual([])
}

describe('following a hint', () => {
  it('ends the complaint: of a state directory that others may write in, and of a journal from a newer version', async () => {
    const flags = whole()
    const state = stateOf(flags)
    chmodSync(state, 0o777)
    const { hint } = await commandLine('release', ...flags)
    expect(hint).toContain(`chmod 700 ${state}`)
    chmodSync(state, 0o700)
    writeFileSync(join(state, 'restore.journal'), formatRecord({ is: 'header', version: 999, bootId: 'boot-1' }))
    expect((await commandLine('release', ...flags)).hint).toContain('move the file away')
    renameSync(join(state, 'restore.journal'), join(state, 'restore.journal.away'))
    const stdout = vi.spyOn(process.stdout, 'write').mockImplementation(() => true)
    try {
      expect(await main(['release', ...flags])).toBe(EXIT.ok)
    } finally {
      stdout.mockRestore()
    }
  })
})
