/** The evictions of the last hour over a restart: what comes back, and that no file, disk or clock keeps an agent from starting. */
import { readdirSync, readFileSync, statSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { EvictionFile } from '../../../src/actuate/index.ts'
import type { EvictionRecord, Instant } from '../../../src/model/index.ts'
import { planted } from '../../support/trees-on-disk.ts'
import { wishOf } from '../kube/evictor-support.ts'

const WALL_MS = 1_800_000_000_000
const MINUTE_MS = 60_000

const recordOf = (name: string, atMs: number): EvictionRecord => ({ wish: wishOf({ name }), is: 'evicted', atMs })

function fileIn(directory: string, at: Instant) {
  const warnings: string[] = []
  const file = new EvictionFile(directory, () => at, { warn: (_fields, message) => void warnings.push(message) })
  return { file, warnings }
}

describe('evictions on disk', () => {
  it('come back dated by the clock of the new process, without those of more than an hour ago', () => {
    const directory = planted()
    const records = [
      recordOf('old', 1000),
      recordOf('young', 3_000_000),
      { ...recordOf('now', 3_600_500), is: 'forced' as const },
    ]
    fileIn(directory, { nowMs: 3_600_500, wallMs: WALL_MS }).file.save(records)
    expect(readdirSync(directory)).toEqual(['evictions.json'])
    expect(statSync(join(directory, 'evictions.json')).mode & 0o777).toBe(0o600)
    // Another process, two minutes later, whose clock has just begun.
    const { file, warnings } = fileIn(directory, { nowMs: 50, wallMs: WALL_MS + 2 * MINUTE_MS })
    expect(file.load()).toEqual([
      { wish: wishOf({ name: 'young' }), is: 'evicted', atMs: 50 - 2 * MINUTE_MS - 600_500 },
      { wish: wishOf({ name: 'now' }), is: 'forced', atMs: 50 - 2 * MINUTE_MS },
    ])
    expect(warnings).toEqual([])
  })

  it('are at most 64, the newest', () => {
    const directory = planted()
    const records = Array.from({ length: 200 }, (_, n) => recordOf(`p${n}`, n))
    fileIn(directory, { nowMs: 1000, wallMs: WALL_MS }).file.save(records)
    const loaded = fileIn(directory, { nowMs: 1000, wallMs: WALL_MS }).file.load()
    expect(loaded.map(({ wish }) => wish.name)).toEqual(records.slice(-64).map(({ wish }) => wish.name))
  })

  it('of a clock that was set back count as of now: never too few', () => {
    const directory = planted()
    fileIn(directory, { nowMs: 500, wallMs: WALL_MS }).file.save([recordOf('p', 400)])
    expect(fileIn(directory, { nowMs: 7, wallMs: WALL_MS - 50 * MINUTE_MS }).file.load()).toMatchObject([{ atMs: 7 }])
  })

  it.each([
    ['torn', '{"version":1,"evict'],
    ['of another version', '{"version":2,"evictions":[]}'],
    ['no object', '[]'],
    ['empty', ''],
  ])('that are %s are told of, and nothing is known', (_, text) => {
    const directory = planted({ 'evictions.json': text })
    const { file, warnings } = fileIn(directory, { nowMs: 0, wallMs: WALL_MS })
    expect(file.load()).toEqual([])
    expect(warnings).toEqual(['earlier evictions are not known'])
  })

  it('in which some make no sense are known without those', () => {
    const directory = planted()
    const good = { wish: wishOf({ name: 'p' }), is: 'evicted', atWallMs: WALL_MS }
    const wishes = [{}, null, 7, { ...good.wish, rung: 'none' }, { ...good.wish, qosClass: 'LS' }, { ...good.wish, uid: 3 }]
    const spoilt = [
      ...wishes.map((wish) => ({ ...good, wish })),
      { ...good, is: 'asked' },
      { ...good, atWallMs: 'x' },
      null,
      good,
    ]
    writeFileSync(join(directory, 'evictions.json'), JSON.stringify({ version: 1, evictions: spoilt }))
    expect(fileIn(directory, { nowMs: 0, wallMs: WALL_MS }).file.load()).toMatchObject([{ wish: good.wish, atMs: 0 }])
  })

  it('are not followed through a link, and a disk that takes none is told of once', () => {
    const directory = planted({ elsewhere: 'untouched' })
    symlinkSync(join(directory, 'elsewhere'), join(directory, 'evictions.json'))
    const at = { nowMs: 0, wallMs: WALL_MS }
    expect(fileIn(directory, at).warnings).toEqual([])
    const { file, warnings } = fileIn(directory, at)
    expect(file.load()).toEqual([])
    file.save([recordOf('p', 0)])
    expect(readFileSync(join(directory, 'elsewhere'), 'utf8')).toBe('untouched')
    expect(file.load()).toHaveLength(1)
    expect(warnings).toEqual(['earlier evictions are not known'])
    const nowhere = fileIn(join(directory, 'not-there'), at)
    for (let tries = 0; tries < 3; tries += 1) nowhere.file.save([recordOf('p', 0)])
    expect(nowhere.warnings).toEqual(['evictions can not be kept over a restart'])
    expect(nowhere.file.load()).toEqual([])
  })
})
