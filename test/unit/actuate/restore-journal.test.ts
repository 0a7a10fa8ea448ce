/**
 * The restore journal as a file: what is void, what is refused, who may read it. What it is for is in test/property/restore.test.ts.
 */
import { chmodSync, existsSync, mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { formatRecord, type JournalRecord, parseRecord } from '../../../src/actuate/records.ts'
import { Actuator, RestoreJournal } from '../../../src/actuate/index.ts'
import { CpuSet } from '../../../src/cpu/index.ts'
import type { KnobKind, KnobValue, Step } from '../../../src/model/index.ts'
import { AgentError, quotaOf } from '../../../src/model/index.ts'
import { ModelKernel } from '../../../src/sim/index.ts'
import { withDirectory } from '../../support/journaled-node.ts'
import { topologyOf } from '../../support/snapshots.ts'

const GROUP = '/kubepods/besteffort/poda'

interface Bed {
  readonly directory: string
  readonly kernel: ModelKernel
  readonly open: (bootId?: string, maxBytes?: number) => RestoreJournal
}

function bed(body: (bed: Bed) => void): void {
  withDirectory((root) => {
    const directory = join(root, 'state')
    const kernel = new ModelKernel({ dialect: 'v1', topology: topologyOf('desktop') })
    for (const group of ['/kubepods', '/kubepods/besteffort', GROUP]) kernel.makeGroup(group)
    const opened: RestoreJournal[] = []
    const open = (bootId = 'one', maxBytes = 1 << 20): RestoreJournal => {
      const journal = new RestoreJournal({
        stateDirectory: directory,
        bootId,
        maxBytes,
        groupId: (group) => kernel.groupId(group),
      })
      opened.push(journal)
      return journal
    }
    body({ directory, kernel, open })
    for (const journal of opened) journal.end()
  })
}

const weightStep = (value: number, code: 'claim' | 'restore' = 'claim'): Step => ({
  group: GROUP,
  kind: 'weight',
  value,
  from: undefined,
  phase: 'narrow',
  because: code === 'restore' ? { code } : { code, rule: 'identity', because: { code: 'identity.idle', qosClass: 'OT' } },
})

const VALUES: readonly (readonly [KnobKind, KnobValue])[] = [
  ['idle', 0],
  ['weight', 1024],
  ['memoryMax', null],
  ['bvt', -1],
  ['cpuset', CpuSet.parse('0-3,8')],
  ['cpuset', CpuSet.EMPTY],
  ['quota', quotaOf(333)],
  ['quota', { ...quotaOf(1), quotaUs: null }],
]

describe('RestoreJournal', () => {
  it('keeps its secrets: directory 0700, file 0600, also over a left-over of another mode', () => {
    bed(({ directory, open }) => {
      open()
      expect(statSync(directory).mode & 0o777).toBe(0o700)
      expect(statSync(join(directory, 'restore.journal')).mode & 0o777).toBe(0o600)
      writeFileSync(join(directory, 'restore.journal.new'), 'left over')
      chmodSync(join(directory, 'restore.journal.new'), 0o666)
      open()
      expect(statSync(join(directory, 'restore.journal')).mode & 0o777).toBe(0o600)
      expect(existsSync(join(directory, 'restore.journal.new'))).toBe(false)
    })
  })

  it('reads back every kind of value as it was written', () => {
    for (const [kind, value] of VALUES) {
      const record: JournalRecord = { is: 'original', group: GROUP, groupId: 7, kind, value }
      expect(parseRecord(formatRecord(record).trimEnd())).toEqual(record)
    }
  })

  it('takes a line with any one byte changed for damaged', () => {
    const line = formatRecord({ is: 'wrote', group: GROUP, kind: 'weight', value: 1024 }).trimEnd()
    for (let at = 0; at < line.length; at += 1) {
      const other = line[at] === '7' ? '8' : '7'
      expect(parseRecord(`${line.slice(0, at)}${other}${line.slice(at + 1)}`), `byte ${at}`).toBeUndefined()
    }
  })

  it('is void after a reboot', () => {
    bed(({ open }) => {
      open('one').saveOriginals([{ group: GROUP, kind: 'weight', value: 5 }])
      expect(open('two').entries.size).toBe(0)
      expect(open('one').entries.size).toBe(0)
    })
  })

  it('is void for a group that was made anew under the same name, at the start and while running', () => {
    bed(({ kernel, open }) => {
      const journal = open()
      journal.saveOriginals([{ group: GROUP, kind: 'weight', value: 5 }])
      kernel.removeGroup(GROUP)
      kernel.makeGroup(GROUP)
      journal.prune()
      expect(journal.entries.size).toBe(0)
      expect(open().entries.size).toBe(0)
    })
  })

  it('gives a group that was made anew between two ticks an original of its own', () => {
    bed(({ kernel, open }) => {
      const journal = open()
      const actuator = new Actuator(kernel, journal)
      kernel.writeKnob(GROUP, { kind: 'weight', value: 5 })
      actuator.apply([weightStep(10)], { limited: false })
      kernel.removeGroup(GROUP)
      kernel.makeGroup(GROUP)
      actuator.apply([weightStep(10)], { limited: false })
      expect(journal.entries.get(GROUP, 'weight')?.original).toBe(1024)
      kernel.removeGroup(GROUP)
      kernel.makeGroup(GROUP)
      expect(actuator.apply([weightStep(5, 'restore')], { limited: false }).map(({ outcome }) => outcome.is)).toEqual([
        'vanished',
      ])
      expect(kernel.readKnob(GROUP, 'weight')).toBe(1024)
    })
  })

  it('refuses a file of a newer format, and leaves it as it is', () => {
    bed(({ directory, open }) => {
      mkdirSync(directory)
      const text = formatRecord({ is: 'header', version: 2, bootId: 'one' })
      writeFileSync(join(directory, 'restore.journal'), text)
      expect(() => open()).toThrow(AgentError)
      expect(() => open()).toThrow(/format 2/)
      expect(readFileSync(join(directory, 'restore.journal'), 'utf8')).toBe(text)
    })
  })

  it.each(['', '\n\n', 'garbage', '00000000 {}\n', '\0\0\0\0'])('makes nothing of %j', (text) => {
    bed(({ directory, open }) => {
      mkdirSync(directory)
      writeFileSync(join(directory, 'restore.journal'), text)
      expect(open().entries.size).toBe(0)
    })
  })

  it('has the original on disk before the knob is written', () => {
    bed(({ directory, kernel, open }) => {
      const seen: string[] = []
      const watching = new Proxy(kernel, {
        get: (target, key) => {
          if (key === 'writeKnob') {
            return (...args: Parameters<ModelKernel['writeKnob']>) => {
              seen.push(readFileSync(join(directory, 'restore.journal'), 'utf8'))
              return target.writeKnob(...args)
            }
          }
          const value: unknown = Reflect.get(target, key, target)
          return typeof value === 'function' ? (value as (...args: unknown[]) => unknown).bind(target) : value
        },
      })
      new Actuator(watching, open()).apply([weightStep(10)], { limited: false })
      const records = (seen[0] ?? '').trimEnd().split('\n').map(parseRecord)
      expect(records.filter((record) => record?.is !== 'header')).toMatchObject([
        { is: 'original', kind: 'weight', value: 1024 },
        { is: 'wrote', kind: 'weight', value: 10 },
      ])
    })
  })

  it('does not rewrite itself on every tick when what is in force is more than its bound', () => {
    bed(({ directory, open }) => {
      const journal = open('one', 10)
      journal.saveOriginals([{ group: GROUP, kind: 'weight', value: 5 }])
      journal.compactIfLarge()
      const { ino } = statSync(join(directory, 'restore.journal'))
      for (let tick = 0; tick < 3; tick += 1) journal.compactIfLarge()
      expect(statSync(join(directory, 'restore.journal')).ino).toBe(ino)
    })
  })

  it('is compacted at once when it has grown to a multiple of its bound, and what it tells is the same', () => {
    bed(({ directory, open }) => {
      const journal = open('one', 1000)
      journal.saveOriginals([{ group: GROUP, kind: 'weight', value: 5 }])
      let most = 0
      for (let value = 100; value < 1000; value += 1) {
        journal.willWrite(GROUP, 'weight', { value, holds: value - 1 })
        most = Math.max(most, statSync(join(directory, 'restore.journal')).size)
      }
      expect(most).toBeGreaterThan(3000)
      expect(most).toBeLessThan(4200)
      const { original, ours } = journal.entries.get(GROUP, 'weight') ?? {}
      expect([original, ours]).toEqual([5, [999, 998, 997]])
      journal.end()
      expect(open().entries.get(GROUP, 'weight')).toMatchObject({ original: 5, ours: [999, 998, 997] })
    })
  })

  it('is not tried to be compacted with each line when that fails, and takes lines all the same', () => {
    bed(({ directory, open }) => {
      const journal = open('one', 1000)
      journal.saveOriginals([{ group: GROUP, kind: 'weight', value: 5 }])
      mkdirSync(join(directory, 'restore.journal.new', 'in the way'), { recursive: true })
      for (let value = 100; value < 1000; value += 1) journal.willWrite(GROUP, 'weight', { value, holds: value - 1 })
      // At 4 kB, 8, 16, 32 and 64 of some 90.
      expect(journal.health.failures).toBe(5)
      expect(readFileSync(join(directory, 'restore.journal'), 'utf8').match(/"wrote"/g)).toHaveLength(900)
    })
  })

  it('goes on with the file it has when it can not be compacted', () => {
    bed(({ directory, open }) => {
      const journal = open('one', 10)
      for (let value = 0; value < 20; value += 1) journal.saveOriginals([{ group: GROUP, kind: 'weight', value }])
      // A directory in the place of the temporary file.
      mkdirSync(join(directory, 'restore.journal.new', 'in the way'), { recursive: true })
      expect(() => journal.compactIfLarge()).not.toThrow()
      journal.willWrite(GROUP, 'weight', { value: 99, holds: 1 })
      expect(readFileSync(join(directory, 'restore.journal'), 'utf8')).toContain('"value":99')
    })
  })
})
