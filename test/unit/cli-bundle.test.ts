/** The parts of `bundle` that need no node: the archive as tar(1) sees it, and what stands in the manifest. */
import { execFileSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import * as fc from 'fast-check'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { agentParts, type Get, noAgentParts, whyNoAgent } from '../../src/cli/bundle/agent-parts.ts'
import { archiveOf, type Contents } from '../../src/cli/bundle/archive.ts'
import { MAX_PART_BYTES, type Part } from '../../src/cli/bundle/part.ts'
import { recordingParts } from '../../src/cli/bundle/recording-parts.ts'
import { tarOf, type TarFile } from '../../src/cli/bundle/tar.ts'
import { writeToFile } from '../../src/cli/bundle/write.ts'
import { AgentError } from '../../src/model/index.ts'

let directory: string

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'kube-agent-bundle-'))
})

afterEach(() => rmSync(directory, { recursive: true, force: true }))

async function* each<Item>(items: Iterable<Item>): AsyncGenerator<Item> {
  yield* items
}

async function bytesOf(chunks: AsyncIterable<Buffer>): Promise<Buffer> {
  const all: Buffer[] = []
  for await (const chunk of chunks) all.push(chunk)
  return Buffer.concat(all)
}

const MTIME_MS = Date.UTC(2026, 10, 21, 3, 4, 5)

function tarFile(path: string, content: Buffer): TarFile {
  return { path, bytes: content.length, mtimeMs: MTIME_MS, content: [content] }
}

/** Unpacks with tar(1) itself, and reads what is there then. */
function unpack(archive: Buffer): ReadonlyMap<string, Buffer> {
  const target = mkdtempSync(join(directory, 'unpacked-'))
  execFileSync('tar', ['-x', '-C', target], { input: archive, maxBuffer: 1024 ** 3 })
  const names = readdirSync(target, { recursive: true, encoding: 'utf8' }).filter((name) => statSync(join(target, name)).isFile())
  return new Map(names.map((name) => [name, readFileSync(join(target, name))]))
}

describe('an archive', () => {
  it('is what tar(1) lists and unpacks: names, owner, mode, time and length', async () => {
    const long = `${'d'.repeat(150)}/${'f'.repeat(100)}`
    const files = [
      tarFile('a/b.txt', Buffer.from('one\n')),
      tarFile('a/empty', Buffer.alloc(0)),
      tarFile(long, Buffer.alloc(513, 7)),
    ]
    const archive = await bytesOf(tarOf(each(files)))
    expect(archive.length % 512).toBe(0)
    const listed = execFileSync('tar', ['--utc', '--full-time', '-tv'], { input: archive, encoding: 'utf8' })
    expect(listed.trim().split('\n')).toEqual([
      expect.stringMatching(/^-rw------- 0\/0 +4 2026-11-21 03:04:05 a\/b\.txt$/),
      expect.stringMatching(/^-rw------- 0\/0 +0 2026-11-21 03:04:05 a\/empty$/),
      expect.stringMatching(new RegExp(`^-rw------- 0/0 +513 2026-11-21 03:04:05 ${long}$`)),
    ])
    expect(unpack(archive)).toEqual(
      new Map([
        ['a/b.txt', Buffer.from('one\n')],
        ['a/empty', Buffer.alloc(0)],
        [long, Buffer.alloc(513, 7)],
      ]),
    )
  })

  it('comes out of tar(1) as it went in, whatever the names and contents', async () => {
    const name = fc.stringMatching(/^[A-Za-z0-9_-]{1,60}$/)
    // Numbered, so that no name is another's directory.
    const path = fc.array(name, { minLength: 0, maxLength: 2 })
    const file = fc.tuple(path, fc.uint8Array({ maxLength: 1600 }))
    await fc.assert(
      fc.asyncProperty(fc.array(file, { minLength: 1, maxLength: 8 }), async (drawn) => {
        const files = drawn.map(([parts, content], index): [string, Buffer] => [
          [`d${index}`, ...parts, 'f'].join('/'),
          Buffer.from(content),
        ])
        const archive = await bytesOf(tarOf(each(files.map(([at, content]) => tarFile(at, content)))))
        expect(unpack(archive)).toEqual(new Map(files))
      }),
      { numRuns: 15 },
    )
  })

  it.each([
    '/etc/passwd',
    '../up',
    'a/../b',
    'a//b',
    '',
    'a/',
    'line\nbreak',
    'ü',
    'a'.repeat(101),
    `${'a'.repeat(160)}/b${'c'.repeat(99)}`,
  ])('takes no path that leads elsewhere or does not fit: %j', async (path) => {
    await expect(bytesOf(tarOf(each([tarFile(path, Buffer.from('x'))])))).rejects.toThrow(AgentError)
  })

  it('takes no content of another length than was said', async () => {
    await expect(bytesOf(tarOf(each([{ ...tarFile('a', Buffer.from('xyz')), bytes: 2 }])))).rejects.toThrow('3 bytes where 2')
  })
})

