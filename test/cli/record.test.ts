/** record, replay and journal as a person uses them: on a node of plain files, with the bundle, and the page in a real browser. */
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { once } from 'node:events'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { NO_BROWSER, startBrowser } from '../support/browser.ts'
import { plantPlainNode } from '../support/trees-on-disk.ts'
import { kubeAgent, startKubeAgent } from './program.ts'

/** Nothing listens there. */
const NO_PORT = 'http.port=1'

let directory: string
let config: string
/** Three seconds of the node. */
let recording: string

beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), 'kube-agent-record-'))
  config = join(directory, 'c.yaml')
  const pods = join(directory, 'pods')
  mkdirSync(pods)
  writeFileSync(
    config,
    `node: {name: node-a}\npaths: {cgroup: ${plantPlainNode(directory)}, state: ${join(directory, 'state')}}\npods: {source: directory, directory: ${pods}}\n`,
  )
  recording = join(directory, 'node.recording')
  expect(kubeAgent(['record', '--config', config, '--for', '3s', '--out', recording])).toMatchObject({ code: 0 })
})

afterAll(() => rmSync(directory, { recursive: true, force: true }))

describe('record', () => {
  it('leaves a file for its user alone, and nothing else', () => {
    expect(statSync(recording).mode & 0o777).toBe(0o600)
    expect(existsSync(join(directory, 'state'))).toBe(false)
  })

  it('ended with Ctrl-C leaves a file that is good', async () => {
    const path = join(directory, 'short.recording')
    const child = startKubeAgent(['record', '--config', config, '--for', '10m', '--out', path, '--json'])
    let told = ''
    child.stdout?.on('data', (chunk: Buffer) => (told += chunk.toString()))
    const exit = once(child, 'exit')
    for (let waitedMs = 0; !existsSync(path) && waitedMs < 15_000; waitedMs += 50) await sleep(50)
    await sleep(1200)
    child.kill('SIGINT')
    expect(await exit).toEqual([0, null])
    expect(JSON.parse(told)).toMatchObject({ path, full: false })
    expect(kubeAgent(['replay', path])).toMatchObject({ code: 0, stdout: expect.stringContaining('No difference') as string })
  })

  it.each([
    [['--for', 'soon'], 2, '--for wants a time such as 500ms, 1s or 2m, got "soon"'],
    [['--out', '/nowhere/a.recording', '--for', '1s'], 1, "can't write /nowhere/a.recording"],
  ])('with %j ends with one clear line', (words, code, message) => {
    const ran = kubeAgent(['record', '--config', config, ...words])
    expect(ran.stderr).toContain(message)
    expect(ran.code).toBe(code)
  })
})

describe('replay', () => {
  it('without other settings says that there is no difference', () => {
    const { code, stdout } = kubeAgent(['replay', recording])
    expect(stdout).toMatch(/^node-a, recorded by kube-agent [\d.]+: \d+ ticks in 1 file, /)
    expect(stdout).toContain('No difference: with the recorded settings all')
    expect(code).toBe(0)
  })

  it('with other settings shows them, as text and as JSON', () => {
    const words = ['replay', recording, '--set', 'resources.memoryUnit=256Mi']
    const { code, stdout } = kubeAgent(words)
    expect(code).toBe(0)
    expect(stdout).toMatch(/^ {2}resources\.memoryUnit +\d+ → 268435456$/m)
    expect(stdout).toMatch(/^ {2}offer be-memory( +\d[\d.]*){7}$/m)
    expect(stdout).toContain('A replay decides about the node as it was recorded.')
    const json = JSON.parse(kubeAgent([...words, '--json']).stdout) as Record<string, unknown>
    expect(json).toMatchObject({ settings: [{ key: 'resources.memoryUnit' }] })
    expect(json['ticks']).toBeGreaterThan(1)
  })

  it('with a file in place of the recorded settings takes that', () => {
    const path = join(directory, 'other.yaml')
    writeFileSync(path, 'suppressCpu: {enabled: false}\n')
    expect(kubeAgent(['replay', recording, '--config', path]).stdout).toMatch(/^ {2}suppressCpu\.enabled +true → false$/m)
  })

  it.each([
    [[], 2, 'replay wants a FILE'],
    [['/nowhere'], 1, "can't read /nowhere"],
    [['RECORDING', '--from', 'yesterday'], 2, '--from wants a time such as'],
    [['RECORDING', '--set', 'suppressCpu.watermarkPermyrad=1'], 3, 'did you mean watermarkPermyriad?'],
    [['RECORDING', '--to', '2001-01-01T00:00'], 1, ''],
  ])('with %j ends with one clear line and exit code %i', (words, code, message) => {
    const ran = kubeAgent(['replay', ...words.map((word) => (word === 'RECORDING' ? recording : word))])
    expect(ran.stderr).toContain(message)
    expect(ran.code).toBe(code)
  })

  it('makes a page that a browser draws without a complaint, in light and dark and on a narrow screen', async (context) => {
    if (NO_BROWSER !== undefined) context.skip(NO_BROWSER)
    const file = join(directory, 'replay.html')
    expect(kubeAgent(['replay', recording, '--set', 'suppressCpu.watermarkPermyriad=6000', '--html', file]).code).toBe(0)
    const browser = await startBrowser()
    try {
      for (const [dark, width] of [
        [false, 1280],
        [true, 400],
      ] as const) {
        const { page, faults } = await browser.open(`file://${file}`, { width, dark })
        expect(await page.locator('canvas').count()).toBeGreaterThan(1)
        await page.focus('#use')
        await page.keyboard.press('End')
        expect(await page.textContent('#use-readout')).toMatch(/^\d\d:\d\d:\d\d\.\d{3}: node [\d.]+ CPU/)
        expect(await page.evaluate('document.documentElement.scrollWidth')).toBe(width)
        expect(faults).toEqual([])
        await page.close()
      }
    } finally {
      await browser.close()
    }
  })
})

