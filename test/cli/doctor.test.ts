/**
 * `doctor` as a person runs it, on this machine's kernel: on a node that has everything, beside a running agent, as another user than root
 * and on a machine that is no node at all. It never writes.
 */
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it, type TestContext } from 'vitest'
import type { Finding, State } from '../../src/cli/doctor/finding.ts'
import { DaemonBed } from '../support/daemon-bed.ts'
import { whyNotHere } from '../support/real-node.ts'
import { IS_ROOT, kubeAgent, NOBODY, type Ran } from './program.ts'

const PORT = 19_476

let directory: string
let bed: DaemonBed | undefined

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'kube-agent-doctor-'))
})

afterEach(async () => {
  await bed?.close()
  bed = undefined
  rmSync(directory, { recursive: true, force: true })
})

async function openBed(context: TestContext): Promise<DaemonBed> {
  const why = whyNotHere()
  if (why !== undefined) context.skip(why)
  bed = await DaemonBed.open({ port: PORT })
  return bed
}

interface Report {
  readonly version: string
  readonly node: { readonly name: string; readonly kernel: string }
  readonly summary: Readonly<Record<State, number>>
  readonly findings: readonly Finding[]
}

function reportOf({ stdout, stderr }: Ran): Report {
  expect(stderr).toBe('')
  return JSON.parse(stdout) as Report
}

function finding(ran: Ran, id: string): Finding {
  const found = reportOf(ran).findings.find((one) => one.id === id)
  if (found === undefined) throw new Error(`no finding ${id} in ${ran.stdout}`)
  return found
}

const failures = (ran: Ran): readonly string[] =>
  reportOf(ran).findings.flatMap(({ id, state, found }) => (state === 'fail' ? [`${id}: ${found}`] : []))

