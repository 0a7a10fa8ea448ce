/**
 * `kube-agent release` while an agent runs, as processes on real cgroups: the agent puts everything back and writes nothing more, lives on and says so;
 * an agent that hangs, that can't be asked or that only observes; and a second agent on the same groups with another state directory.
 */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createServer, type Socket } from 'node:net'
import { dirname, join } from 'node:path'
import { readFileSync, writeFileSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterEach, beforeEach, describe, expect, it, onTestFinished, type TestContext } from 'vitest'
import { askAgent } from '../../src/cli/release-ask.ts'
import { lockOwner } from '../../src/actuate/index.ts'
import { DaemonBed } from '../support/daemon-bed.ts'
import { IS_ROOT, kubeAgent } from './program.ts'

const PORT = 19_571
let bed: DaemonBed

beforeEach(async () => {
  if (IS_ROOT) bed = await DaemonBed.open({ port: PORT })
})

afterEach(async () => {
  if (IS_ROOT) await bed.close()
})

function needsRoot(context: TestContext): void {
  if (!IS_ROOT) context.skip('needs root: agents write to cgroups')
}

/** The pod asks for more CPUs: an agent that enforces would write that within a second. */
function askForMore(): void {
  const file = join(bed.directory, 'pods/batch.yaml')
  writeFileSync(file, readFileSync(file, 'utf8').replaceAll(/be-cpu: "?3"?/g, 'be-cpu: 5'))
}

const RELEASED = /released by kube-agent release at 20\S+Z: restart the agent to enforce again/