describe('a running agent', () => {
  it('goes on without a recording where its directory can’t be made, and says so', async () => {
    const settings = `recording.enabled=true,recording.directory=${config}/recordings,${NO_PORT},http.enabled=false`
    const child = startKubeAgent(['run', '--config', config, '--set', settings])
    let log = ''
    child.stderr?.on('data', (data: Buffer) => (log += data.toString()))
    child.stdout?.on('data', (data: Buffer) => (log += data.toString()))
    try {
      for (let waitedMs = 0; !log.includes('nothing is recorded') && waitedMs < 15_000; waitedMs += 50) await sleep(50)
      expect(log).toMatch(/"reason":"cannot .*c\.yaml\/recordings/)
      await sleep(500)
      expect(child.exitCode).toBe(null)
    } finally {
      child.kill('SIGTERM')
      if (child.exitCode === null) await once(child, 'exit')
    }
    expect(child.exitCode).toBe(0)
  })

  it('keeps a recording that replays without a difference, and tells its journal page by page', async () => {
    const kept = join(directory, 'kept')
    const settings = `recording.enabled=true,recording.directory=${kept},recording.flushMs=200,http.port=0`
    const child = startKubeAgent(['run', '--config', config, '--set', settings])
    let log = ''
    child.stderr?.on('data', (chunk: Buffer) => (log += chunk.toString()))
    const exit = once(child, 'exit')
    let port: string | undefined
    for (let waitedMs = 0; port === undefined && waitedMs < 15_000; waitedMs += 50) {
      await sleep(50)
      port = /"port":(\d+)/.exec(log)?.[1]
    }
    await sleep(2500)
    const ask = (words: readonly string[]) => kubeAgent(['journal', '--address', `127.0.0.1:${port ?? ''}`, ...words])
    const first = ask(['--limit', '2', '--since', '0'])
    expect(first.code).toBe(0)
    const next = /^Read on with: kube-agent journal --since (\d+)$/m.exec(first.stdout)?.[1]
    expect(first.stdout).toMatch(/^\d{4}-\d\d-\d\dT[\d:.]+Z {2}#1 {2}/m)
    const page = JSON.parse(ask(['--since', next ?? '', '--json']).stdout) as { entries: { seq: number }[] }
    expect(page.entries.every(({ seq }) => seq > Number(next))).toBe(true)
    expect(ask(['--pod', 'shop/none']).stdout).toContain('Nothing was decided about shop/none.')
    const metrics = await (await fetch(`http://127.0.0.1:${port ?? ''}/metrics`)).text()
    expect(metrics).toMatch(/^kube_agent_recording_paused 0$/m)
    expect(metrics).toMatch(/^kube_agent_recording_ticks_total [1-9]/m)
    child.kill('SIGTERM')
    expect(await exit).toEqual([0, null])
    expect(statSync(kept).mode & 0o777).toBe(0o700)
    expect(readdirSync(kept)).toEqual(['00000001.recording'])
    expect(readFileSync(join(kept, '00000001.recording'), 'latin1')).toContain('"nodeName":"node-a"')
    expect(kubeAgent(['replay', kept])).toMatchObject({ code: 0, stdout: expect.stringContaining('No difference') as string })
  })

  it.each([
    [['--since', 'x'], 2, '--since wants a whole number from 0'],
    [['--pod', 'web'], 2, '--pod wants NAMESPACE/NAME, got "web"'],
    [['--set', NO_PORT], 1, 'no agent answers at 127.0.0.1:1'],
  ])('is asked for its journal with %j in vain', (words, code, message) => {
    const ran = kubeAgent(['journal', ...words])
    expect(ran.stderr).toContain(message)
    expect(ran.code).toBe(code)
  })
})
