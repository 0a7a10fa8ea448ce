/** `kube-agent bundle` as a person uses it: beside a running agent, without one, in a pipe, and on a node whose configuration has a mistake. */
import { spawnSync, type ChildProcess } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { Contents } from '../../src/cli/bundle/archive.ts'
import { plantPlainNode } from '../support/trees-on-disk.ts'
import { BUNDLE, endNow, kubeAgent, startServing } from './program.ts'

const MS = 60_000
/** In an environment variable, a token file, a URL and a flag: nowhere in a bundle. */
const SECRET = 'hunter2hunter2'

let directory: string
let config: string
let agent: ChildProcess | undefined
let port = 0

beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), 'kube-agent-bundle-'))
  config = join(directory, 'c.yaml')
  const pods = join(directory, 'pods')
  mkdirSync(pods)
  writeFileSync(join(directory, 'token'), SECRET)
  writeFileSync(
    join(pods, 'web.yaml'),
    `apiVersion: v1\nkind: Pod\nmetadata: {name: web, namespace: shop, uid: 11111111-0000-4000-8000-000000000001}\nspec: {containers: [{name: main, env: [{name: DB, value: ${SECRET}}]}]}\nstatus: {phase: Running, qosClass: BestEffort}\n`,
  )
  writeFileSync(
    config,
    `node: {name: node-a}\npaths: {cgroup: ${plantPlainNode(directory)}, state: ${join(directory, 'state')}}\npods: {source: directory, directory: ${pods}}\ncluster: {tokenFile: ${join(directory, 'token')}}\nhttp: {port: 0}\nrecording: {enabled: true, directory: ${join(directory, 'recording')}, flushMs: 200}\n`,
  )
  ;({ agent, port } = await startServing(config))
  const recorded = (): boolean => existsSync(join(directory, 'recording/00000001.recording'))
  for (let tries = 0; tries < 200 && !(recorded() && (await knowsThePod())); tries += 1) await sleep(100)
}, MS)

afterAll(async () => {
  await endNow(agent)
  rmSync(directory, { recursive: true, force: true })
})

async function knowsThePod(): Promise<boolean> {
  const answer = await fetch(`http://127.0.0.1:${port}/statusz?format=json`).catch(() => undefined)
  return ((await answer?.text()) ?? '').includes('shop/web')
}

/** A file in a directory of its own: a test that is tried again must not find its first try. */
function fresh(name: string): string {
  return join(mkdtempSync(join(directory, 'out-')), name)
}

/** Unpacks with tar(1) and gives every file by its path below the directory of the bundle. */
function unpack(file: string): ReadonlyMap<string, string> {
  const target = mkdtempSync(join(directory, 'unpacked-'))
  const { status, stderr } = spawnSync('tar', ['-xzf', file, '-C', target], { encoding: 'utf8' })
  expect({ status, stderr }).toEqual({ status: 0, stderr: '' })
  const [top = '', ...others] = readdirSync(target)
  expect(top).toMatch(/^kube-agent-[\w.-]+-\d{8}T\d{6}Z$/)
  expect(others).toEqual([])
  const names = readdirSync(join(target, top), { recursive: true, encoding: 'utf8' })
  const isFile = (name: string): boolean => statSync(join(target, top, name)).isFile()
  return new Map(names.filter(isFile).map((name) => [name, readFileSync(join(target, top, name), 'latin1')]))
}

const manifestOf = (files: ReadonlyMap<string, string>): Contents => JSON.parse(files.get('manifest.json') ?? '') as Contents