describe('kube-agent release', { timeout: 120_000 }, () => {
  it('has a running agent put everything back, which lives on, writes nothing more and says so until it is restarted', async (context) => {
    needsRoot(context)
    const before = bed.photograph()
    const daemon = bed.start()
    await bed.untilReady(daemon)
    expect(bed.photograph()).not.toEqual(before)
    const ran = kubeAgent(['release', '--config', bed.config])
    expect(ran).toMatchObject({ code: 0, stderr: '' })
    expect(ran.stdout).toMatch(/^[1-9]\d* restored, \d+ as before already, 0 gone with their group, 0 left alone, 0 failed$/m)
    expect(ran.stdout).toContain(`the agent with pid ${daemon.child.pid} has done this`)
    expect(bed.photograph()).toEqual(before)
    askForMore()
    await sleep(2500)
    expect(bed.photograph()).toEqual(before)
    expect(daemon.hasEnded).toBe(false)

    expect((await bed.get('/statusz'))?.body.replaceAll(/\s+/g, ' ')).toMatch(RELEASED)
    expect((await bed.get('/statusz?brief'))?.body).toContain('mode observe (released)')
    expect((await bed.get('/readyz?verbose'))?.body).toMatch(RELEASED)
    expect((await bed.get('/journal'))?.body).toMatch(RELEASED)
    expect((await bed.get('/livez'))?.status).toBe(200)
    const { body: scrape = '' } = (await bed.get('/metrics')) ?? {}
    expect(scrape).toMatch(/_mode\{mode="observe"\} 1\n/)
    const advertised = [...scrape.matchAll(/_resource_advertised_units\{[^}]*\} (\d+)\n/g)].map(([, units]) => units)
    expect(advertised.length).toBeGreaterThan(0)
    expect(new Set(advertised)).toEqual(new Set(['0']))
    expect(daemon.logged('mode changed')).toHaveLength(1)

    const again = kubeAgent(['release', '--json', '--config', bed.config])
    expect(again.code).toBe(0)
    expect(JSON.parse(again.stdout)).toMatchObject({ restored: 0, failed: [], agent: daemon.child.pid })

    expect(await daemon.stop()).toBe(0)
    const next = bed.start()
    for (let tries = 0; tries < 100 && !bed.podQuota().startsWith('50000'); tries += 1) await sleep(100)
    expect(bed.podQuota()).toMatch(/^50000/)
    await next.stop()
  })

  it('leaves what somebody else has written since, and reports it, as it does without an agent', async (context) => {
    needsRoot(context)
    const daemon = bed.start()
    await bed.untilReady(daemon)
    const isQuota = (path: string): boolean => /cfs_quota_us$|cpu\.max$/.test(path) && dirname(path).endsWith(bed.podGroup)
    const quota = [...bed.photograph().keys()].find(isQuota) ?? ''
    // Faster than any repair.
    const script = 'while :; do echo 123000 > "$0" || exit; done'
    const other = spawn('sh', ['-c', script, quota], { stdio: 'ignore' })
    const ended = once(other, 'exit')
    onTestFinished(async () => {
      other.kill('SIGKILL')
      await ended
    })
    await sleep(500)
    const ran = kubeAgent(['release', '--config', bed.config])
    expect(ran.stdout).toMatch(/left alone: quota of \S+ holds .*, which somebody else wrote/)
    expect(ran.stdout).toMatch(/restored, .* 1 left alone, 0 failed/)
    expect(ran.code).toBe(0)
    expect(bed.podQuota()).toMatch(/^123000/)
  })

  it('gives an agent up that hangs, which does nothing for it once it goes on', async (context) => {
    needsRoot(context)
    const daemon = bed.start()
    await bed.untilReady(daemon)
    daemon.child.kill('SIGSTOP')
    const asked: unknown = await askAgent(bed.stateDirectory, { beginMs: 500, finishMs: 500 }).catch((error: unknown) => error)
    expect(asked).toMatchObject({
      code: 'E_LOCKED',
      message: expect.stringContaining(
        `(pid ${daemon.child.pid}) has not taken the request within 500 ms: nothing was done`,
      ) as string,
      hint: expect.stringContaining(`kill -KILL ${daemon.child.pid}`) as string,
    })
    expect(await lockOwner(bed.stateDirectory)).toBe(daemon.child.pid)
    daemon.child.kill('SIGCONT')
    await sleep(1500)
    expect((await bed.get('/statusz?brief'))?.body).toContain('mode enforce')
    expect(bed.podQuota()).toMatch(/^30000/)
  })

  it('is refused by an agent that knows no such request, and is done without one that only observes', async (context) => {
    needsRoot(context)
    const daemon = bed.start()
    await bed.untilReady(daemon)
    await daemon.stop()
    const observer = bed.start({ words: ['--mode', 'observe'] })
    await bed.untilAnswers(observer)
    const callers: Socket[] = []
    const old = createServer((socket) => {
      callers.push(socket)
      socket.end('4242\n')
    })
    await new Promise<void>((resolve) => old.listen(join(bed.stateDirectory, 'agent.lock'), resolve))
    const refused: unknown = await askAgent(bed.stateDirectory).catch((error: unknown) => error)
    expect(refused).toMatchObject({ code: 'E_LOCKED', message: 'an agent runs on this node (pid 4242) and would suppress again' })
    for (const caller of callers) caller.destroy()
    await new Promise((resolve) => old.close(resolve))
    const ran = kubeAgent(['release', '--config', bed.config])
    expect(ran.code).toBe(0)
    expect(ran.stdout).toMatch(/^[1-9]\d* restored/m)
    expect(ran.stdout).not.toContain('the agent with pid')
    expect(observer.hasEnded).toBe(false)
  })
})

describe('an agent with another state directory on the same groups', { timeout: 60_000 }, () => {
  it('is refused and told whose they are, also while that one hangs, and so is a release there', async (context) => {
    needsRoot(context)
    const elsewhere = ['--set', `paths.state=${bed.directory}/other`]
    const daemon = bed.start()
    await bed.untilReady(daemon)
    daemon.child.kill('SIGSTOP')
    const others = [...elsewhere, '--set', 'http.enabled=false', '--set', 'kubelet.enabled=false']
    for (const words of [
      ['run', ...others],
      ['release', ...elsewhere],
    ]) {
      const ran = kubeAgent([...words, '--config', bed.config])
      expect(ran.code).toBe(4)
      expect(ran.stderr).toContain(`another agent runs on this node: pid ${daemon.child.pid}, on the groups below /sys/fs/cgroup`)
    }
    await daemon.stop('SIGKILL')
    const ran = kubeAgent(['release', ...elsewhere, '--config', bed.config])
    expect(ran).toMatchObject({ code: 0, stderr: '' })
  })
})
