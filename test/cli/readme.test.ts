/**
 * README.md as a new user takes it: each command in its blocks is typed here as it stands there, in a shell, on real cgroups; what can't be
 * run here (a cluster, Helm, a container engine) is named with the test that comes nearest to it. A command that is in neither list fails.
 */
import { spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join, resolve } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { parseWords } from '../../src/cli/args.ts'
import { VERBS } from '../../src/cli/main.ts'
import { DaemonBed } from '../support/daemon-bed.ts'
import { whyNotHere } from '../support/real-node.ts'
import { BUNDLE } from './program.ts'

const ROOT = resolve(import.meta.dirname, '../..')
const README = readFileSync(join(ROOT, 'README.md'), 'utf8')
const PORT = 19_478
const MS = 120_000

/** Lines of the blocks for a shell, without what is said beside them. */
const COMMANDS = [...README.matchAll(/^```sh\n(.*?)^```/gms)]
  .flatMap(([, block = '']) => block.trim().split('\n'))
  .map((line) => line.replace(/\s+# .*$/, ''))

/** What is typed here: beginnings of lines. */
const TYPED = ['dist/kube-agent.mjs ', 'kube-agent ', 'source <(dist/kube-agent.mjs ']

/** What can't be, and the test that stands for it, by its name there. */
const CHART = 'test/deploy/chart.test.ts'
const PODS = 'test/cli/deploy.test.ts'
const ELSEWHERE: Readonly<Record<string, readonly [file: string, name: string]>> = {
  'npm ci && npm run demo': ['test/cli/demo.test.ts', 'plays through on real cgroups, restores every file and leaves nothing'],
  'npm ci && npm test': ['.ci/run', '\nnpm ci\nnpm test\n'],
  'docker build -f deploy/Dockerfile': [PODS, 'has the command kube-agent, and koffi, which calls'],
  'helm install kube-agent deploy/chart/kube-agent': [CHART, 'gives each object once, in its namespace'],
  'helm upgrade kube-agent deploy/chart/kube-agent -n kube-agent --reuse-values --set config.mode=enforce': [
    CHART,
    'gives no container more than its configuration needs',
  ],
  'helm upgrade kube-agent deploy/chart/kube-agent -n kube-agent --reuse-values --set releaseNodes=true': [
    CHART,
    'releases in an init container with the rights to write, then only looks',
  ],
  'kubectl kube-agent ': ['test/cli/kubectl.test.ts', 'shows what the agent of the node says, for people'],
  'kubectl apply -f deploy/manifests/observe.yaml': [PODS, 'observes with observe.yaml, and leaves the node as it is'],
  'kubectl apply -f deploy/manifests/enforce.yaml': [PODS, 'enforces with what it mounts and may'],
  'kubectl apply -f deploy/manifests/release.yaml': [PODS, 'is released by release.yaml, which then only looks'],
}

/** What only a cluster has: said in the README not to have been tried. */
const UNTRIED = ['helm uninstall ', 'kubectl -n kube-agent ', 'kubectl delete ', 'kubectl get ']

/** Series of one scrape. */
const seriesIn = (scrape: string): number => scrape.split('\n').filter((line) => line !== '' && !line.startsWith('#')).length

/** What the README says of an agent that does this: `some 635 series a node that observes`. */
function seriesTold(what: 'observes' | 'enforces'): number {
  const [, told] = new RegExp(`(\\d+)(?: series)? (?:a node|one) that ${what}`).exec(README.replaceAll('\n', ' ')) ?? []
  return Number(told)
}

/** How far what is told may be from what is there: some series come with what happens. */
const SERIES_SLACK = 0.1
const SERIES_MS = 15_000

/** What a reader puts in the place of an example. */
const IN_PLACE: readonly (readonly [example: string, here: string])[] = [
  ['shop/web', 'jobs/batch'],
  ['--for 10m', '--for 2s'],
]

const isTyped = (command: string): boolean => TYPED.some((beginning) => command.startsWith(beginning))

describe('README.md', () => {
  it('has no command that is neither typed here nor stood for by another test', () => {
    expect(COMMANDS.length).toBeGreaterThan(20)
    const unknown = COMMANDS.filter(
      (command) =>
        !isTyped(command) && ![...Object.keys(ELSEWHERE), ...UNTRIED].some((beginning) => command.startsWith(beginning)),
    )
    expect(unknown).toEqual([])
  })

  it.each(Object.entries(ELSEWHERE))('has “%s”, and a test that stands for it', (beginning, [file, name]) => {
    expect(README).toContain(beginning)
    expect(readFileSync(join(ROOT, file), 'utf8')).toContain(name)
  })

  it('says that no cluster and no Helm has been tried', () => {
    expect(README).toMatch(/has not been tried:\*\* a real cluster, Helm itself/)
  })

  it('names no verb, subject or flag of kube-agent that there is not', () => {
    const named = [...README.matchAll(/`(?:dist\/)?kube-agent(?:\.mjs)? ([a-z]+)([^`\n|([]*)`/g)]
    expect(named.length).toBeGreaterThan(20)
    for (const [text, name = '', rest = ''] of named) {
      const verb = VERBS[name]
      if (verb === undefined) throw new Error(`no verb ${text}`)
      const words = rest.trim().split(/\s+/).filter(Boolean)
      expect(() => parseWords(name, words, verb.flags, verb.maxOperands), text).not.toThrow()
    }
  })

  it('links to no file and no heading that is not there', () => {
    const slug = (heading: string): string =>
      heading
        .toLowerCase()
        .replaceAll(/[^\w\- ]/g, '')
        .replaceAll(' ', '-')
    const anchors = new Set([...README.matchAll(/^#+ (.+)$/gm)].map(([, heading = '']) => slug(heading)))
    for (const [text, target = ''] of README.matchAll(/\]\(([^)\s]+)\)/g)) {
      if (/^https?:/.test(target)) continue
      if (target.startsWith('#')) expect(anchors, text).toContain(target.slice(1))
      else expect(existsSync(join(ROOT, target.split('#')[0] ?? '')), text).toBe(true)
    }
  })
})

describe('each command of README.md for a node', () => {
  let directory: string
  let bed: DaemonBed | undefined

  beforeEach(() => {
    directory = mkdtempSync(join(tmpdir(), 'kube-agent-readme-'))
  })

  afterEach(async () => {
    await bed?.close()
    bed = undefined
    rmSync(directory, { recursive: true, force: true })
  })

  it('does what is said beside it, typed one after the other', { timeout: MS }, async (context) => {
    const why = whyNotHere()
    if (why !== undefined) context.skip(why)
    const open = await DaemonBed.open({ port: PORT, settings: { mode: 'observe' } })
    bed = open
    const bin = join(directory, 'bin')
    mkdirSync(bin)
    symlinkSync(BUNDLE, join(bin, 'kube-agent'))
    symlinkSync(dirname(BUNDLE), join(directory, 'dist'))
    writeFileSync(join(directory, 'new.yaml'), 'suppressCpu:\n  watermarkPermyriad: 6000\n')
    const environment = { PATH: `${bin}:${process.env['PATH'] ?? ''}`, KUBE_AGENT_CONFIG: open.config, NO_COLOR: '1' }
    const type = (command: string) =>
      spawnSync('bash', ['--norc', '-c', command], { cwd: directory, env: environment, encoding: 'utf8', timeout: 30_000 })
    const before = open.photograph()
    let running = open.start({ words: ['--mode', 'observe'] })
    await open.untilAnswers(running)
    const expectSeries = async (what: 'observes' | 'enforces'): Promise<void> => {
      const told = seriesTold(what)
      const series = async (): Promise<number> => seriesIn((await open.get('/metrics'))?.body ?? '')
      const isNear = async (): Promise<boolean> => Math.abs(told / (await series()) - 1) <= SERIES_SLACK
      // The first ticks bring most of them.
      await expect.poll(isNear, { timeout: SERIES_MS, message: `${told} series told of one that ${what}` }).toBe(true)
    }
    for (const typed of COMMANDS.filter(isTyped)) {
      const command = IN_PLACE.reduce((text, [example, here]) => text.replaceAll(example, here), typed)
      if (command.startsWith('dist/kube-agent.mjs run')) {
        expect(await running.stop(), command).toBe(0)
        running = open.start({ words: command.split(' ').slice(2) })
        const enforces = command.includes('enforce')
        await (enforces ? open.untilReady(running) : open.untilAnswers(running))
        await expectSeries(enforces ? 'enforces' : 'observes')
        continue
      }
      // What has been written stays over SIGTERM; no agent may run while it is put back.
      if (command.endsWith(' release')) expect(await running.stop()).toBe(0)
      const { status, stdout, stderr } = type(command)
      expect({ command, status, trouble: stderr.match(/\(E_[A-Z_]+\)|\bat .+:\d+/) }, stderr).toEqual({
        command,
        status: 0,
        trouble: null,
      })
      if (!command.startsWith('source')) expect(stdout, command).not.toBe('')
    }
    expect(open.photograph()).toEqual(before)
    expect(readFileSync(join(directory, 'replay.html'), 'utf8')).toContain('<!doctype html>')
  })
})
