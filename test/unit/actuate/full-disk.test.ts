/**
 * A nearly full disk takes part of a write and calls it a success. No original may be lost to that, and suppression and release must go
 * on. On a real file system of 64 KiB, which only root can mount.
 */
import { spawnSync } from 'node:child_process'
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it, type TestContext } from 'vitest'
import { Actuator, RestoreJournal } from '../../../src/actuate/index.ts'
import { releaseNode } from '../../../src/agent/index.ts'
import { isSuccess, quotaOf, type Step } from '../../../src/model/index.ts'
import { ModelKernel } from '../../../src/sim/index.ts'
import { topologyOf } from '../../support/snapshots.ts'

let disk: string
let mounted = false

beforeEach(() => {
  disk = mkdtempSync(join(tmpdir(), 'kube-agent-full-'))
  mounted = spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=64k,mode=700', 'tmpfs', disk]).status === 0
})

afterEach(() => {
  if (mounted) spawnSync('umount', [disk])
  rmSync(disk, { recursive: true, force: true })
})

function needsDisk(context: TestContext): void {
  if (!mounted) context.skip('needs root, to mount a small file system')
}

function fill(): void {
  try {
    for (let part = 0; ; part += 1) writeFileSync(join(disk, `filler-${part}`), Buffer.alloc(4096))
  } catch {
    // Full.
  }
}

const group = (index: number): string => `/kubepods/besteffort/pod${index}`

function kernelWith(pods: number): ModelKernel {
  const kernel = new ModelKernel({ dialect: 'v2', topology: topologyOf('desktop') })
  for (const path of ['/kubepods', '/kubepods/besteffort']) kernel.makeGroup(path)
  for (let index = 0; index < pods; index += 1) kernel.makeGroup(group(index))
  return kernel
}

function openJournal(kernel: ModelKernel): RestoreJournal {
  return new RestoreJournal({ stateDirectory: disk, bootId: 'one', maxBytes: 1 << 20, groupId: (path) => kernel.groupId(path) })
}

const quotaStep = (index: number, milli: number): Step => ({
  group: group(index),
  kind: 'quota',
  value: quotaOf(milli),
  from: undefined,
  phase: 'narrow',
  because: { code: 'claim', rule: 'identity', because: { code: 'identity.idle', qosClass: 'OT' } },
})

describe('on a full disk', () => {
  it('an agent that goes on suppressing and is killed leaves a node that is put back in full once there is room', (context) => {
    needsDisk(context)
    const kernel = kernelWith(2)
    const before = kernel.readKnob(group(0), 'quota')
    const killed = openJournal(kernel)
    const actuator = new Actuator(kernel, killed)
    actuator.apply([quotaStep(0, 500)], { limited: false })
    fill()
    for (let milli = 499; milli > 100; milli -= 1) actuator.apply([quotaStep(0, milli)], { limited: false })
    expect(killed.health.problem).toMatch(/ENOSPC: [^;]*$/)
    killed.end()
    // The next one finds no room either, and is killed too.
    const next = openJournal(kernel)
    expect(next.health.problem).toMatch(/can't be rewritten: ENOSPC/)
    new Actuator(kernel, next).apply([quotaStep(0, 90)], { limited: false })
    next.end()
    for (const name of readdirSync(disk)) if (name.startsWith('filler')) rmSync(join(disk, name))
    const journal = openJournal(kernel)
    expect([journal.damagedLines, journal.doubtful]).toEqual([0, [[group(0), 'quota']]])
    expect(releaseNode(kernel, { journal, actuator: new Actuator(kernel, journal) }, 0)).toMatchObject({
      restored: 1,
      foreign: [],
      failed: [],
    })
    expect(kernel.readKnob(group(0), 'quota')).toEqual(before)
    journal.end()
  })

  it('what the journal says it has saved is on the disk, and a reopened journal knows it', (context) => {
    needsDisk(context)
    const kernel = kernelWith(2000)
    const journal = openJournal(kernel)
    let saved = 0
    expect(() => {
      for (let from = 0; from < 2000; from += 50) {
        const originals = Array.from({ length: 50 }, (_, index) => ({
          group: group(from + index),
          kind: 'weight' as const,
          value: 7,
        }))
        journal.saveOriginals(originals)
        saved += 50
      }
    }).toThrow(/ENOSPC/)
    expect(journal.entries.size).toBe(saved)
    const lines = readFileSync(journal.path, 'utf8').split('\n')
    expect(lines.filter((line) => line.includes('"original"'))).toHaveLength(saved)
    journal.end()
    // There is no room for a new file: what is there is gone on with, and told of.
    const reopened = openJournal(kernel)
    expect(reopened.entries.size).toBe(saved)
    expect(reopened.damagedLines).toBe(0)
    expect(reopened.health).toMatchObject({ failures: 1, problem: expect.stringContaining('ENOSPC') as string })
    expect(readFileSync(journal.path, 'utf8').split('\n')).toEqual(lines)
    reopened.end()
  })

  it('a knob whose original is safe is still written and restored, and one whose is not is left alone', (context) => {
    needsDisk(context)
    const kernel = kernelWith(200)
    const journal = openJournal(kernel)
    const actuator = new Actuator(kernel, journal)
    expect(actuator.apply([quotaStep(0, 500)], { limited: false }).every(({ outcome }) => isSuccess(outcome))).toBe(true)
    fill()
    for (let milli = 499; milli > 300; milli -= 1) {
      const [result] = actuator.apply([quotaStep(0, milli)], { limited: false })
      expect(result?.outcome.is).toBe('applied')
    }
    const fresh = actuator.apply(
      Array.from({ length: 199 }, (_, index) => quotaStep(index + 1, 500)),
      { limited: false },
    )
    expect(fresh.filter(({ outcome }) => outcome.is === 'failed').length).toBeGreaterThan(0)
    for (const { step, outcome } of fresh)
      if (!isSuccess(outcome)) expect(kernel.readKnob(step.group, 'quota')).toMatchObject({ quotaUs: null })
    const restore: Step = {
      group: group(0),
      kind: 'quota',
      from: undefined,
      phase: 'widen',
      because: { code: 'restore' },
      value: { ...quotaOf(1), quotaUs: null },
    }
    expect(actuator.apply([restore], { limited: false })[0]?.outcome.is).toBe('applied')
    journal.end()
  })
})
