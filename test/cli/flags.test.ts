/**
 * What all verbs have in common, held to the table of verbs itself, so that a new verb is tested as soon as it is there: a help page, flags by
 * the same names, exit code 2 for a wrong one, JSON that parses, and no colour where nobody can see it.
 */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import { ADDRESS_FLAGS } from '../../src/cli/client.ts'
import { CONFIG_FLAGS, type Flag, parseWords, PATH_FLAGS, renderHelp } from '../../src/cli/args.ts'
import { VERBS } from '../../src/cli/main.ts'
import { startHttp, type HttpServer } from '../../src/serve/index.ts'
import { capturedLogger, recorder, REGISTERED, writingTick } from '../unit/record/fixtures.ts'
import { kubeAgent, type Ran } from './program.ts'

let directory: string
let server: HttpServer
let healthy: HttpServer
const record = recorder()

beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), 'kube-agent-flags-'))
  mkdirSync(join(directory, 'pods'))
  writeFileSync(join(directory, 'agent.yaml'), '')
  record.resources([{ ...REGISTERED, registered: false, lastError: 'no kubelet.sock' }])
  record.tick(writingTick())
  const well = recorder()
  well.tick(writingTick())
  const serve = (served: typeof record): Promise<HttpServer> =>
    startHttp({
      host: '127.0.0.1',
      port: 0,
      recorder: served,
      now: () => ({ nowMs: 11_250, wallMs: 0 }),
      logger: capturedLogger().logger,
    })
  server = await serve(record)
  healthy = await serve(well)
})

afterAll(async () => {
  await server.close()
  await healthy.close()
  rmSync(directory, { recursive: true, force: true })
})

/** Runs a verb in this process, where starting one for each takes too long, and catches what it prints. */
async function ask(
  words: readonly string[],
  { port }: Pick<HttpServer, 'port'> = healthy,
): Promise<Pick<Ran, 'code' | 'stdout'>> {
  const [name = '', ...rest] = words
  let stdout = ''
  const spy = vi.spyOn(process.stdout, 'write').mockImplementation((chunk) => {
    stdout += String(chunk)
    return true
  })
  try {
    const { run, flags } = verbOf(name)
    const code = await run(...rest, ...('address' in flags ? ['--address', `127.0.0.1:${port}`] : []))
    return { code, stdout }
  } finally {
    spy.mockRestore()
  }
}

const NAMES = Object.keys(VERBS)
/** A script is no data, and the daemon's log is JSON anyway. */
const WITHOUT_JSON = new Set(['run', 'completion'])
// eslint-disable-next-line no-control-regex
const ESCAPES = /\u001b/

/** What somebody types; what it does may be told in the verb's own words. */
const formOf = (flag: Flag | undefined) => ({ ...flag, help: '' })

/** What `words` make of the verb, short of a process of its own. */
const verbOf = (name: string) => {
  const verb = VERBS[name]
  if (verb === undefined) throw new Error(name)
  const run = async (...words: readonly string[]) => verb.run(parseWords(name, words, verb.flags, verb.maxOperands))
  return { ...verb, run }
}