const ABOUT = { directory: 'bundle', version: '1.2.3', nodeName: 'node-a', wallMs: MTIME_MS }

async function archived(
  parts: readonly Part[],
): Promise<{ readonly files: ReadonlyMap<string, Buffer>; readonly contents: Contents }> {
  const contents: Contents = { files: [], missing: [] }
  const files = unpack(await bytesOf(archiveOf(each(parts), ABOUT, contents)))
  return { files, contents }
}

describe('a bundle', () => {
  it('lists every file in its manifest with length and SHA-256, and what is missing with the reason, in README.txt too', async () => {
    const { files } = await archived([
      { is: 'text', path: 'agent/a.txt', source: '/a', text: 'hello\n', note: 'half of it' },
      { is: 'missing', path: 'agent/b.txt', source: '/b', reason: 'HTTP 500: oh, password=hunter2' },
      {
        is: 'file',
        path: 'recording/r',
        source: '/r',
        bytes: 3,
        mtimeMs: 0,
        content: each([Buffer.from('ab'), Buffer.from('c')]),
      },
    ])
    const manifest = JSON.parse(files.get('bundle/manifest.json')?.toString() ?? '') as Contents
    expect(manifest).toMatchObject({ format: 1, version: '1.2.3', nodeName: 'node-a', madeAt: '2026-11-21T03:04:05.000Z' })
    expect(manifest.missing).toEqual([{ path: 'agent/b.txt', source: '/b', reason: 'HTTP 500: oh, password=[redacted]' }])
    expect(manifest.files.map(({ path }) => path)).toEqual(['agent/a.txt', 'recording/r', 'README.txt'])
    for (const { path, bytes, sha256 } of manifest.files) {
      const content = files.get(`bundle/${path}`) ?? Buffer.alloc(0)
      expect({ path, bytes, sha256 }).toEqual({
        path,
        bytes: content.length,
        sha256: createHash('sha256').update(content).digest('hex'),
      })
    }
    expect([...files.keys()].sort()).toEqual([
      'bundle/README.txt',
      'bundle/agent/a.txt',
      'bundle/manifest.json',
      'bundle/recording/r',
    ])
    const readme = files.get('bundle/README.txt')?.toString() ?? ''
    expect(readme).toMatch(/^ {2}agent\/a\.txt +\/a; half of it$/m)
    expect(readme).toMatch(/^ {2}missing +agent\/b\.txt: HTTP 500: oh/m)
  })

  it('cuts a text that is too long, never within a character, and says so', async () => {
    const text = 'ü'.repeat(MAX_PART_BYTES)
    const { files, contents } = await archived([{ is: 'text', path: 'long.txt', source: 'x', text: `a${text}` }])
    const kept = files.get('bundle/long.txt') ?? Buffer.alloc(0)
    expect(kept.length).toBe(MAX_PART_BYTES - 1)
    expect(`a${text}`.startsWith(kept.toString())).toBe(true)
    expect(contents.files[0]).toMatchObject({ bytes: MAX_PART_BYTES - 1, cutFromBytes: 2 * MAX_PART_BYTES + 1 })
  })
})

