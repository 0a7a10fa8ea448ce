/** Readings behind an explanation, in words. */
import { describe, expect, it } from 'vitest'
import { explainInputs } from '../../../src/record/explain/inputs.ts'
import { snapshotOf, type SnapshotLiteral } from '../../support/snapshots.ts'

const runQueue = (literal: SnapshotLiteral): string | undefined =>
  explainInputs(new Set(['cpu']), snapshotOf(literal), 0).find(({ name }) => name === 'run queue')?.value

describe('the run queue', () => {
  it('is told with one digit: it is a mean of counts, and the rest of it is noise', () => {
    expect(runQueue({ runnable: 20.189841766801504, offlineTasks: 5.5 })).toBe(
      '20.2 tasks ready to run, 14.7 of them surely no offline ones',
    )
  })

  it('says so where nobody knows how many of it are offline tasks', () => {
    expect(runQueue({ runnable: 3, offlineTasks: null })).toBe(
      '3.0 tasks ready to run, how many of them are offline ones is not known',
    )
  })
})