describe('doctor on a machine that is no node', () => {
  const words = () => [
    'doctor',
    '--set',
    `paths.devicePlugins=${directory}/dp,paths.state=${directory}/s,node.cgroupRoot=/no-such`,
  ]

  it('exits 4 with what is missing and what to do, in plain text of its own areas, and makes nothing', () => {
    const ran = kubeAgent(words())
    expect(ran).toMatchObject({ code: 4, stderr: '' })
    for (const area of ['kernel', 'cpus', 'cgroups', 'knobs', 'kubelet', 'permissions', 'state', 'cluster', 'config'])
      expect(ran.stdout).toMatch(new RegExp(`^${area}$`, 'm'))
    expect(ran.stdout).toMatch(/^ {2}FAIL {2}kubelet-socket +the directory .*\/dp does not exist$/m)
    expect(ran.stdout).toMatch(/^ +do: Start the kubelet/m)
    expect(ran.stdout).toMatch(/^The agent can't do its main job here \([-a-z, ]*kubelet-socket/m)
    expect(ran.stdout).not.toContain('\u001b')
    expect(readdirSync(directory)).toEqual([])
  })

  it('says the same in JSON', () => {
    const ran = kubeAgent([...words(), '--json'])
    const report = reportOf(ran)
    expect(ran.code).toBe(4)
    const release = readFileSync('/proc/sys/kernel/osrelease', 'latin1').trim()
    expect(finding(ran, 'kernel-release').found).toContain(release)
    expect(report.node.kernel).toBe(release)
    expect(report.summary.fail).toBe(report.findings.filter(({ state }) => state === 'fail').length)
    expect(report.findings.length).toBe(Object.values(report.summary).reduce((sum, one) => sum + one, 0))
  })

  it('exits 3 where the configuration has a mistake, as every verb does', () => {
    expect(kubeAgent(['doctor', '--set', 'loop.hotMs=fast'])).toMatchObject({ code: 3, stdout: '' })
  })
})

describe('doctor on a node with everything', () => {
  it('finds nothing that fails, exits 0 and leaves every file as it was', { timeout: 60_000 }, async (context) => {
    const here = await openBed(context)
    const before = here.photograph()
    const files = readdirSync(here.directory, { recursive: true })
    const ran = kubeAgent(['doctor', '--json', '--config', here.config])
    expect(failures(ran)).toEqual([])
    expect(ran.code).toBe(0)
    expect(finding(ran, 'knob-quota').state).toBe('ok')
    expect(finding(ran, 'kubelet-socket').state).toBe('ok')
    expect(finding(ran, 'pod-source').found).toMatch(/^1 pod from /)
    expect(finding(ran, 'state-directory').found).toContain('not there yet')
    expect(finding(ran, 'identity-classes').state).toBe('ok')
    expect(finding(ran, 'cgroup-driver').found).toMatch(/^cgroupfs/)
    // No pod-resources socket here: a warning, which counts only where it is asked to.
    expect(finding(ran, 'kubelet-pod-resources').state).toBe('warn')
    expect(kubeAgent(['doctor', '--strict', '--config', here.config]).code).toBe(4)
    expect(here.photograph()).toEqual(before)
    expect(readdirSync(here.directory, { recursive: true })).toEqual(files)
  })

  it('says on cgroup v1 that the run queue takes the place of stalls, and throttling does not', async (context) => {
    const why = whyNotHere('v1')
    if (why !== undefined) context.skip(why)
    const here = await openBed(context)
    const pressure = finding(kubeAgent(['doctor', '--json', '--config', here.config]), 'pressure-groups')
    expect(pressure).toMatchObject({ state: 'note' })
    expect(pressure.found).toMatch(/the run queue of the node takes their place.*Throttling of online pods is not counted/s)
  })

  it('sees a running agent, and does not disturb it', { timeout: 60_000 }, async (context) => {
    const here = await openBed(context)
    const daemon = here.start()
    await here.untilReady(daemon)
    const ran = kubeAgent(['doctor', '--json', '--config', here.config])
    expect(ran.code).toBe(0)
    expect(finding(ran, 'state-lock').found).toContain(`pid ${daemon.child.pid}`)
    expect(finding(ran, 'state-journal')).toMatchObject({
      state: 'ok',
      found: expect.stringMatching(/[1-9]\d* knobs of/) as string,
    })
    expect(finding(ran, 'http-address').found).toContain('an agent answers')
    expect((await here.get('/readyz'))?.status).toBe(200)
    expect(await daemon.stop('SIGKILL')).toBeNull()
    const after = kubeAgent(['doctor', '--json', '--config', here.config])
    expect(finding(after, 'state-journal')).toMatchObject({
      state: 'note',
      remedy: expect.stringContaining('kube-agent release') as string,
    })
  })

  it('names what an ordinary user may not do, and exits 4', { timeout: 60_000 }, async (context) => {
    if (!IS_ROOT) context.skip('needs root, to run as nobody')
    const here = await openBed(context)
    const root = `/${here.podGroup.split('/')[1] ?? ''}`
    const state = join(directory, 'state')
    const set = `node.cgroupRoot=${root},paths.state=${state},paths.devicePlugins=${here.pluginDirectory},http.port=${PORT}`
    const ran = kubeAgent(['doctor', '--json', '--set', set], { uid: NOBODY })
    expect(ran.code).toBe(4)
    expect(finding(ran, 'user')).toMatchObject({ state: 'warn', found: expect.stringContaining(`user ${NOBODY}`) as string })
    expect(finding(ran, 'groups-writable')).toMatchObject({ state: 'fail', found: expect.stringContaining('EACCES') as string })
    expect(finding(ran, 'knob-quota')).toMatchObject({
      state: 'fail',
      found: expect.stringContaining('may not be written by this user') as string,
    })
    expect(finding(ran, 'capability-sys-nice').state).toBe('warn')
    expect(finding(ran, 'state-directory')).toMatchObject({ state: 'fail', found: expect.stringContaining('EACCES') as string })
    expect(existsSync(state)).toBe(false)
  })
})
