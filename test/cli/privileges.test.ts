/**
 * What the agent may do and no more: the bundle with exactly the capabilities of the unit that ships, with fewer, and with a file system that
 * is read-only but for what the unit says. What it leaves on disk, and what it never shows.
 */
import { spawnSync } from 'node:child_process'
import { chmodSync, lstatSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterEach, describe, expect, it, type TestContext } from 'vitest'
import { type Daemon, DaemonBed } from '../support/daemon-bed.ts'
import { whyNotHere } from '../support/real-node.ts'
import { BUNDLE, kubeAgent } from './program.ts'

const PORT = 19_470
const ROOT = resolve(import.meta.dirname, '../..')
/** Linux: bits of the capabilities that something is lost without, by their names. */
const BITS = { CAP_SYS_NICE: 23, CAP_SYS_PTRACE: 19 } as const
type Capability = keyof typeof BITS
const GRANTED: readonly Capability[] = ['CAP_SYS_NICE']
/** Of use with a setting that is off by default. */
const ON_WISH: readonly Capability[] = ['CAP_SYS_PTRACE']

let bed: DaemonBed | undefined

afterEach(async () => {
  await bed?.close()
  bed = undefined
})

async function openBed(context: TestContext, settings: Readonly<Record<string, unknown>> = {}): Promise<DaemonBed> {
  const why = whyNotHere()
  if (why !== undefined) context.skip(why)
  bed = await DaemonBed.open({ port: PORT, settings })
  return bed
}

/** A command that runs another as root with these capabilities, and with no way to get others. */
function only(capabilities: readonly Capability[]): string[] {
  const set = capabilities.map((name) => `,+${name.slice('CAP_'.length).toLowerCase()}`)
  return ['setpriv', `--bounding-set=-all${set.join('')}`, '--inh-caps=-all', '--no-new-privs']
}

function effective({ child }: Daemon): bigint {
  const [, mask = ''] = /^CapEff:\s*([0-9a-f]+)$/m.exec(readFileSync(`/proc/${child.pid}/status`, 'latin1')) ?? []
  return BigInt(`0x${mask}`)
}

const mask = (capabilities: readonly Capability[]): bigint =>
  capabilities.reduce((bits, name) => bits | (1n << BigInt(BITS[name])), 0n)

const niceOf = ({ child }: Daemon): number => Number(readFileSync(`/proc/${child.pid}/stat`, 'latin1').split(' ')[18])
const modeOf = (path: string): string => (lstatSync(path).mode & 0o777).toString(8)

