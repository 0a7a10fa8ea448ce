/**
 * The command line as a person meets it: help worth reading, one clear line for each thing that can be wrong, the documented exit code,
 * and nothing written when it is.
 */
import { existsSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { type AddressInfo, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { addressOf } from '../../src/cli/client.ts'
import { plantPlainNode } from '../support/trees-on-disk.ts'
import { BUNDLE, kubeAgent, pipeToHead, runAsync } from './program.ts'

let directory: string

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'kube-agent-cli-'))
})

afterEach(() => rmSync(directory, { recursive: true, force: true }))

function file(name: string, text: string): string {
  const path = join(directory, name)
  writeFileSync(path, text)
  return path
}

describe('help', () => {
  it('lists every verb, and each verb has a page of its own that exits 0', () => {
    const overview = kubeAgent(['--help'])
    expect(overview.code).toBe(0)
    const verbs = ['run', 'demo', 'status', 'plan', 'explain', 'release', 'config', 'version']
    for (const verb of verbs) {
      expect(overview.stdout).toMatch(new RegExp(`^ {2}${verb} `, 'm'))
      const page = kubeAgent([verb, '--help'])
      expect(page).toMatchObject({ code: 0, stderr: '' })
      expect(page.stdout).toContain(`Usage: kube-agent ${verb}`)
      expect(Math.max(...page.stdout.split('\n').map((line) => line.length))).toBeLessThanOrEqual(110)
    }
  })

  it.each([
    [['frobnicate'], 'unknown verb "frobnicate"'],
    [['toString'], 'unknown verb "toString"'],
    [['__proto__'], 'unknown verb "__proto__"'],
    [['config', 'show', '--set', 'loop.hotMs=[1'], '--set loop.hotMs: "[1" is no YAML value'],
    [['run', '--frobnicate'], "Unknown option '--frobnicate'"],
    [['status', 'extra'], 'unexpected word "extra"'],
    [['config', 'check'], 'config check wants a FILE'],
    [['run', '--mode', 'force'], '--mode wants one of observe, plan, enforce, got "force"'],
    [['explain'], 'explain wants a subject'],
  ])('answers %j with one line and exit code 2', (words, message) => {
    const ran = kubeAgent(words)
    expect(ran.code).toBe(2)
    expect(ran.stderr).toContain(message)
    expect(ran.stderr.trim().split('\n').length).toBeLessThanOrEqual(2)
  })
})

describe('config', () => {
  it('check names file, line and column of every mistake, suggests the nearest key and exits 3', () => {
    const path = file('bad.yaml', 'suppressCpu:\n  watermarkPermyrad: 6000\nloop:\n  hotMs: fast\n')
    const ran = kubeAgent(['config', 'check', path])
    expect(ran.code).toBe(3)
    expect(ran.stderr).toContain(`${path}:2:3: suppressCpu.watermarkPermyrad: unknown key; did you mean watermarkPermyriad?`)
    expect(ran.stderr).toContain(`${path}:4:10: loop.hotMs: expected an integer`)
  })

  it('check accepts an empty file', () => {
    const path = file('empty.yaml', '')
    expect(kubeAgent(['config', 'check', path])).toMatchObject({ code: 0, stdout: `${path}: valid\n` })
  })

  it('show says where each value came from', () => {
    const path = file('some.yaml', 'loop:\n  hotMs: 100\n')
    const { code, stdout } = kubeAgent(['config', 'show', '--config', path, '--set', 'log.level=debug'])
    expect(code).toBe(0)
    expect(stdout).toMatch(new RegExp(`^loop\\.hotMs +100 +${path}:2$`, 'm'))
    expect(stdout).toMatch(/^loop\.guardMs +25 +default$/m)
    expect(stdout).toMatch(/^log\.level +debug +--set$/m)
  })
})

describe('--set', () => {
  it('may be repeated, and the later one wins', () => {
    const words = [
      'config',
      'show',
      '--set',
      'loop.hotMs=100',
      '--set',
      'log.level=debug,loop.guardMs=20',
      '--set',
      'loop.hotMs=90',
    ]
    const { code, stdout } = kubeAgent(words)
    expect(code).toBe(0)
    expect(stdout).toMatch(/^loop\.hotMs +90 +--set$/m)
    expect(stdout).toMatch(/^loop\.guardMs +20 +--set$/m)
    expect(stdout).toMatch(/^log\.level +debug +--set$/m)
  })

  it.each(['config', 'run'])('with a bad value hints at no file (%s)', (verb) => {
    const ran = kubeAgent([...(verb === 'config' ? ['config', 'show'] : ['run']), '--set', 'loop.hotMs=fast'])
    expect(ran.code).toBe(3)
    expect(ran.stderr).toContain('--set: loop.hotMs: expected an integer')
    expect(ran.stderr).not.toContain('FILE')
    expect(ran.stderr).toContain('kube-agent config show')
  })
})

describe('a reader that leaves early', () => {
  it('is no failure and no stack trace', () => {
    expect(pipeToHead(['config', 'show'])).toMatchObject({ code: 0, stderr: '' })
  })
})