describe('bundle beside a running agent', () => {
  it('has all that the agent and the node tell, and no secret', { timeout: MS }, () => {
    const file = fresh('full.tar.gz')
    const words = ['--config', config, '--address', `127.0.0.1:${port}`, '--recording', join(directory, 'recording')]
    const ran = kubeAgent(['bundle', ...words, '--output', file], {
      timeoutMs: MS,
    })
    const files = unpack(file)
    expect(manifestOf(files).missing).toEqual([])
    expect(ran).toMatchObject({ code: 0, stderr: '' })
    expect(ran.stdout).toMatch(/^\d+ files of .* before compression: .*full\.tar\.gz$/m)
    expect(files.get('agent/status.txt')).toContain('node-a')
    expect(JSON.parse(files.get('agent/status.json') ?? '')).toMatchObject({ nodeName: 'node-a' })
    expect(files.get('agent/explain-pods.txt')).toContain('==== pod shop/web')
    expect(files.get('agent/configz.txt')).toContain(`${config}:1`)
    expect(files.get('agent/metrics.txt')).toContain('kube_agent_build_info')
    expect(files.get('agent/journal.jsonl')).toMatch(/^\{"seq":\d+.*\}$/m)
    expect(files.get('node/doctor.txt')).toContain('config-mode')
    expect(JSON.parse(files.get('node/kernel.json') ?? '')).toHaveProperty('cgroups.capabilities.knobs.quota')
    expect(JSON.parse(files.get('node/restore-journal.json') ?? '')).toHaveProperty('is')
    expect(files.get('recording/00000001.recording')).toMatch(/^kube-agent recording 1\n/)
    expect([...files].filter(([, text]) => text.includes(SECRET)).map(([name]) => name)).toEqual([])
    expect(files.get('config/show.txt')).toContain(join(directory, 'token'))
    expect(statSync(file).mode & 0o777).toBe(0o600)
    const replayed = fresh('00000001.recording')
    writeFileSync(replayed, files.get('recording/00000001.recording') ?? '', 'latin1')
    expect(kubeAgent(['replay', replayed]).stdout).toContain('No difference')
  })
})

describe('bundle without an agent', () => {
  it('looks for itself, names what is missing and why, and exits 1', { timeout: MS }, () => {
    const file = fresh('alone.tar.gz')
    const ran = kubeAgent(['bundle', '--config', config, '--set', 'http.port=1', '--output', file, '--json'], { timeoutMs: MS })
    expect(ran.code).toBe(1)
    const files = unpack(file)
    const { missing } = manifestOf(files)
    expect(JSON.parse(ran.stdout)).toMatchObject({ path: file, missing })
    expect(new Set(missing.map(({ reason }) => reason.slice(0, 33)))).toEqual(new Set(['no agent answers at 127.0.0.1:1: ']))
    expect(missing.map(({ path }) => path)).toContain('agent/explain-pods.txt')
    expect(files.get('look/status.txt')).toContain('node-a')
    expect(files.get('look/explain-pods.txt')).toContain('==== pod shop/web')
    expect(files.get('look/plan.txt')).not.toBe('')
    expect(files.get('README.txt')).toMatch(/^ {2}missing +agent\/status\.txt, /m)
    expect(existsSync(join(directory, 'state'))).toBe(false)
  })

  it('is made with the defaults where the configuration has a mistake, which is in it', { timeout: MS }, () => {
    const bad = join(directory, 'bad.yaml')
    writeFileSync(bad, `loop: { hotMs: fast }\ncluster: { server: 'https://admin:${SECRET}@127.0.0.1:1' }\n`)
    const file = fresh('bad.tar.gz')
    const words = ['bundle', '--config', bad, '--address', '127.0.0.1:1', '--output', file]
    expect(kubeAgent(words, { timeoutMs: MS }).code).toBe(1)
    const files = unpack(file)
    expect(files.get('config/mistakes.txt')).toContain('loop.hotMs')
    expect(files.get('config/mistakes.txt')).toContain('cluster.server')
    expect([...files.values()].join('')).not.toContain(SECRET)
    expect(manifestOf(files).missing).toContainEqual(expect.objectContaining({ path: 'config/show.txt' }))
    expect(files.get('node/doctor.txt')).toContain('kernel')
    const again = kubeAgent(words, { timeoutMs: MS })
    expect(again).toMatchObject({ code: 1, stdout: '' })
    expect(again.stderr).toContain('is there already')
  })
})

describe('bundle --output -', () => {
  it('is the archive and nothing else on standard output', { timeout: MS }, () => {
    const piped = fresh('piped.tar.gz')
    const script = '"$0" "$@" > "$OUT"'
    const words = [BUNDLE, 'bundle', '--config', config, '--address', `127.0.0.1:${port}`, '--output', '-']
    const ran = spawnSync('sh', ['-c', script, process.execPath, ...words], {
      encoding: 'utf8',
      timeout: MS,
      env: { ...process.env, OUT: piped },
    })
    expect(ran.stderr).toMatch(/^\d+ files of [^\n]*\n$/)
    expect(ran.status).toBe(0)
    expect(manifestOf(unpack(piped)).missing).toEqual([])
  })
})
