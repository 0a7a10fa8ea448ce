/**
 * The verb `release` where it can't put everything back, on real cgroups: it says what is left and why, fails, and does the rest when it can.
 */
import { spawnSync, type SpawnSyncReturns } from 'node:child_process'
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { crc32 } from 'node:zlib'
import { describe, expect, it } from 'vitest'
import { journalPath } from '../../src/actuate/index.ts'
import { DaemonBed } from '../support/daemon-bed.ts'
import { BUNDLE, IS_ROOT } from './program.ts'

const MEMORY = '/sys/fs/cgroup/memory'

describe('release', () => {
  it(
    'fails for what it can not read or does not know, names it, and puts it back when it can',
    { timeout: 60_000 },
    async (context) => {
      if (!IS_ROOT) context.skip('needs root')
      if (!existsSync(MEMORY)) context.skip(`needs a memory controller of its own at ${MEMORY}, to be taken away: cgroup v1`)
      if (spawnSync('unshare', ['-m', 'true']).status !== 0) context.skip('needs mount namespaces')
      const bed = await DaemonBed.open({
        port: 19_563,
        settings: { kubelet: { enabled: false }, suppressCpu: { enabled: false } },
      })
      try {
        const before = bed.photograph()
        const daemon = bed.start()
        const limit = (): string =>
          [...bed.photograph()].find(([path]) => /\/pod[^/]*\/memory\.limit_in_bytes$/.test(path))?.[1] ?? ''
        await expect.poll(limit, { timeout: 20_000, interval: 100 }).toBe(String(512 << 20))
        expect(await daemon.stop()).toBe(0)
        const command = [process.execPath, BUNDLE, 'release', '--config', bed.config]
        const release = (...through: readonly string[]): SpawnSyncReturns<string> => {
          const [name = '', ...rest] = [...through, ...command]
          return spawnSync(name, rest, { encoding: 'utf8', timeout: 20_000 })
        }

        const blind = release('unshare', '-m', 'sh', '-c', `umount ${MEMORY} && exec "$@"`, 'sh')
        expect(blind.stdout).toMatch(/^not restored: memoryMax of \/.*: it can't be read, though its group is there; see /m)
        expect(blind.stdout).toMatch(/^[1-9]\d* restored, .*, 1 failed$/m)
        expect([blind.status, limit()]).toEqual([1, String(512 << 20)])

        const file = journalPath(bed.stateDirectory)
        const known = readFileSync(file, 'utf8')
        const record = known.split('\n').find((line) => line.includes('"memoryMax"') && line.includes('"original"')) ?? ''
        const later = record.slice(9).replace('"memoryMax"', '"memoryLater"')
        writeFileSync(file, `${known}${crc32(later).toString(16).padStart(8, '0')} ${later}\n`)
        const older = release()
        expect(older.stdout).toMatch(/^not restored: memoryLater of \/.*: a later version put it on record, /m)
        expect(older.stdout).toMatch(/^1 restored, .*, 0 failed$/m)
        expect(older.status).toBe(1)
        expect(bed.photograph()).toEqual(before)
        const json = JSON.parse(
          spawnSync(command[0] ?? '', [...command.slice(1), '--json'], { encoding: 'utf8' }).stdout,
        ) as object
        expect(json).toMatchObject({ restored: 0, failed: [], unknown: [{ knob: 'memoryLater' }] })

        writeFileSync(file, readFileSync(file, 'utf8').replace(/^.*"memoryLater".*\n/m, ''))
        expect(release()).toMatchObject({ status: 0, stderr: '' })
      } finally {
        await bed.close()
      }
    },
  )
})