describe('every verb', () => {
  it.each(NAMES)('%s has a help page that names each flag, in 110 columns', (name) => {
    const { usage, summary, details, flags } = verbOf(name)
    const page = renderHelp(usage, summary, details, flags)
    expect(usage).toMatch(new RegExp(`^kube-agent ${name}\\b`))
    for (const flag of Object.keys(flags)) expect(page).toMatch(new RegExp(`--${flag}[ \\n]`))
    expect(Math.max(...page.split('\n').map((line) => line.length))).toBeLessThanOrEqual(110)
  })

  it.each(NAMES)('%s refuses an unknown flag and a word too many, by name, with exit code 2', async (name) => {
    const { run, maxOperands } = verbOf(name)
    const words = Array.from({ length: maxOperands + 1 }, (_, index) => `word${index}`)
    await expect(run('--no-such-flag')).rejects.toMatchObject({ exitCode: 2, message: "Unknown option '--no-such-flag'" })
    await expect(run(...words)).rejects.toMatchObject({ exitCode: 2, message: `unexpected word "word${maxOperands}"` })
  })

  it('has flags by the same names and letters for the same things', () => {
    const shared = { ...CONFIG_FLAGS, ...ADDRESS_FLAGS, ...PATH_FLAGS }
    for (const [name, { flags }] of Object.entries(VERBS)) {
      for (const [flag, given] of Object.entries(flags))
        if (Object.hasOwn(shared, flag)) expect([name, flag, formOf(given)]).toEqual([name, flag, formOf(shared[flag])])
      expect([name, 'config' in flags]).toEqual([name, 'set' in flags])
      // Each of these is a setting, and they come together.
      for (const flag of Object.keys(PATH_FLAGS)) expect([name, flag in flags]).toEqual([name, 'path.proc' in flags])
      if ('path.proc' in flags) expect([name, 'set' in flags]).toEqual([name, true])
      expect([name, 'json' in flags]).toEqual([name, !WITHOUT_JSON.has(name)])
      // Who asks a running agent finds it by the configuration.
      if ('address' in flags) expect([name, 'config' in flags]).toEqual([name, true])
      const letters = Object.values({ ...flags, help: { short: 'h' } }).flatMap(({ short }) =>
        short === undefined ? [] : [short],
      )
      expect([name, new Set(letters).size]).toEqual([name, letters.length])
    }
  })

  it('that reads a configuration says what is wrong with it, with exit code 3', async () => {
    // Not replay, which looks at its recording first, nor completion, which is silent.
    const reading = NAMES.filter((name) => 'config' in verbOf(name).flags && !['completion', 'replay'].includes(name))
    expect(reading).toEqual(expect.arrayContaining(['run', 'status', 'top', 'plan', 'explain', 'release', 'config']))
    for (const name of reading) {
      const operands = { config: ['show'], explain: ['cpu', '0'] }[name] ?? []
      const refused = verbOf(name).run(...operands, '--set', 'loop.hotMs=fast')
      await expect(refused).rejects.toMatchObject({
        exitCode: 3,
        message: expect.stringContaining('loop.hotMs: expected an integer') as unknown,
      })
    }
  })

  it('that asks a running agent says the same when none answers, with exit code 1', async () => {
    // Not completion, which is silent, nor bundle, which is made all the same and names what is missing (bundle.test.ts).
    const asking = NAMES.filter((name) => 'address' in verbOf(name).flags && !['completion', 'bundle'].includes(name))
    expect(asking).toEqual(expect.arrayContaining(['status', 'top', 'explain']))
    for (const name of asking) {
      const refused = verbOf(name).run(...(name === 'explain' ? ['cpu', '0'] : []), '--address', '127.0.0.1:1')
      await expect(refused).rejects.toMatchObject({
        code: 'E_NO_AGENT',
        exitCode: 1,
        message: expect.stringContaining('no agent answers at 127.0.0.1:1') as unknown,
      })
    }
  })
})

describe('what is printed', () => {
  it.each([
    ['status'],
    ['status', '--brief'],
    ['top'],
    ['explain', 'pod', 'default/web'],
    ['explain', 'cpu', '3'],
    ['explain', 'resource', 'be-cpu'],
    ['explain', 'knob', '/kubepods/besteffort', 'quota'],
  ])('%s %s %s as JSON parses, and as text has no escape code', async (...words) => {
    const given = words.filter((word) => typeof word === 'string')
    const data = await ask([...given, '--json'])
    expect(data).toMatchObject({ code: 0 })
    expect(typeof JSON.parse(data.stdout)).toBe('object')
    const text = await ask(given)
    expect(text).toMatchObject({ code: 0 })
    expect(text.stdout).not.toMatch(ESCAPES)
    expect(text.stdout.length).toBeGreaterThan(20)
  })

  it.each([
    [['version', '--json'], { version: expect.stringMatching(/./) as unknown }],
    [['config', 'show', '--json'], {}],
    [['config', 'schema', '--json'], {}],
    [['config', 'check', 'agent.yaml', '--json'], { valid: true }],
  ])('%j parses', async (words, parts) => {
    const { code, stdout } = await ask(words.map((word) => (word === 'agent.yaml' ? join(directory, word) : word)))
    expect(code).toBe(0)
    expect(JSON.parse(stdout)).toMatchObject(parts)
  })
})