async function collected(parts: AsyncIterable<Part>): Promise<readonly Part[]> {
  const all: Part[] = []
  for await (const part of parts) all.push(part)
  return all
}

const textOf = (parts: readonly Part[], path: string): string => {
  const part = parts.find((one) => one.path === path)
  return part?.is === 'text' ? part.text : `not there: ${JSON.stringify(part)}`
}

/** An agent with 1,200 entries in its journal, of which the first 100 are no longer kept. */
function agent(over: Readonly<Record<string, { readonly status: number; readonly body: string }>> = {}): Get {
  return (path) => {
    const { pathname, searchParams } = new URL(path, 'http://agent')
    const given = over[pathname]
    if (given !== undefined) return Promise.resolve(given)
    if (pathname === '/journal') {
      const since = Number(searchParams.get('since') ?? 1199)
      const end = Math.min(1200, Math.max(since, 100) + Number(searchParams.get('limit')))
      const seqs = Array.from({ length: Math.max(0, end - Math.max(since, 100)) }, (_, index) => Math.max(since, 100) + index + 1)
      return Promise.resolve({
        status: 200,
        body: JSON.stringify({ entries: seqs.map((seq) => ({ seq })), next: end, oldest: 101 }),
      })
    }
    if (path === '/statusz?format=json')
      return Promise.resolve({
        status: 200,
        body: JSON.stringify({ pods: [{ pod: 'a/b' }, { pod: 'a/b' }, { pod: 'c/d' }], resources: [{ resource: 'be-cpu' }] }),
      })
    return Promise.resolve({ status: 200, body: `OK ${path}\n` })
  }
}

describe('what an agent tells', () => {
  it('has each page, all the journal that is kept, and why every pod and resource is as it is', async () => {
    const parts = await collected(agentParts(agent(), () => 0))
    expect(parts.filter(({ is }) => is !== 'text')).toEqual([])
    const seqs = textOf(parts, 'agent/journal.jsonl')
      .trim()
      .split('\n')
      .map((line) => (JSON.parse(line) as { seq: number }).seq)
    expect(seqs).toEqual(Array.from({ length: 1100 }, (_, index) => 101 + index))
    expect(textOf(parts, 'agent/explain-pods.txt').match(/^==== .*$/gm)).toEqual(['==== pod a/b', '==== pod c/d'])
    expect(textOf(parts, 'agent/explain-resources.txt')).toContain('==== resource be-cpu')
    expect(
      noAgentParts('why')
        .map(({ path }) => path)
        .sort(),
    ).toEqual(parts.map(({ path }) => path).sort())
  })

  it('names a page that fails with its status, and takes one of an agent that is not ready', async () => {
    const parts = await collected(
      agentParts(
        agent({
          '/metrics': { status: 500, body: 'internal error\nmore' },
          '/readyz': { status: 503, body: 'not ready' },
          '/journal': { status: 200, body: 'no JSON' },
        }),
        () => 0,
      ),
    )
    const named = (path: string) => parts.find((part) => part.path === path)
    expect(named('agent/metrics.txt')).toMatchObject({ is: 'missing', reason: 'HTTP 500: internal error' })
    expect(named('agent/readyz.txt')).toMatchObject({
      is: 'text',
      text: 'not ready',
      note: expect.stringContaining('503') as string,
    })
    expect(named('agent/journal.jsonl')).toMatchObject({ is: 'missing' })
  })

  it('does not explain pods for ever, and says how many are left out', async () => {
    let nowMs = 0
    const parts = await collected(agentParts(agent(), () => (nowMs += 20_000)))
    expect(parts.find(({ path }) => path === 'agent/explain-pods.txt')).toMatchObject({ note: '1 of 2 left out' })
  })

  it('is nothing where something else answers', async () => {
    expect(await whyNoAgent(agent({ '/statusz': { status: 200, body: '<html>' } }))).toContain('no kube-agent')
    expect(await whyNoAgent(agent())).toBeUndefined()
    expect(await whyNoAgent(() => Promise.reject(new AgentError('E_NO_AGENT', 'nobody')))).toBe('nobody')
  })
})

