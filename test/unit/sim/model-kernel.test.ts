/** The model kernel by itself, under v2: it answers what a real one has been seen to answer. The two are compared in scripts/vm. */
import { describe, expect, it } from 'vitest'
import { buildTopology } from '../../../src/cpu/index.ts'
import { type GroupPath, outcomeOfErrno } from '../../../src/model/index.ts'
import { ModelKernel } from '../../../src/sim/index.ts'
import { KNOWN_V2 } from '../../support/known-answers.ts'
import { C, D, E, PLACES } from '../../support/places.ts'
import { knob, quotaUs } from '../../support/settings.ts'
import { rawTopology } from '../../support/topologies.ts'

const EIGHT_CPUS = buildTopology(rawTopology({ sockets: 2, nodesPerSocket: 1, cachesPerNode: 1, coresPerCache: 2, threads: 2 }))
const groupOf = (place: number): GroupPath => ['', 'run', ...(PLACES[place] ?? [])].join('/')

function tree(): ModelKernel {
  const kernel = new ModelKernel({ dialect: 'v2', topology: EIGHT_CPUS })
  for (const place of PLACES.keys()) kernel.makeGroup(groupOf(place)).populated = place === C
  return kernel
}

describe('the model kernel under v2', () => {
  it('answers every known write as the real one does', () => {
    const kernel = tree()
    const answers = KNOWN_V2.map(([place, setting]) => [place, setting, kernel.writeKnob(groupOf(place), setting).is])
    expect(answers).toEqual(KNOWN_V2)
  })

  it('looks at the range of a weight before it looks at idle, and has ERANGE for a state that is none', () => {
    const kernel = tree()
    kernel.writeKnob(groupOf(D), knob('idle', 1))
    expect(kernel.writeKnob(groupOf(D), knob('weight', 10_001))).toEqual(outcomeOfErrno('ERANGE'))
    expect(kernel.writeKnob(groupOf(D), knob('weight', 100))).toEqual(outcomeOfErrno('EINVAL'))
    expect(kernel.writeKnob(groupOf(E), knob('freeze', 2))).toEqual(outcomeOfErrno('ERANGE'))
    expect(kernel.writeKnob(groupOf(E), quotaUs(null, 999))).toEqual(outcomeOfErrno('EINVAL'))
  })

  it('takes a limit beyond all memory for none', () => {
    const kernel = tree()
    kernel.writeKnob(groupOf(E), knob('memoryMax', 2 ** 63))
    expect(kernel.readKnob(groupOf(E), 'memoryMax')).toBeNull()
  })
})