describe('--json of what failed', () => {
  it('has each mistake of a configuration on standard output, with exit code 3', async () => {
    const file = join(directory, 'bad.yaml')
    writeFileSync(file, 'loop:\n  hotMs: fast\ncluster: {server: "https://admin:hunter2@10.0.0.1:6443"}\n')
    const { code, stdout } = await ask(['config', 'check', file, '--json'])
    expect(code).toBe(3)
    expect(JSON.parse(stdout)).toEqual({
      file,
      valid: false,
      issues: [
        { line: 2, column: 10, key: 'loop.hotMs', text: 'expected an integer from 10 to 1000, got "fast"' },
        { line: 3, column: 19, key: 'cluster.server', text: expect.stringContaining('got "https://[redacted]@') as unknown },
      ],
    })
    const missing = await ask(['config', 'check', join(directory, 'none.yaml'), '--json'])
    expect(missing.code).toBe(3)
    expect(JSON.parse(missing.stdout)).toMatchObject({
      valid: false,
      issues: [{ text: expect.stringContaining('ENOENT') as unknown }],
    })
  })

  it('is the same of status, brief or not, where no agent answers', async () => {
    const nobody = { port: 1 }
    const whole = await ask(['status', '--json'], nobody)
    expect(whole).toEqual(await ask(['status', '--brief', '--json'], nobody))
    expect(whole.code).toBe(1)
    expect(JSON.parse(whole.stdout)).toEqual({
      ok: false,
      text: expect.stringMatching(/^error: no agent answers at 127\.0\.0\.1:1: /) as unknown,
    })
  })
})

describe('status --brief', () => {
  it('is OK and exits 0 for an agent that does its work', async () => {
    expect(await ask(['status', '--brief'])).toMatchObject({
      code: 0,
      stdout: expect.stringMatching(/^OK mode enforce, 3 pods.*\n$/) as unknown,
    })
  })

  it('says what is wrong and exits 1, as the whole page does', async () => {
    const brief = await ask(['status', '--brief'], server)
    expect(brief).toMatchObject({ code: 1 })
    expect(brief.stdout).toBe('error: kube-agent.io/be-cpu is not registered with the kubelet: no kubelet.sock\n')
    expect((await ask(['status'], server)).code).toBe(1)
    expect(JSON.parse((await ask(['status', '--brief', '--json'], server)).stdout)).toMatchObject({ ok: false })
  })

  it('says in one line of standard output that nobody answers, and exits 1', () => {
    const ran = kubeAgent(['status', '--brief', '--address', '127.0.0.1:1'])
    expect(ran).toMatchObject({ code: 1 })
    expect(ran.stdout).toMatch(/^error: no agent answers at 127\.0\.0\.1:1: .*\n$/)
  })
})

describe('explain', () => {
  it('hands on what the agent says of a subject that is not there, with its hint, in text and as JSON', async () => {
    for (const flags of [[], ['--json']]) {
      await expect(ask(['explain', 'pdo', 'default/web', ...flags])).rejects.toMatchObject({
        code: 'E_NO_SUBJECT',
        exitCode: 2,
        message: 'not a pod, CPU, resource, knob or group: "pdo default/web"; did you mean pod default/web?',
        hint: expect.stringContaining('Name a pod') as unknown,
      })
    }
  })
})
