/**
 * What the README shows of the agent is what the agent shows: the table of rungs has the settings by default, by which people decide what to
 * switch on, and the samples of `status` and `top` are what both print.
 */
import { readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { openCluster } from '../../../src/cli/cluster.ts'
import { type CpuPressureState, CPU_RUNGS, formatPermyriad, MEMORY_RUNGS, type MemoryState } from '../../../src/model/index.ts'
import { renderStatus } from '../../../src/record/index.ts'
import { configOf, DEFAULTS } from '../../support/config.ts'
import { GIB, recorder, SUPPRESSION, tick } from './fixtures.ts'

const README = readFileSync(new URL('../../../README.md', import.meta.url), 'utf8')

/** The cells of the row of a rung. */
function rowOf(rung: string): readonly string[] {
  const row = README.split('\n').find((line) => line.startsWith(`| \`${rung}\``))
  return row?.split('|').map((cell) => cell.trim()) ?? []
}

describe('the table of rungs in the README', () => {
  it.each([...CPU_RUNGS, ...MEMORY_RUNGS])('has the thresholds of %s', (rung) => {
    const [, , enters = '', leaves = '', , byDefault] = rowOf(rung)
    const { enabled, enterPermyriad, exitPermyriad } = DEFAULTS[rung]
    expect(enters).toContain(formatPermyriad(enterPermyriad))
    expect(leaves).toContain(formatPermyriad(exitPermyriad))
    const needsEvict = rung.startsWith('memoryEvict')
    expect(byDefault).toBe(needsEvict && enabled && !DEFAULTS.evict.enabled ? 'with evict' : enabled ? 'on' : 'off')
  })
})

/** The lines of the first block after some words. */
function sampleAfter(words: string): readonly string[] {
  const [, block = ''] = /```\n(.*?)\n```/s.exec(README.slice(README.indexOf(words))) ?? []
  return block.split('\n')
}

/** Two online hogs on 2 CPUs under cgroup v1, and no API server. */
const PRESSURE: CpuPressureState = { source: 'run queue', permyriad: 59_000, boundPermyriad: 30_000, is: 'hold' }
const HOGGED = {
  inputs: {
    capacityMilli: 2000,
    watermarkPermyriad: 6500,
    watermarkMilli: 1300,
    nodeMilli: 2000,
    offlineMilli: 40,
    onlineMilli: 2000,
    marginMilli: 50,
    floorMilli: 40,
    ageMs: 0,
  },
  bound: 'floor',
  allowanceMilli: 40,
  otAllowanceMilli: 20,
  beDemandMilli: 40,
  hot: true,
  steadiness: SUPPRESSION.steadiness,
  pressure: PRESSURE,
} as const
const AT_REST: MemoryState = {
  totalBytes: 23.5 * GIB,
  availableBytes: 21.4 * GIB,
  availablePermyriad: 9095,
  pressurePermyriad: 0,
  workingSetBytes: { BE: 256 * 1024, OT: 256 * 1024 },
  ladder: { inForce: [] },
  ageMs: 0,
}

describe('the samples in the README', () => {
  it('have of status what it prints of such a node, word for word', () => {
    const cluster = openCluster(configOf({ mode: 'enforce' }), { writes: true, environment: {} })
    const evictions = cluster.evictor.view()
    cluster.close()
    const record = recorder()
    const nowMs = 11_000
    const suppression = { ...HOGGED, ladder: { inForce: ['cpuNarrow'], changedMs: nowMs - 2400 } } as const
    for (let ticks = 0; ticks < 104; ticks++) record.tick(tick({ nowMs, suppression, memory: AT_REST, evictions }))
    for (let beats = 0; beats < 262; beats++) record.guardBeat(1, beats < 2)
    const page = renderStatus(record.status(nowMs))
    const from = page.indexOf('\nsuppression') + 1
    const [loop = ''] = /^loop .*$/m.exec(page) ?? []
    const lines = page.slice(from, page.indexOf('\n\n', from)).split('\n')
    expect(sampleAfter('What `kube-agent status` says of it')).toEqual([loop, '…', ...lines])
  })

  it('have of top the golden screen, without the empty lines of a short list', () => {
    const golden = readFileSync(new URL('../../golden/top-80.txt', import.meta.url), 'utf8').trimEnd()
    expect(sampleAfter('`kube-agent top`, at 80 columns:')).toEqual(golden.replaceAll(/\n{3,}/g, '\n\n').split('\n'))
  })
})
