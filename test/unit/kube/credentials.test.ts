/** Token and certificates under rotation, and in every state that a file can be in; and the server's address inside a cluster. */
import { execFileSync } from 'node:child_process'
import { mkdirSync, readFileSync, renameSync, rmSync, symlinkSync, truncateSync, utimesSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it, vi } from 'vitest'
import { Credentials, inClusterServer } from '../../../src/kube/credentials.ts'
import { AgentError } from '../../../src/model/index.ts'
import { planted, type Tree } from '../../support/trees-on-disk.ts'
import { makeCertificates } from '../../support/api-server/certificates.ts'
import { haveOpenssl } from './support.ts'

function opened(tree: Tree = { token: 'first\n' }) {
  const directory = planted(tree)
  const clock = { nowMs: 0 }
  const logger = { info: vi.fn(), warn: vi.fn() }
  const tokenFile = join(directory, 'token')
  const caFile = join(directory, 'ca.crt')
  const credentials = new Credentials({ tokenFile, caFile, now: () => clock.nowMs, logger })
  return { directory, clock, logger, tokenFile, caFile, credentials }
}

describe('the token', () => {
  it('is read again when the file changes, but looked at no more than once a second', () => {
    const { credentials, clock, tokenFile } = opened()
    expect(credentials.token()).toBe('first')
    writeFileSync(tokenFile, 'second, with a space')
    writeFileSync(tokenFile, 'longer-second')
    clock.nowMs = 999
    expect(credentials.token()).toBe('first')
    clock.nowMs = 1000
    expect(credentials.token()).toBe('longer-second')
  })

  it('is found through the swapped link of a projected volume', () => {
    const { credentials, clock, directory } = opened({ a: { token: 'aaa' }, b: { token: 'bbb' } })
    symlinkSync('a', join(directory, '..data'))
    symlinkSync('..data/token', join(directory, 'token'))
    // The same size and the same time: only the inode tells.
    for (const name of ['a', 'b']) utimesSync(join(directory, name, 'token'), 1, 1)
    expect(credentials.token()).toBe('aaa')
    symlinkSync('b', join(directory, '..new'))
    renameSync(join(directory, '..new'), join(directory, '..data'))
    clock.nowMs = 1000
    expect(credentials.token()).toBe('bbb')
  })

  it('is read again at once when it is doubted', () => {
    const { credentials, tokenFile } = opened()
    expect(credentials.token()).toBe('first')
    writeFileSync(tokenFile, 'other')
    credentials.doubtToken()
    expect(credentials.token()).toBe('other')
  })

  it('stays in force while the file is gone, which is told once, and again when it is back', () => {
    const { credentials, clock, logger, tokenFile } = opened()
    credentials.token()
    rmSync(tokenFile)
    for (clock.nowMs = 1000; clock.nowMs < 5000; clock.nowMs += 1000) expect(credentials.token()).toBe('first')
    expect(credentials.problems).toEqual([expect.stringMatching(/token: ENOENT.*stays in force.*cluster\.tokenFile$/)])
    expect(logger.warn).toHaveBeenCalledTimes(1)
    writeFileSync(tokenFile, 'back')
    expect(credentials.token()).toBe('back')
    expect(credentials.problems).toEqual([])
    expect(logger.info).toHaveBeenCalledTimes(1)
  })

  it.each([
    ['missing', (_file: string) => {}, 'ENOENT'],
    ['empty', (file: string) => writeFileSync(file, '\n'), 'empty'],
    ['a directory', (file: string) => mkdirSync(file), 'not a regular file'],
    ['a FIFO', (file: string) => void execFileSync('mkfifo', [file]), 'not a regular file'],
    ['huge', (file: string) => (writeFileSync(file, ''), truncateSync(file, 2 ** 40)), 'more than'],
    ['no token', (file: string) => writeFileSync(file, 'hush-hush and a space'), 'not a token'],
    ['two lines', (file: string) => writeFileSync(file, 'hush-hush\r\nX-Header: 1'), 'not a token'],
  ])('that is %s is an error with the file and a way out, and shows nothing of the file', (_what, make, said) => {
    const { credentials, tokenFile, logger } = opened({})
    make(tokenFile)
    expect(() => credentials.token()).toThrow(tokenFile)
    expect(() => credentials.token()).toThrow(said)
    expect(() => credentials.token()).toThrow('cluster.tokenFile')
    expect(JSON.stringify([credentials.problems, logger.warn.mock.calls])).not.toContain('hush')
  })
})

describe('the certificates', () => {
  it('follow the file, and one that holds none or a broken one leaves those before in force', async (context) => {
    if (!haveOpenssl()) context.skip('needs openssl')
    const { credentials, clock, caFile, directory } = opened({})
    const [first, second] = [await makeCertificates(directory), await makeCertificates(directory)]
    writeFileSync(caFile, first.ca)
    expect(credentials.ca()).toBe(first.ca.trim())
    for (const broken of [
      '',
      'no certificates',
      first.ca.slice(0, 200),
      `${second.ca}${first.ca.replace(/\n.{20}/, '\nAAAA')}`,
      first.key,
    ]) {
      writeFileSync(caFile, broken)
      clock.nowMs += 1000
      expect(credentials.ca()).toBe(first.ca.trim())
      expect(credentials.problems).toEqual([expect.stringMatching(/ca\.crt: .*certificate.*stays in force.*cluster\.caFile$/)])
    }
    writeFileSync(caFile, `# a bundle\n${first.ca}\n${second.ca}`)
    clock.nowMs += 1000
    expect(credentials.ca()).toBe(`${first.ca.trim()}\n${second.ca.trim()}`)
    expect(readFileSync(caFile, 'utf8')).toContain(credentials.ca().split('\n')[1])
  })
})

describe('the server of the cluster', () => {
  const server = (host?: string, port?: string) =>
    inClusterServer({ KUBERNETES_SERVICE_HOST: host, KUBERNETES_SERVICE_PORT: port })

  it('comes from the environment', () => {
    expect(server('10.96.0.1', '6443')).toBe('https://10.96.0.1:6443')
    expect(server('fd00::1', '443')).toBe('https://[fd00::1]:443')
    expect(server('kubernetes.default.svc')).toBe('https://kubernetes.default.svc:443')
    expect(server()).toBeUndefined()
    expect(server('', '443')).toBeUndefined()
  })

  it.each([
    ['a b', '443'],
    ['h/path', '443'],
    ['user@h', '443'],
    ['h', '99999'],
    ['h', 'https'],
    ['fd00::zz', '1'],
  ])('is refused as %s port %s', (host, port) => {
    expect(() => server(host, port)).toThrow(AgentError)
  })
})