describe('run with the capabilities of the unit and no others', () => {
  it(
    'registers, limits, takes its nice value and complains of nothing; release needs none at all',
    {
      timeout: 60_000,
    },
    async (context) => {
      const here = await openBed(context)
      const before = here.photograph()
      const daemon = here.start({ through: only(GRANTED) })
      await here.untilReady(daemon)
      expect(effective(daemon)).toBe(mask(GRANTED))
      expect(niceOf(daemon)).toBe(-10)
      expect(daemon.logged('own priority not raised')).toEqual([])
      expect(here.kubelet.registrations).toBe(4)
      expect(await daemon.stop()).toBe(0)
      expect(here.photograph()).not.toEqual(before)
      const [command = '', ...words] = only([])
      const release = [...words, process.execPath, BUNDLE, 'release', '--config', here.config]
      const released = spawnSync(command, release, { encoding: 'utf8', timeout: 15_000 })
      expect(released.status).toBe(0)
      expect(released.stdout).toMatch(/^[1-9]\d* restored/m)
      expect(here.photograph()).toEqual(before)
    },
  )

  it('the unit gives these and offers one more, the README names all, and neither any other', () => {
    const unit = readFileSync(join(ROOT, 'deploy/kube-agent.service'), 'utf8')
    const sets = (line: RegExp): string[] => [...unit.matchAll(line)].flatMap(([, set = '']) => set.split(' '))
    expect(sets(/^CapabilityBoundingSet=(.*)$/gm)).toEqual(GRANTED)
    expect(sets(/^#CapabilityBoundingSet=(.*)$/gm)).toEqual(ON_WISH)
    const readme = readFileSync(join(ROOT, 'README.md'), 'utf8')
    const [, section = ''] = /## Privileges and limits\n([\s\S]*?)\n## /.exec(readme) ?? []
    const rows = section.split('\n').flatMap((line) => /^\| `(CAP_\w+)`/.exec(line)?.[1] ?? [])
    expect(rows).toEqual([...GRANTED, ...ON_WISH])
  })
})

describe('run without CAP_SYS_NICE', () => {
  it('says which capability is missing for what, and does everything else', { timeout: 60_000 }, async (context) => {
    const here = await openBed(context, { own: { realtimePriority: 20 } })
    const daemon = here.start({ through: only(ON_WISH) })
    await here.untilReady(daemon)
    expect(effective(daemon)).toBe(mask(ON_WISH))
    expect(daemon.logged('own priority not raised').map(({ problem }) => problem)).toEqual([
      'nice -10 was not taken: the capability CAP_SYS_NICE is missing (EACCES)',
      'priority 20 in the real-time class was not taken (EPERM): the capability CAP_SYS_NICE is missing',
    ])
    expect(niceOf(daemon)).toBe(0)
  })
})

describe('run without any capability', () => {
  it('registers, limits and holds: root owns the files that it writes', { timeout: 60_000 }, async (context) => {
    const here = await openBed(context, { own: { nice: 0 } })
    const daemon = here.start({ through: only([]) })
    await here.untilReady(daemon)
    expect(effective(daemon)).toBe(0n)
    expect(daemon.logged('own priority not raised')).toEqual([])
    expect(daemon.logged('write refused')).toEqual([])
  })
})

describe('run on a file system as the unit has it', () => {
  it(
    'needs to write nowhere but in cgroups, its state directory and the device-plugin directory',
    {
      timeout: 60_000,
    },
    async (context) => {
      const here = await openBed(context)
      mkdirSync(here.stateDirectory, { mode: 0o700 })
      const rw = [here.stateDirectory, here.pluginDirectory].map((path) => `mount --bind ${path} ${path}`).join(' && ')
      // Kernel: a read-only bind mount covers its own mount only, so /sys/fs/cgroup and the two binds, mounts of their own, stay writable.
      const script = `${rw} && mount --rbind / /mnt && mount -o remount,bind,ro /mnt && exec chroot /mnt ${only(GRANTED).join(' ')} "$@"`
      const probe = spawnSync('unshare', ['-m', 'sh', '-c', script, 'sh', 'sh', '-c', ': > /etc/kube-agent-probe'], {
        encoding: 'utf8',
      })
      if (!probe.stderr.includes('Read-only file system')) context.skip(`needs read-only bind mounts: ${probe.stderr}`)
      const daemon = here.start({ through: ['unshare', '-m', 'sh', '-c', script, 'sh'] })
      await here.untilReady(daemon)
      expect(here.kubelet.registrations).toBe(4)
      expect(daemon.logged('write refused')).toEqual([])
      expect(await daemon.stop()).toBe(0)
    },
  )
})

describe('what the agent leaves on disk', () => {
  it(
    'is for its own user alone: journal and lock 0600, sockets 0700 or less, directory 0700, whatever the umask',
    {
      timeout: 60_000,
    },
    async (context) => {
      const here = await openBed(context)
      const daemon = here.start({ through: ['sh', '-c', 'umask 000 && exec "$@"', 'sh'] })
      await here.untilReady(daemon)
      expect(modeOf(here.stateDirectory)).toBe('700')
      const files = readdirSync(here.stateDirectory)
      expect(files).toEqual(expect.arrayContaining(['agent.lock', 'restore.journal']))
      const [socket = ''] = readdirSync(join(here.stateDirectory, 'agent.lock'))
      const modes = [...files, join('agent.lock', socket)].map((name) => [name, modeOf(join(here.stateDirectory, name))])
      expect(modes).toEqual(modes.map(([name]) => [name, name === 'agent.lock' ? '700' : '600']))
      const sockets = readdirSync(here.pluginDirectory).filter((name) => name.startsWith('kube-agent-'))
      expect(sockets).toHaveLength(4)
      for (const name of sockets) expect(modeOf(join(here.pluginDirectory, name))).toBe('700')
    },
  )

  it('is not put where others may write: run and release refuse it, with the way out', { timeout: 60_000 }, async (context) => {
    const here = await openBed(context)
    mkdirSync(here.stateDirectory)
    chmodSync(here.stateDirectory, 0o777)
    for (const verb of ['run', 'release']) {
      const ran = kubeAgent([verb, '--config', here.config])
      expect(ran.code).toBe(4)
      expect(ran.stderr).toContain(`others may write in the state directory ${here.stateDirectory} (mode 777)`)
      expect(ran.stderr).toContain(`chmod 700 ${here.stateDirectory}`)
    }
    expect(readdirSync(here.stateDirectory)).toEqual([])
    expect(here.kubelet.registrations).toBe(0)
  })
})

describe('what the agent shows', () => {
  it('never has the text of the token or of the certificates in it', { timeout: 60_000 }, async (context) => {
    const CANARY = 'canary-5f0c2b'
    const here = await openBed(context)
    const tokenFile = join(here.directory, 'token')
    const caFile = join(here.directory, 'ca.crt')
    writeFileSync(tokenFile, `${CANARY}-token\n`)
    writeFileSync(caFile, `-----BEGIN CERTIFICATE-----\n${CANARY}ca\n-----END CERTIFICATE-----\n`)
    const words = ['--set', `cluster.tokenFile=${tokenFile},cluster.caFile=${caFile},cluster.server=https://127.0.0.1:9`]
    const daemon = here.start({ words: [...words, '--set', 'pods.source=directory,log.level=trace'] })
    await here.untilReady(daemon)
    // A token that can't be one: what is said of it must not quote it.
    writeFileSync(tokenFile, `${CANARY} in two\nlines`)
    await sleep(3000)
    const paths = ['/', '/configz', '/flagz', '/statusz', '/statusz?format=json', '/metrics', '/journal', '/readyz?verbose']
    const pages = await Promise.all([...paths, '/explain?subject=pod/jobs/batch'].map((path) => here.get(path)))
    expect(pages.map((page) => page?.status)).toEqual(pages.map(() => 200))
    expect(pages.find((page) => page?.body.includes(tokenFile))).toBeDefined()
    await daemon.stop()
    expect(daemon.stderr).toContain('"level":"info"')
    for (const text of [...pages.map((page) => page?.body ?? ''), daemon.stderr]) expect(text).not.toContain(CANARY)
  })
})
