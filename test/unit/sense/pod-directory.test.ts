/**
 * The directory of manifests: what changes there is seen soon, what is broken there keeps its last good pods, and nothing that may lie in
 * a directory (a FIFO, a huge file, a directory with the name of a file) holds the agent up.
 */
import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, renameSync, rmSync, symlinkSync, truncateSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, describe, it, onTestFinished } from 'vitest'
import { PodDirectory } from '../../../src/sense/index.ts'
import { planted, type Tree } from '../../support/trees-on-disk.ts'

const pod = (uid: string, name = uid): string =>
  `kind: Pod\nmetadata: {name: ${name}, uid: ${uid}}\nspec: {containers: [{name: c}]}\n`

let nowMs = 0

/** A source whose poll never comes, unless `rescanMs` says so. */
function opened(directory: string, options: { readonly rescanMs?: number; readonly maxPods?: number } = {}): PodDirectory {
  const source = new PodDirectory({ directory, rescanMs: 3_600_000, maxPods: 100, now: () => nowMs, ...options })
  onTestFinished(() => source.close())
  return source
}

const uids = (source: PodDirectory): string[] => source.list().pods.map((one) => one.uid)

/** The design asks for a second; what is tested is that it comes at all without a poll. */
const SOON = { timeout: 10_000, interval: 5 }

describe('reading', () => {
  it('takes yaml, yml and json, and nothing else', () => {
    const directory = planted({
      'a.yaml': pod('a'),
      'b.yml': pod('b'),
      'c.json': '{"kind":"Pod","metadata":{"name":"c","uid":"c"},"spec":{"containers":[{"name":"c"}]}}',
      'd.txt': pod('d'),
      '.e.yaml': pod('e'),
      'f.yaml~': pod('f'),
    } satisfies Tree)
    expect(uids(opened(directory))).toEqual(['a', 'b', 'c'])
  })

  it('has read an empty directory, and has not read a missing one', () => {
    expect(opened(planted()).list()).toMatchObject({ pods: [], everRead: true, problems: [] })
    const missing = opened(join(planted(), 'none')).list()
    expect(missing).toMatchObject({ pods: [], everRead: false })
    expect(missing.problems[0]).toContain('ENOENT')
  })

  it('takes a manifest that goes while the directory is read for gone, and a link that leads nowhere for a mistake', async () => {
    const directory = planted({ 'good.txt': pod('a') })
    const source = opened(directory)
    const script = 'while :; do ln good.txt a.yaml; rm a.yaml; done'
    const churn = spawn('/bin/sh', ['-c', script], { cwd: directory, stdio: 'ignore' })
    const problems = new Set<string>()
    const seen = new Set<number>()
    try {
      for (const untilMs = performance.now() + 1500; performance.now() < untilMs;) {
        source.rescan()
        for (const problem of source.list().problems) problems.add(problem)
        seen.add(uids(source).length)
      }
    } finally {
      const ended = once(churn, 'exit')
      churn.kill('SIGKILL')
      await ended
    }
    expect([...problems]).toEqual([])
    expect(seen).toEqual(new Set([0, 1]))
    rmSync(join(directory, 'a.yaml'), { force: true })
    symlinkSync('nowhere', join(directory, 'b.yaml'))
    source.rescan()
    expect(source.list().problems).toEqual([expect.stringMatching(/b\.yaml: ENOENT/)])
  })

  it('lets the first file by name win a UID that is given twice, whatever came first', () => {
    const directory = planted({ 'b.yaml': pod('u', 'from-b') })
    const source = opened(directory)
    writeFileSync(join(directory, 'a.yaml'), pod('u', 'from-a'))
    source.rescan()
    expect(source.list().pods.map((one) => one.name)).toEqual(['from-a'])
    expect(source.list().problems).toEqual([
      expect.stringMatching(/b\.yaml: default\/from-b has the UID of default\/from-a in .*a\.yaml/),
    ])
  })

  it('takes no more pods than it may, and says which are left out', () => {
    const source = opened(planted({ 'a.yaml': pod('a'), 'b.yaml': `${pod('b')}---\n${pod('c')}` }), { maxPods: 2 })
    expect(uids(source)).toEqual(['a', 'b'])
    expect(source.list().problems).toEqual([expect.stringContaining('default/c is left out')])
  })

  it('shows a bounded number of problems', () => {
    const tree = Object.fromEntries(Array.from({ length: 80 }, (_, index) => [`${index}.yaml`, 'kind: X\n']))
    expect(opened(planted(tree)).list().problems).toHaveLength(51)
  })

  it('is not held up by a FIFO, a directory, a dangling link or a huge file', () => {
    const directory = planted({ 'a.yaml': pod('a'), 'd.yaml': {}, 'h.yaml': '' })
    execFileSync('mkfifo', [join(directory, 'b.yaml')])
    symlinkSync('nowhere', join(directory, 'c.yaml'))
    truncateSync(join(directory, 'h.yaml'), 2 ** 40)
    const list = opened(directory).list()
    expect(list.pods.map((one) => one.uid)).toEqual(['a'])
    expect(list.problems.map((problem) => problem.slice(directory.length + 1, directory.length + 7))).toEqual([
      'b.yaml',
      'c.yaml',
      'd.yaml',
      'h.yaml',
    ])
  })

  it('keeps the revision and the very pods while nothing has changed', () => {
    const source = opened(planted({ 'a.yaml': pod('a') }))
    const before = source.list()
    nowMs += 1000
    source.rescan()
    expect(source.list().revision).toBe(before.revision)
    expect(source.list().pods).toBe(before.pods)
    expect(source.list().atMs).toBe(nowMs)
  })
})

