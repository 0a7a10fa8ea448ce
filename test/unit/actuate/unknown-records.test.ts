/**
 * A journal of a later version of the agent, in the same format: records of knobs of a kind that this one does not know. They are neither damage
 * nor lost: they stay as they are, cast no doubt on others, and are named by a release.
 */
import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { crc32 } from 'node:zlib'
import { describe, expect, it } from 'vitest'
import { journalPath, surveyState } from '../../../src/actuate/index.ts'
import { quotaOf, type Step } from '../../../src/model/index.ts'
import { ModelKernel } from '../../../src/sim/index.ts'
import { JournaledNode, withDirectory, withDirectoryAsync } from '../../support/journaled-node.ts'
import { topologyOf } from '../../support/snapshots.ts'

const POD = '/kubepods/besteffort/poda'
const BOOT = 'boot-1'

const signed = (fields: object): string => {
  const text = JSON.stringify(fields)
  return `${crc32(text).toString(16).padStart(8, '0')} ${text}\n`
}
const original = (groupId: number, over: object = {}): string =>
  signed({ is: 'original', group: POD, groupId, kind: 'ioLatency', value: { us: 7 }, version: 1, bootId: BOOT, ...over })
const wrote = (us: number): string => signed({ is: 'wrote', group: POD, kind: 'ioLatency', value: { us } })

const quotaStep: Step = {
  group: POD,
  kind: 'quota',
  value: quotaOf(500),
  from: undefined,
  phase: 'narrow',
  because: { code: 'claim', rule: 'limits', because: { code: 'identity.idle', qosClass: 'BE' } },
}

interface Bed {
  readonly kernel: ModelKernel
  readonly directory: string
  readonly text: () => string
  readonly add: (...lines: readonly string[]) => void
  readonly start: (bootId?: string) => JournaledNode
}

/** A node whose pod was limited by an agent that is gone. */
function bedIn(directory: string): Bed {
  const kernel = new ModelKernel({ dialect: 'v2', topology: topologyOf('desktop') })
  for (const group of ['/kubepods', '/kubepods/besteffort', POD]) kernel.makeGroup(group)
  const file = journalPath(directory)
  const start = (bootId = BOOT): JournaledNode => new JournaledNode(kernel, { directory, bootId })
  const first = start()
  first.apply([quotaStep])
  first.end()
  return {
    kernel,
    directory,
    start,
    text: () => readFileSync(file, 'utf8'),
    add: (...lines) => writeFileSync(file, lines.join(''), { flag: 'a' }),
  }
}
const limited = (body: (bed: Bed) => void): void => withDirectory((directory) => body(bedIn(directory)))

describe('records of a kind that only a later agent knows', () => {
  it('are no damage, cast no doubt on what is above them, and stay in the file as they are, however often it is rewritten', () => {
    limited(({ kernel, directory, start, add, text }) => {
      const lines = [original(kernel.groupId(POD) ?? 0), ...[1, 2, 3, 4].map(wrote)]
      add(...lines)
      kernel.writeKnob(POD, { kind: 'quota', value: quotaOf(2000) })
      for (let life = 0; life < 3; life += 1) {
        const node = start()
        expect([node.journal.damagedLines, node.journal.doubtful, node.journal.health]).toEqual([0, [], { failures: 0 }])
        expect(node.journal.unknown).toEqual([{ group: POD, kind: 'ioLatency' }])
        // Of what was written the last three, as of every other knob.
        expect(text()).toContain([lines[0], ...lines.slice(2)].join(''))
        expect(text()).not.toContain(lines[1])
        node.end()
      }
      expect(readdirSync(directory)).toEqual(['restore.journal'])
      // Somebody else has taken the quota over: a release leaves it to him, and says what it could not put back.
      const node = start()
      expect(node.release()).toMatchObject({
        restored: 0,
        failed: [],
        foreign: [{ group: POD, kind: 'quota' }],
        unknown: [{ group: POD, kind: 'ioLatency' }],
      })
      expect(kernel.readKnob(POD, 'quota')).toEqual(quotaOf(2000))
      node.journal.compactIfLarge()
      expect(text()).toContain(lines[0])
    })
  })

  it('end with the record that says so, with their group, with their name given to another group, and with the boot', () => {
    limited(({ kernel, start, add, text }) => {
      const id = kernel.groupId(POD) ?? 0
      add(original(id), wrote(1), signed({ is: 'closed', group: POD, kind: 'ioLatency' }))
      expect(start().journal.unknown).toEqual([])
      add(original(id + 1000))
      expect(start().journal.unknown).toEqual([])
      add(original(id, { bootId: 'boot-0' }))
      expect(start().journal.unknown).toEqual([])
      add(original(id))
      const node = start()
      expect(node.journal.unknown).toHaveLength(1)
      kernel.removeGroup(POD)
      kernel.makeGroup(POD)
      expect(node.release().unknown).toEqual([])
      node.end()
      start().end()
      expect(text()).not.toContain('ioLatency')
    })
  })

  it('are looked at no further than they have to: a path out of the tree or a name that is none is damage', () => {
    limited(({ kernel, start, add }) => {
      const id = kernel.groupId(POD) ?? 0
      add(
        original(id, { group: '/../etc' }),
        original(id, { kind: 'io latency' }),
        original(id, { kind: 'x'.repeat(41) }),
        original(-1),
        signed({ is: 'noted', group: POD, kind: 'ioLatency' }),
      )
      const node = start()
      expect([node.journal.damagedLines, node.journal.unknown]).toEqual([5, []])
    })
  })

  it('of a newer format are refused with the whole file', () => {
    limited(({ start, add, text }) => {
      add(original(3, { version: 2 }))
      const before = text()
      expect(() => start()).toThrow(expect.objectContaining({ code: 'E_JOURNAL' }) as Error)
      expect(text()).toBe(before)
    })
  })

  it('count as knobs to be put back for who looks at the state directory', async () => {
    await withDirectoryAsync(async (root) => {
      const directory = join(root, 'state')
      const { kernel, add } = bedIn(directory)
      add(original(kernel.groupId(POD) ?? 0), wrote(1))
      expect(await surveyState(directory, BOOT)).toMatchObject({ journal: { outstanding: 2, groups: 1, damagedLines: 0 } })
    })
  })
})
