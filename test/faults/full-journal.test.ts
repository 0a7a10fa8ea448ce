/**
 * An agent whose journal takes no further line, and that goes on suppressing all the same, killed at any write: what it wrote is known to
 * nobody then but to the knobs themselves. The line that the journal had in reserve says so, in place, and the node is put back in full.
 */
import { mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import * as fc from 'fast-check'
import { afterEach, describe, expect, it, vi } from 'vitest'
import { gapLine, reserveLine, reserveOf } from '../../src/actuate/gap.ts'
import { parseRecord } from '../../src/actuate/records.ts'
import { type KnobSetting, quotaOf, type Step } from '../../src/model/index.ts'
import { ModelKernel } from '../../src/sim/index.ts'
import { DEFAULTS } from '../support/config.ts'
import { fileFaults } from '../support/faulty-files.ts'
import { JournaledNode, Killed, mortal, withDirectory } from '../support/journaled-node.ts'
import { SimulatedAgent } from '../support/simulated-agent.ts'
import { specOf, topologyOf } from '../support/snapshots.ts'
import { rawTree, textOf, type Tree, treeOf } from '../support/trees.ts'
import { desiredOf, type RawWish, rawWishes } from '../support/wishes.ts'

vi.mock('node:fs', async (load) => {
  const { faultyFs } = await import('../support/faulty-files.ts')
  return faultyFs(await load())
})

afterEach(() => fileFaults())

const POD = '/kubepods/besteffort/poda'
const fileIn = (directory: string): string => join(directory, 'restore.journal')

/** From the nth write on that makes a file longer there is no room for it; what is there already can be written over. */
function fillUp(after = 0): void {
  let left = after
  fileFaults((operation, _, grows) => {
    if (operation !== 'writeSync' || !grows) return undefined
    left -= 1
    return left < 0 ? 'ENOSPC' : undefined
  })
}

interface Fate {
  readonly sequence: readonly (readonly RawWish[])[]
  /** Writes to knobs before the kill, which comes before or after the next one. */
  readonly writes: number
  readonly after: boolean
  /** Lines and files for which there is room. */
  readonly room: number
}
const fates: fc.Arbitrary<Fate> = fc.record({
  sequence: fc.array(rawWishes, { minLength: 2, maxLength: 5 }),
  writes: fc.nat(60),
  after: fc.boolean(),
  room: fc.nat(40),
})

function liveOnFullDisk(tree: Tree, directory: string, { sequence, writes, after, room }: Fate): void {
  fillUp(room)
  try {
    const node = new JournaledNode(tree.kernel, { directory, port: mortal(tree.kernel, writes, after) })
    try {
      for (const wishes of sequence) node.reach(desiredOf(wishes, tree))
    } finally {
      node.end()
    }
  } catch (thrown) {
    // Where not even the first file could be made nothing was written either.
    if (!(thrown instanceof Killed) && !/cannot write .*ENOSPC/.test(String(thrown))) throw thrown
  }
}

describe('an agent that was killed while its disk was full', () => {
  it('once, or again and again, is released from what is on disk: everything as at the start (I14)', () => {
    let gaps = 0
    fc.assert(
      fc.property(rawTree, fc.array(fates, { minLength: 1, maxLength: 3 }), (raw, lives) =>
        withDirectory((directory) => {
          const tree = treeOf(raw)
          const before = textOf(tree.kernel)
          for (const [index, fate] of lives.entries())
            liveOnFullDisk(tree, directory, { ...fate, room: index === 0 ? fate.room + 2 : fate.room })
          gaps += reserveOf(readFileSync(fileIn(directory))) === 'used' ? 1 : 0
          fileFaults()
          const node = new JournaledNode(tree.kernel, { directory })
          expect(node.journal.health.damage).toBeUndefined()
          const report = node.release()
          expect(textOf(tree.kernel)).toEqual(before)
          expect([report.failed, report.foreign]).toEqual([[], []])
          expect(reserveOf(readFileSync(fileIn(directory)))).toMatchObject({ bytes: expect.any(Number) as number })
        }),
      ),
      { numRuns: 150 },
    )
    expect(gaps).toBeGreaterThan(20)
  })
})

const step = (setting: KnobSetting): Step => ({
  ...setting,
  group: POD,
  from: undefined,
  phase: 'narrow',
  because: { code: 'claim', rule: 'limits', because: { code: 'identity.idle', qosClass: 'BE' } },
})
const quotaStep = (milli: number): Step => step({ kind: 'quota', value: quotaOf(milli) })

function limited(body: (directory: string, kernel: ModelKernel) => void): void {
  withDirectory((directory) => {
    const kernel = new ModelKernel({ dialect: 'v2', topology: topologyOf('desktop') })
    for (const group of ['/kubepods', '/kubepods/besteffort', POD]) kernel.makeGroup(group)
    body(directory, kernel)
  })
}

describe('the gap in a journal', () => {
  it('casts doubt on what was put on record after it, too', () => {
    limited((directory, kernel) => {
      const node = new JournaledNode(kernel, { directory })
      node.apply([quotaStep(500)])
      fillUp()
      node.apply([quotaStep(400)])
      fileFaults()
      // There is room for an original again, and the file has not been rewritten yet.
      node.apply([step({ kind: 'memoryMax', value: 1 << 30 })])
      node.end()
      const { doubtful } = new JournaledNode(kernel, { directory }).journal
      expect(doubtful).toEqual([
        [POD, 'quota'],
        [POD, 'memoryMax'],
      ])
    })
  })

  it('is not there for records that only end: what is no longer held is nobody’s to put back', () => {
    limited((directory, kernel) => {
      const node = new JournaledNode(kernel, { directory })
      node.apply([quotaStep(500)])
      fillUp()
      node.journal.close(POD, 'quota')
      node.end()
      fileFaults()
      // Somebody else has it by now.
      kernel.writeKnob(POD, { kind: 'quota', value: quotaOf(2000) })
      const report = new JournaledNode(kernel, { directory }).release()
      expect(report).toMatchObject({ restored: 0, foreign: [{ group: POD, kind: 'quota' }] })
      expect(kernel.readKnob(POD, 'quota')).toEqual(quotaOf(2000))
    })
  })

  it('takes no room, and is gone once the file was rewritten: then what somebody else writes is his again', () => {
    limited((directory, kernel) => {
      const node = new JournaledNode(kernel, { directory })
      node.apply([quotaStep(500)])
      const { size } = statSync(fileIn(directory))
      fillUp()
      for (const milli of [400, 300, 200]) node.apply([quotaStep(milli)])
      expect([statSync(fileIn(directory)).size, reserveOf(readFileSync(fileIn(directory)))]).toEqual([size, 'used'])
      expect(node.journal.health.problem).toMatch(/restore\.journal can't be appended to: ENOSPC: [^;]*$/)
      for (let nowMs = 0; nowMs < 60_000; nowMs += 1000) node.journal.catchUp(nowMs)
      expect(node.journal.health.failures).toBe(1 + 9)
      fileFaults()
      for (let nowMs = 60_000; reserveOf(readFileSync(fileIn(directory))) === 'used'; nowMs += 1000) {
        expect(nowMs).toBeLessThan(71_000)
        node.journal.catchUp(nowMs)
      }
      // Whether it stays so is for the next look to say.
      expect(node.journal.health.problem).toContain('ENOSPC')
      node.journal.compactIfLarge()
      expect(node.journal.health).toEqual({ failures: 10 })
      node.end()
      kernel.writeKnob(POD, { kind: 'quota', value: quotaOf(2000) })
      expect(new JournaledNode(kernel, { directory }).release()).toMatchObject({ foreign: [{ group: POD, kind: 'quota' }] })
    })
  })

  it('that can not be told either, as on a disk that takes nothing, is told of while the agent runs', () => {
    limited((directory, kernel) => {
      const node = new JournaledNode(kernel, { directory })
      node.apply([quotaStep(500)])
      fileFaults((operation) => (operation === 'writeSync' ? 'EROFS' : undefined))
      node.apply([quotaStep(400)])
      expect(node.journal.health.problem).toMatch(
        /can't be appended to: EROFS.*; if the agent is killed now, what it has written since stays for somebody else's$/,
      )
      fileFaults()
      node.apply([quotaStep(300)])
      expect(node.journal.health.problem).toMatch(/can't be appended to: EROFS[^;]*$/)
      node.journal.compactIfLarge()
      expect(node.journal.health).toEqual({ failures: 1 })
    })
  })

  it('is a damaged line to an agent before, who believes the same of all above it, and its reserve is nothing new to him', () => {
    const made = { version: 1, bootId: 'cc3a0c9a-5a6e-4a43-9c4c-6b0a4b1d7d0e' }
    for (const one of [made, { version: 1, bootId: '' }]) {
      const line = reserveLine(one)
      expect(parseRecord(line.trimEnd())).toEqual({ is: 'header', ...one })
      const gap = gapLine({ at: 0, bytes: line.length })
      expect([gap.length, gap.at(-1), gap.indexOf('\n')]).toEqual([line.length, '\n', line.length - 1])
      expect(parseRecord(gap.slice(0, -1))).toEqual({ is: 'gap' })
      // He knows these, and takes any other for damage.
      expect(['header', 'original', 'wrote', 'closed']).not.toContain((JSON.parse(gap.slice(9)) as { readonly is: string }).is)
    }
    expect(reserveOf(Buffer.from(reserveLine(made)))).toBeUndefined()
    expect(reserveOf(Buffer.from(''))).toBeUndefined()
  })
})

describe('an agent whose disk was full for a while', () => {
  it('has everything in its journal again within seconds, not with the next look at its size', () => {
    const directory = mkdtempSync(join(tmpdir(), 'kube-agent-full-'))
    const sim = new SimulatedAgent({ dialect: 'v2', directory, config: DEFAULTS })
    try {
      sim.node.addPod(specOf({ uid: 'be', asks: { 'be-cpu': 20, 'be-memory': 8 } }))
      sim.node.addPod(specOf({ uid: 'ls', qos: 'Burstable', requestsMilli: 1000 }))
      sim.node.setDemand('be', 5000)
      sim.run(35_000)
      fillUp()
      sim.node.setDemand('ls', 7000)
      sim.run(2000)
      expect(reserveOf(readFileSync(fileIn(directory)))).toBe('used')
      fileFaults()
      sim.run(4000)
      expect(reserveOf(readFileSync(fileIn(directory)))).not.toBe('used')
      sim.run(30_000)
      expect(sim.records.at(-1)?.journalHealth).not.toHaveProperty('problem')
    } finally {
      sim.end()
      rmSync(directory, { recursive: true, force: true })
    }
  })
})
