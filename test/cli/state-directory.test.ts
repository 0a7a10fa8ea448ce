/**
 * Directories of the agent set to where there can be none. Node's recursive mkdir never returns below /proc, where the kernel answers ENOENT under a
 * directory that is there: whoever mistypes a path gets an error that names the setting, at once, and nothing is left behind.
 */
import { once } from 'node:events'
import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { plantPlainNode } from '../support/trees-on-disk.ts'
import { kubeAgent, startKubeAgent } from './program.ts'

let directory: string
let config: string

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'kube-agent-places-'))
  config = join(directory, 'c.yaml')
  mkdirSync(join(directory, 'pods'))
  const pods = `{source: directory, directory: ${join(directory, 'pods')}}`
  writeFileSync(
    config,
    `node: {name: node-a}\npaths: {cgroup: ${plantPlainNode(directory)}}\npods: ${pods}\nkubelet: {enabled: false}\n`,
  )
})

afterEach(() => rmSync(directory, { recursive: true, force: true }))

describe('a state directory', () => {
  it.each([
    ['/proc/kube-agent/state', 'lies in procfs, which keeps no files', 'Set paths.state to a directory of files'],
    ['/proc/1/kube-agent', 'lies in procfs, which keeps no files', 'Set paths.state to a directory of files'],
    ['/sys/kernel/kube-agent', 'lies in sysfs, which keeps no files', 'Set paths.state to a directory of files'],
    ['/etc/hostname/state', 'ENOTDIR', 'Set paths.state to a directory that this user can write'],
    [`/tmp/${'x'.repeat(120)}`, 'is too long for the socket of the lock, by 63 bytes', 'Set paths.state to a shorter path'],
  ])('at %s is refused with one clear line', (state, problem, hint) => {
    const [verb, ...more] = ['release', '--config', config, '--set', `paths.state=${state}`]
    // What takes longer than this does not end: starting takes most of it, on a machine that others use.
    const ran = kubeAgent([verb, ...more], { timeoutMs: 15_000 })
    expect(ran.stderr).toContain(problem)
    expect(ran.stderr).toContain(hint)
    expect(ran.stderr).toContain('(E_STATE_DIR)')
    expect(ran.code).toBe(4)
    expect(existsSync(state)).toBe(false)
    // libuv would listen at a path that is cut off.
    expect(readdirSync('/tmp').filter((name) => name.startsWith('x'.repeat(50)))).toEqual([])
  })
})

describe('a directory of recordings', () => {
  it('below /proc is told of by its key, and the agent goes on without', async () => {
    const settings = 'recording.enabled=true,recording.directory=/proc/kube-agent/recording,http.enabled=false'
    const child = startKubeAgent(['run', '--mode', 'observe', '--config', config, '--set', settings])
    let log = ''
    child.stderr?.on('data', (data: Buffer) => (log += data.toString()))
    try {
      for (let waitedMs = 0; !log.includes('agent started') && waitedMs < 15_000; waitedMs += 50) await sleep(50)
      expect(log).toContain('the directory /proc/kube-agent/recording (recording.directory) lies in procfs, which keeps no files')
      expect(log).toContain('nothing is recorded; the agent goes on')
      expect(child.exitCode).toBe(null)
    } finally {
      child.kill('SIGTERM')
      if (child.exitCode === null) await once(child, 'exit')
    }
    expect(child.exitCode).toBe(0)
  })
})