describe('changes', () => {
  it('sees a file come, change and go without a poll', async () => {
    const directory = planted()
    const source = opened(directory)
    let told = 0
    source.onChange(() => (told += 1))
    writeFileSync(join(directory, 'a.yaml'), pod('a'))
    await expect.poll(() => uids(source), SOON).toEqual(['a'])
    writeFileSync(join(directory, 'a.yaml'), pod('other'))
    await expect.poll(() => uids(source), SOON).toEqual(['other'])
    rmSync(join(directory, 'a.yaml'))
    await expect.poll(() => uids(source), SOON).toEqual([])
    expect(told).toBe(3)
    expect(source.list().revision).toBe(3)
  })

  it('sees a file that is put in place by a rename, as kubelets and editors do it', async () => {
    const directory = planted({ 'a.yaml': pod('a') })
    const source = opened(directory)
    writeFileSync(join(directory, '.a.tmp'), pod('b'))
    renameSync(join(directory, '.a.tmp'), join(directory, 'a.yaml'))
    await expect.poll(() => uids(source), SOON).toEqual(['b'])
  })

  it('is not put off by a writer that never pauses', async () => {
    const directory = planted()
    const source = opened(directory)
    writeFileSync(join(directory, 'a.yaml'), pod('a'))
    const noise = setInterval(() => writeFileSync(join(directory, 'log.txt'), String(Math.random())), 2)
    onTestFinished(() => clearInterval(noise))
    await expect.poll(() => uids(source), SOON).toEqual(['a'])
  })

  it('keeps the last good pods of a file that is broken, and says so until it is mended', () => {
    const directory = planted({ 'a.yaml': pod('a'), 'b.yaml': pod('b') })
    const source = opened(directory)
    writeFileSync(join(directory, 'a.yaml'), 'kind: Pod\nmetadata: [')
    source.rescan()
    source.rescan()
    expect(uids(source)).toEqual(['a', 'b'])
    expect(source.list().problems).toEqual([expect.stringContaining('a.yaml')])
    writeFileSync(join(directory, 'a.yaml'), pod('c'))
    source.rescan()
    expect(uids(source)).toEqual(['c', 'b'])
    expect(source.list().problems).toEqual([])
  })

  it('keeps the pod of a document that was broken beside a good one', () => {
    const directory = planted({ 'a.yaml': `${pod('a')}---\n${pod('b')}` })
    const source = opened(directory)
    writeFileSync(join(directory, 'a.yaml'), `${pod('a')}---\nkind: Pod\nmetadata: {uid: b}\n`)
    source.rescan()
    expect(uids(source)).toEqual(['a', 'b'])
    writeFileSync(join(directory, 'a.yaml'), pod('a'))
    source.rescan()
    expect(uids(source)).toEqual(['a'])
  })

  it('keeps its list while the directory is gone, and grows old', () => {
    const directory = planted({ pods: { 'a.yaml': pod('a') } })
    const source = opened(join(directory, 'pods'))
    const { atMs } = source.list()
    nowMs += 1000
    rmSync(join(directory, 'pods'), { recursive: true })
    source.rescan()
    expect(source.list()).toMatchObject({ atMs, everRead: true })
    expect(uids(source)).toEqual(['a'])
    expect(source.list().problems).toHaveLength(1)
  })

  it('finds a directory that is made later, and from then on needs no poll', async () => {
    const directory = join(planted(), 'pods')
    const source = opened(directory, { rescanMs: 20 })
    mkdirSync(directory)
    await expect.poll(() => source.list().everRead, SOON).toBe(true)
    writeFileSync(join(directory, 'a.yaml'), pod('a'))
    await expect.poll(() => uids(source), SOON).toEqual(['a'])
  })

  it('watches the directory that has taken the place of the one it watched', async () => {
    const root = planted({ pods: { 'a.yaml': pod('a') }, next: { 'b.yaml': pod('b') } })
    const source = opened(join(root, 'pods'))
    renameSync(join(root, 'pods'), join(root, 'old'))
    renameSync(join(root, 'next'), join(root, 'pods'))
    source.rescan()
    expect(uids(source)).toEqual(['b'])
    writeFileSync(join(root, 'pods', 'c.yaml'), pod('c'))
    await expect.poll(() => uids(source), SOON).toEqual(['b', 'c'])
  })

  it('tells nobody and reads nothing once it is closed', async () => {
    const directory = planted()
    const source = opened(directory, { rescanMs: 5 })
    writeFileSync(join(directory, 'a.yaml'), pod('a'))
    source.close()
    await new Promise((resolve) => setTimeout(resolve, 60))
    expect(uids(source)).toEqual([])
  })
})
