/** A recording from its files: one, or the segments of a directory in their order. */
import { stat } from 'node:fs/promises'
import { AgentError, messageOf } from '../../model/index.ts'
import type { KnownTopologies } from './decode.ts'
import type { ConfigMaker, Entry } from './entries.ts'
import { openSegment, type SegmentHeader } from './segment.ts'
import { segmentsOf } from './store.ts'

/** A segment as it is come to. */
export interface RecordedSegment {
  readonly path: string
  readonly header: SegmentHeader
  readonly entries: Iterable<Entry>
}

/** What of the files could not be used, in words, each naming its file. */
export type Damage = string[]

/** The files of a recording. Rejects with E_RECORDING where there is none. */
export async function recordingFiles(path: string): Promise<readonly string[]> {
  try {
    if (!(await stat(path)).isDirectory()) return [path]
    const files = await segmentsOf(path)
    if (files.length > 0) return files
  } catch (thrown) {
    throw new AgentError('E_RECORDING', `can't read ${path}: ${messageOf(thrown)}`, { cause: thrown })
  }
  throw new AgentError('E_RECORDING', `no recording in ${path}: segments are called 00000001.recording`)
}

/**
 * Goes through files in order, each only once the one before is through. `configOf` makes a configuration of recorded settings. Throws
 * E_RECORDING at a file that is no recording of this format.
 */
export function* readRecording(files: readonly string[], configOf: ConfigMaker, damage: Damage): Generator<RecordedSegment> {
  const topologies: KnownTopologies = new Map()
  for (const path of files) {
    const segment = openSegment(path)
    try {
      yield { path, header: segment.header, entries: segment.entries({ configOf, topologies }) }
      const problem = segment.damage()
      if (problem !== undefined) damage.push(problem)
    } finally {
      segment.close()
    }
  }
}