describe('run refuses to start, with one clear line and nothing written,', () => {
  const refused = (words: readonly string[], code: number, message: string): void => {
    const state = join(directory, 'state')
    const ran = kubeAgent(['run', '--set', `paths.state=${state},http.enabled=false,kubelet.waitMs=0`, ...words])
    expect(ran.stderr).toContain(message)
    expect(ran.code).toBe(code)
    expect(ran.stderr.trim().split('\n').length).toBeLessThanOrEqual(2)
    expect(existsSync(state)).toBe(false)
  }

  it('on a syntax error in the configuration (exit 3)', () => {
    const path = file('broken.yaml', 'loop: [1\n')
    refused(['--config', path], 3, `${path}:`)
  })

  it('on a configuration that is not there (exit 3)', () => {
    refused(['--config', join(directory, 'none.yaml')], 3, 'none.yaml')
  })

  it('without a cgroup tree (exit 4)', () => {
    const path = file('c.yaml', `paths:\n  cgroup: ${directory}\n`)
    refused(['--config', path], 4, `no cgroup tree at ${directory}`)
  })

  it('without the kubelet’s groups (exit 4)', () => {
    const path = file('c.yaml', `paths:\n  cgroup: ${plantPlainNode(directory)}\nnode:\n  cgroupRoot: /elsewhere\n`)
    refused(['--config', path], 4, '/elsewhere/kubepods/besteffort')
  })

  it('without a kubelet socket (exit 4)', () => {
    const path = file('c.yaml', `mode: enforce\npaths:\n  cgroup: ${plantPlainNode(directory)}\n  devicePlugins: ${directory}\n`)
    refused(['--config', path], 4, `${directory}/kubelet.sock does not exist`)
  })

  it('without the right to write the knobs (exit 4)', () => {
    const root = plantPlainNode(directory)
    // A directory in the file's place can't be opened for writing by anybody, root included.
    rmSync(join(root, 'kubepods/besteffort/cpu.max'))
    const path = file('c.yaml', `mode: enforce\nkubelet:\n  enabled: false\npaths:\n  cgroup: ${root}\n`)
    const state = join(directory, 'state')
    const ran = kubeAgent(['run', '--config', path, '--set', `paths.state=${state},http.enabled=false`])
    expect(ran.code).toBe(4)
    expect(ran.stderr).toContain('cannot enforce')
    expect(existsSync(join(state, 'restore.journal'))).toBe(false)
    expect(existsSync(state) ? readdirSync(state) : []).toEqual([])
  })
})

describe('status and explain', () => {
  it('status says that no agent answers, with a next step, and exits 1', () => {
    const ran = kubeAgent(['status', '--address', '127.0.0.1:1'])
    expect(ran.code).toBe(1)
    expect(ran.stderr).toContain('no agent answers at 127.0.0.1:1')
    expect(ran.stderr).toContain('kube-agent run')
  })

  it('asks an IPv6 address in brackets', () => {
    const ran = kubeAgent(['status', '--set', "http.host='::1'", '--set', 'http.port=1'])
    expect(ran.stderr).toContain('no agent answers at [::1]:1')
  })

  it.each([
    ['127.0.0.1', '127.0.0.1:9480'],
    ['node-1.example', 'node-1.example:9480'],
    ['0.0.0.0', '127.0.0.1:9480'],
    ['::', '[::1]:9480'],
    ['::1', '[::1]:9480'],
    ['fd00::7', '[fd00::7]:9480'],
  ])('asks an agent that listens on %s at %s', (host, address) => {
    expect(addressOf({ host, port: 9480 })).toBe(address)
    expect(new URL(`http://${address}/`).port).toBe('9480')
  })

  it('an agent that hangs is not called absent, and explain looks for itself', { timeout: 60_000 }, async () => {
    const hung = createServer((socket) => void socket.on('error', () => undefined))
    await new Promise<void>((resolve) => hung.listen(0, '127.0.0.1', resolve))
    const { port } = hung.address() as AddressInfo
    const path = file(
      'c.yaml',
      `paths:\n  cgroup: ${plantPlainNode(directory)}\npods:\n  directory: ${directory}\nhttp:\n  port: ${port}\n`,
    )
    const run = (...words: string[]) => runAsync(process.execPath, [BUNDLE, ...words, '--config', path])
    const hangs = `an agent is there at 127.0.0.1:${port}, but does not answer within 5 s`
    const [brief, status, top, journal, explain] = await Promise.all([
      run('status', '--brief'),
      run('status'),
      run('top', '--once'),
      run('journal'),
      run('explain', 'cpu', '0'),
    ])
    hung.close()
    expect(brief).toMatchObject({ code: 1, stdout: `error: ${hangs}\n` })
    for (const ran of [status, top, journal]) {
      expect(ran).toMatchObject({ code: 1, stdout: '' })
      expect(ran.stderr).toMatch(new RegExp(`^kube-agent: ${hangs}\n {2}.* its log and at /livez, .* \\(E_NO_ANSWER\\)\n$`))
    }
    expect(explain.code).toBe(0)
    expect(explain.stdout).toMatch(/^cpu +0\n/)
    expect(explain.stderr).toContain(`kube-agent: ${hangs}; this is a look at the node as it is now\n`)
    expect(explain.stderr).toContain('(E_NO_ANSWER)\n')
    expect(explain.stderr).not.toContain('no agent')
  })

  it('plan shows a node that needs nothing, from a look of its own', () => {
    const path = file(
      'c.yaml',
      `paths:\n  cgroup: ${plantPlainNode(directory)}\npods:\n  directory: ${directory}\nhttp:\n  port: 1\n`,
    )
    const ran = kubeAgent(['plan', '--config', path])
    expect(ran.code).toBe(0)
    expect(ran.stdout).toContain('be-cpu')
  })
})
