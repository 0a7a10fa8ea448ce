/**
 * A restore journal that is damaged, cut, moved or removed: what can be read of it goes back, what can't is kept and said, and nobody's file is
 * written over. That no line is lost but those that are harmed is in test/fuzz/journal-damage.test.ts.
 */
import { readdirSync, readFileSync, renameSync, rmSync, symlinkSync, truncateSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { crc32 } from 'node:zlib'
import { describe, expect, it } from 'vitest'
import { journalPath } from '../../../src/actuate/index.ts'
import { formatRecord, parseRecord } from '../../../src/actuate/records.ts'
import { type KnobSetting, type KnobValue, quotaOf, type Step } from '../../../src/model/index.ts'
import { ModelKernel } from '../../../src/sim/index.ts'
import { JournaledNode, withDirectory } from '../../support/journaled-node.ts'
import { topologyOf } from '../../support/snapshots.ts'

const ROOT = '/kubepods/besteffort'
const PODS = ['a', 'b', 'c'].map((name) => `${ROOT}/pod${name}`)
const [POD = ''] = PODS
const BOOT = 'boot-1'

interface Bed {
  readonly directory: string
  readonly kernel: ModelKernel
  readonly file: string
  readonly start: (bootId?: string) => JournaledNode
  readonly lines: () => string[]
  readonly write: (lines: readonly string[]) => void
  /** Paths of the damaged journals beside the one in use. */
  readonly kept: () => readonly string[]
  /** What the knobs hold now, and what they held before any agent. */
  readonly knobs: () => string
  readonly before: string
  readonly after: string
}

const limit = (group: string, { kind, value }: KnobSetting): Step => ({
  ...({ kind, value } as KnobSetting),
  group,
  from: undefined,
  phase: 'narrow',
  because: { code: 'claim', rule: 'limits', because: { code: 'identity.idle', qosClass: 'BE' } },
})

const limits = (group: string, milli: number): Step[] => [
  limit(group, { kind: 'quota', value: quotaOf(milli) }),
  limit(group, { kind: 'memoryMax', value: milli << 20 }),
]

/** A node whose pods have been limited twice by an agent that is gone. */
function limited(body: (bed: Bed) => void): void {
  withDirectory((root) => {
    const directory = join(root, 'state')
    const file = journalPath(directory)
    const kernel = new ModelKernel({ dialect: 'v2', topology: topologyOf('desktop') })
    for (const group of ['/kubepods', ROOT, ...PODS]) kernel.makeGroup(group)
    for (const [index, pod] of PODS.entries()) kernel.writeKnob(pod, { kind: 'quota', value: quotaOf(3000 + index) })
    const read = (pod: string): KnobValue[] => [kernel.readKnob(pod, 'quota') ?? null, kernel.readKnob(pod, 'memoryMax') ?? null]
    const knobs = (): string => JSON.stringify(PODS.map(read))
    const before = knobs()
    const start = (bootId = BOOT): JournaledNode => new JournaledNode(kernel, { directory, bootId })
    const first = start()
    for (const milli of [500, 400]) first.apply(PODS.flatMap((pod) => limits(pod, milli)))
    first.end()
    body({
      directory,
      kernel,
      file,
      start,
      knobs,
      before,
      after: knobs(),
      lines: () => readFileSync(file, 'utf8').trimEnd().split('\n'),
      write: (lines) => writeFileSync(file, `${lines.join('\n')}\n`),
      kept: () =>
        readdirSync(directory)
          .filter((name) => name.includes('.damaged-'))
          .map((name) => join(directory, name)),
    })
  })
}

/** Changes one byte of a line. */
const spoil = (line: string, at = 12): string => `${line.slice(0, at)}${line[at] === '~' ? '!' : '~'}${line.slice(at + 1)}`

/** A line as the first agents wrote it: an original did not name its boot. */
function older(line: string): string {
  const { version: _version, bootId: _bootId, ...rest } = JSON.parse(line.slice(9)) as Readonly<Record<string, unknown>>
  const text = JSON.stringify(rest['is'] === 'header' ? { ...rest, version: _version, bootId: _bootId } : rest)
  return `${crc32(text).toString(16).padStart(8, '0')} ${text}`
}

describe('a journal whose header is damaged', () => {
  it('at any byte is restored in full, kept as it was, and said until the kept file is removed', () => {
    limited(({ start, lines, write, kept, knobs, before, after, kernel, file }) => {
      const good = lines()
      const held = knobs()
      for (let at = 0; at < (good[0]?.length ?? 0); at += 7) {
        for (const path of kept()) rmSync(path)
        write([spoil(good[0] ?? '', at), ...good.slice(1)])
        const harmed = readFileSync(file)
        const node = start()
        expect(kept()).toHaveLength(1)
        expect(readFileSync(kept()[0] ?? '').equals(harmed)).toBe(true)
        expect(node.journal.health.damage).toBe(
          `${file}: 1 line can't be read, 6 knobs can be put back; it is kept as ${kept()[0] ?? ''}`,
        )
        expect(node.release()).toMatchObject({ failed: [], foreign: [], restored: 6 })
        expect(knobs()).toBe(before)
        node.end()
        const next = start()
        expect(next.journal.health.damage).toContain(kept()[0])
        rmSync(kept()[0] ?? '')
        next.journal.compactIfLarge()
        expect(next.journal.health.damage).toBeUndefined()
        next.end()
        for (const pod of PODS) for (const setting of limits(pod, 400)) kernel.writeKnob(pod, setting)
        expect([knobs(), held]).toEqual([after, after])
      }
    })
  })

  it('and whose originals are of an agent that did not name the boot restores nothing it can’t be sure of, and is kept', () => {
    limited(({ start, lines, write, kept, knobs, after, file }) => {
      const [header = '', ...rest] = lines().map(older)
      // He kept no second header.
      write([spoil(header), ...rest.filter((line) => !line.includes('"header"'))])
      const harmed = readFileSync(file)
      const node = start()
      expect(node.journal.entries.size).toBe(0)
      expect(node.journal.health.damage).toMatch(
        /: no line says of which boot it is \(1 line can't be read\), so nothing of it is put back; it is kept as /,
      )
      expect(readFileSync(kept()[0] ?? '').equals(harmed)).toBe(true)
      node.release()
      expect(knobs()).toBe(after)
    })
  })
})

describe('a damaged line', () => {
  it('that told of the last write costs nothing: what the knob holds is taken for the agent’s', () => {
    limited(({ start, lines, write, knobs, before }) => {
      write(lines().map((line) => (line.includes('"wrote"') ? spoil(line) : line)))
      const node = start()
      expect(node.release()).toMatchObject({ failed: [], foreign: [], restored: 6 })
      expect(knobs()).toBe(before)
    })
  })

  it('before an original casts no doubt on it: what somebody else wrote since is left to him', () => {
    limited(({ start, lines, write, kernel }) => {
      const [header = '', ...rest] = lines()
      write([header, spoil(header), ...rest])
      kernel.writeKnob(POD, { kind: 'quota', value: quotaOf(7000) })
      const node = start()
      expect(node.release()).toMatchObject({ restored: 5, foreign: [{ group: POD, kind: 'quota' }] })
      expect(kernel.readKnob(POD, 'quota')).toEqual(quotaOf(7000))
    })
  })

  it('that told an original costs that one: it is named, as long as its group is there, and all others go back', () => {
    limited(({ start, lines, write, kernel, kept }) => {
      const isOf = (line: string, pod: string): boolean =>
        line.includes('"original"') && line.includes(pod) && line.includes('"quota"')
      write(lines().map((line) => (isOf(line, 'poda') || isOf(line, 'podb') ? spoil(line) : line)))
      kernel.removeGroup(PODS[1] ?? '')
      const node = start()
      expect(node.journal.health.damage).toContain(
        `2 lines can't be read, 3 knobs can be put back; gone is the original of quota of ${POD}; it is kept as ${kept()[0] ?? ''}`,
      )
      expect(node.release()).toMatchObject({ failed: [], foreign: [], restored: 3 })
      expect(kernel.readKnob(POD, 'quota')).toEqual(quotaOf(400))
    })
  })

  it('of another boot is void with all others: nothing is kept, nothing is said', () => {
    limited(({ start, lines, write, kept, knobs, after }) => {
      write(lines().map((line, index) => (index % 2 === 0 ? spoil(line) : line)))
      const node = start('boot-2')
      expect([node.journal.entries.size, node.journal.health.damage, kept()]).toEqual([0, undefined, []])
      node.release()
      expect(knobs()).toBe(after)
    })
  })

  it('that is only torn off at the end is what a kill leaves: nothing is kept, nothing is said', () => {
    limited(({ start, file, kept }) => {
      truncateSync(file, readFileSync(file).length - 5)
      const node = start()
      expect([node.journal.damagedLines, node.journal.health.damage, kept()]).toEqual([1, undefined, []])
    })
  })
})

describe('damaged journals', () => {
  it('are kept up to four of a boot, the first ones of it, and those of earlier boots make room', () => {
    limited(({ start, lines, write, kept }) => {
      const good = lines()
      const damage = (bootId: string, mark: string): string => {
        write([spoil(good[0] ?? ''), mark, ...good.slice(1).map((line) => line.replaceAll(BOOT, 'nobody knows'))])
        const node = start(bootId)
        const { health } = node.journal
        node.end()
        return health.damage ?? ''
      }
      const marks = (): string[] => kept().map((path) => readFileSync(path, 'utf8').split('\n')[1] ?? '')
      for (let time = 1; time <= 6; time += 1) {
        const told = damage('boot-1', `one ${time}`)
        if (time <= 4) expect(told).toContain('; it is kept as ')
        else expect(told).toContain('; it was not kept, since enough of this boot are')
        expect(marks().toSorted()).toEqual([1, 2, 3, 4].slice(0, time).map((kept) => `one ${kept}`))
      }
      damage('boot-2', 'two 1')
      expect(marks().toSorted()).toEqual(['one 2', 'one 3', 'one 4', 'two 1'])
      // What an earlier boot has left is no news on this one.
      const third = start('boot-3')
      expect(third.journal.health.damage).toBeUndefined()
    })
  })
})

describe('the format', () => {
  it('of an agent before, whose originals do not name their boot, is read as ever', () => {
    limited(({ start, lines, write, kept, knobs, before }) => {
      write(lines().map(older))
      const node = start()
      expect(node.release()).toMatchObject({ failed: [], foreign: [], restored: 6 })
      expect([knobs(), kept(), node.journal.health.damage]).toEqual([before, [], undefined])
    })
  })

  it('is read by an agent before, who knows no more than the fields of his own: they are the same, behind a header of the same version', () => {
    limited(({ lines }) => {
      for (const [index, line] of lines().entries()) {
        const record = parseRecord(line)
        const his = parseRecord(older(line))
        if (record?.is === 'original') {
          expect(record.made).toEqual({ version: 1, bootId: BOOT })
          const { made: _made, ...known } = record
          expect(his).toEqual(known)
        } else expect(his).toEqual(record)
        // At the top, and again where the first agent had nothing on record yet.
        expect(record?.is === 'header').toBe(index < 2)
      }
      expect(parseRecord(lines()[0] ?? '')).toEqual({ is: 'header', version: 1, bootId: BOOT })
    })
  })

  it('of an agent to come is refused by its originals too, where the header is damaged, and the file stays', () => {
    limited(({ start, lines, write, file, kept }) => {
      const [header = '', ...more] = lines()
      const [first = '', ...rest] = more.filter((line) => !line.includes('"header"'))
      const record = parseRecord(first)
      if (record?.is !== 'original') throw new Error('no original')
      write([spoil(header), formatRecord({ ...record, made: { version: 2, bootId: BOOT } }).trimEnd(), ...rest])
      const text = readFileSync(file, 'utf8')
      expect(() => start()).toThrow(
        expect.objectContaining({ code: 'E_JOURNAL', message: expect.stringContaining('format 2') as string }) as Error,
      )
      expect([readFileSync(file, 'utf8'), kept()]).toEqual([text, []])
    })
  })
})

describe('a journal that in mid-run is', () => {
  const OTHER = 'somebody else\n'
  it.each<[string, (file: string) => void]>([
    ['removed', (file) => rmSync(file)],
    ['moved away', (file) => renameSync(file, `${file}.away`)],
    ['cut to nothing', (file) => truncateSync(file)],
    ['cut in half', (file) => truncateSync(file, readFileSync(file).length >> 1)],
    // What a virtual machine finds whose memory went back to an earlier moment, and whose disk did not.
    [
      'ahead of the agent',
      (file) => writeFileSync(file, formatRecord({ is: 'closed', group: POD, kind: 'quota' }), { flag: 'a' }),
    ],
    ['replaced by another file', (file) => replaceBy(file, OTHER)],
    [
      'replaced by a link',
      (file) => {
        writeFileSync(`${file}.other`, OTHER)
        rmSync(file)
        symlinkSync(`${file}.other`, file)
      },
    ],
  ])('%s is whole again with the next original, or within half a minute', (_, harm) => {
    for (const how of ['original', 'time'] as const) {
      limited(({ start, directory, file, knobs, before, kernel }) => {
        const node = start()
        kernel.makeGroup(`${ROOT}/podlate`)
        harm(file)
        if (how === 'original') node.apply(limits(`${ROOT}/podlate`, 300))
        else node.journal.compactIfLarge()
        expect(node.journal.health).toEqual({ failures: 0 })
        node.end()
        const next = start()
        expect(next.journal.damagedLines).toBe(0)
        expect(next.release()).toMatchObject({ failed: [], foreign: [], restored: how === 'original' ? 8 : 6 })
        expect(knobs()).toBe(before)
        const others = readdirSync(directory).filter((name) => name.endsWith('.other'))
        for (const name of others) expect(readFileSync(join(directory, name), 'utf8')).toBe(OTHER)
      })
    }
  })

  it('gone with its directory lets no new knob be written, and says so', () => {
    limited(({ start, directory, kernel }) => {
      const node = start()
      kernel.makeGroup(`${ROOT}/podlate`)
      rmSync(directory, { recursive: true })
      expect(node.apply(limits(`${ROOT}/podlate`, 300)).map(({ outcome }) => outcome.is)).toEqual(['failed', 'failed'])
      expect(kernel.readKnob(`${ROOT}/podlate`, 'quota')).toMatchObject({ quotaUs: null })
      expect(node.journal.health).toMatchObject({ failures: 1, problem: expect.stringContaining('ENOENT') as string })
      // A knob whose original was safe is still put back, from memory.
      expect(node.release()).toMatchObject({ failed: [], restored: 6 })
    })
  })
})

function replaceBy(file: string, text: string): void {
  rmSync(file)
  writeFileSync(file, text)
}

describe('a group that was made anew under its old inode number', () => {
  // Kernel: before 5.5 kernfs gave the lowest number that is free (ida), or went round 32 bits; since then they do not come again on a boot.
  const remake = (kernel: ModelKernel): void => {
    const id = kernel.groupId(POD)
    kernel.removeGroup(POD)
    kernel.makeGroup(POD)
    Object.assign(kernel.groups.get(POD) ?? {}, { id })
  }

  it('keeps what it was made with on a release', () => {
    limited(({ start, kernel }) => {
      remake(kernel)
      expect(start().release()).toMatchObject({ failed: [], foreign: [{ group: POD }], restored: 4 })
      expect(kernel.readKnob(POD, 'quota')).toMatchObject({ quotaUs: null })
      expect(kernel.readKnob(POD, 'memoryMax')).toBe(null)
    })
  })
})