describe('a recording', () => {
  it('is taken as it is, and nothing else is taken for one', async () => {
    const head = 'kube-agent recording 1\n{"version":"1","nodeName":"n","session":"s","segment":1,"wallMs":1}\n'
    mkdirSync(join(directory, 'r'))
    writeFileSync(join(directory, 'r/00000001.recording'), `${head}first`)
    writeFileSync(join(directory, 'r/00000002.recording'), 'apiVersion: v1\nkind: Config\nusers: [{user: {token: hunter2}}]\n')
    const contents: Contents = { files: [], missing: [] }
    const archive = await bytesOf(archiveOf(recordingParts(join(directory, 'r')), ABOUT, contents))
    expect(unpack(archive).get('bundle/recording/00000001.recording')?.toString()).toBe(`${head}first`)
    expect(archive.includes('hunter2')).toBe(false)
    expect(contents.missing).toEqual([
      expect.objectContaining({
        path: 'recording/00000002.recording',
        reason: expect.stringContaining('is not a recording') as string,
      }),
    ])
    expect(await collected(recordingParts(join(directory, 'none')))).toMatchObject([{ is: 'missing' }])
  })
})

describe('the file of a bundle', () => {
  const chunks = (): AsyncIterable<Buffer> => each([Buffer.from('abc')])
  const signal = new AbortController().signal
  const path = (): string => join(directory, 'b.tar.gz')

  it('is for its user alone, and replaces nothing unless that is asked for', async () => {
    await writeToFile(chunks(), path(), { force: false, signal })
    expect(statSync(path()).mode & 0o777).toBe(0o600)
    const before = readFileSync(path())
    await expect(writeToFile(chunks(), path(), { force: false, signal })).rejects.toMatchObject({
      code: 'E_BUNDLE',
      hint: expect.stringContaining('--force') as string,
    })
    expect(readFileSync(path())).toEqual(before)
    await writeToFile(each([Buffer.from('other')]), path(), { force: true, signal })
    expect(readFileSync(path())).not.toEqual(before)
    expect(readdirSync(directory)).toEqual(['b.tar.gz'])
  })

  it('does not replace one that came there meanwhile', async () => {
    async function* slow(): AsyncGenerator<Buffer> {
      yield Buffer.from('abc')
      writeFileSync(path(), 'mine')
    }
    await expect(writeToFile(slow(), path(), { force: false, signal })).rejects.toMatchObject({
      code: 'E_BUNDLE',
      message: `${path()} is there already`,
    })
    expect(readFileSync(path(), 'utf8')).toBe('mine')
    expect(readdirSync(directory)).toEqual(['b.tar.gz'])
  })

  it('is not there, nor half of it, when gathering fails or is stopped', async () => {
    async function* failing(): AsyncGenerator<Buffer> {
      yield Buffer.alloc(100_000)
      throw new AgentError('E_RECORDING', 'it became shorter')
    }
    await expect(writeToFile(failing(), path(), { force: false, signal })).rejects.toMatchObject({ code: 'E_RECORDING' })
    const stop = new AbortController()
    async function* stopped(): AsyncGenerator<Buffer> {
      yield Buffer.alloc(100_000)
      stop.abort()
      yield Buffer.alloc(100_000)
    }
    await expect(writeToFile(stopped(), path(), { force: false, signal: stop.signal })).rejects.toMatchObject({
      code: 'E_BUNDLE',
    })
    expect(readdirSync(directory)).toEqual([])
  })
})
