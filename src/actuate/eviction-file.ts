/**
 * The evictions of the last hour, in the state directory: evict.perHour and evict.intervalMs are promises to the users of a cluster, and an agent
 * that is restarted again and again must not make them anew each time. Times are of the wall clock, since monotonic ones end with a boot.
 * Written whole with each eviction that is granted, which is rare; losing it costs the memory of one hour, so nothing is synced.
 */
import { renameSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { EvictionRecord, EvictionWish, Instant } from '../model/index.ts'
import { EVICTING_RUNGS, messageOf } from '../model/index.ts'
import { readStateFile } from './state-directory.ts'

const FILE_NAME = 'evictions.json'
const VERSION = 1
const HOUR_MS = 3_600_000
/** As many as are kept of them in memory. */
const MOST = 64

/** What is told where something went wrong. */
export interface EvictionFileLogger {
  warn(fields: object, message: string): void
}

export class EvictionFile {
  readonly #path: string
  readonly #now: () => Instant
  readonly #logger: EvictionFileLogger
  /** A disk that is full is told of once. */
  #told = false

  constructor(stateDirectory: string, now: () => Instant, logger: EvictionFileLogger) {
    this.#path = join(stateDirectory, FILE_NAME)
    this.#now = now
    this.#logger = logger
  }

  /** Evictions of the last hour, oldest first, dated by the monotonic clock of this process. Never throws: what can't be read is told of. */
  load(): readonly EvictionRecord[] {
    try {
      const text = readStateFile(this.#path)
      return text === undefined ? [] : this.#recordsIn(JSON.parse(text))
    } catch (thrown) {
      this.#logger.warn({ path: this.#path, error: messageOf(thrown) }, 'earlier evictions are not known')
      return []
    }
  }

  /** Puts what was granted in the place of what is there. Never throws. */
  save(granted: readonly EvictionRecord[]): void {
    const { nowMs, wallMs } = this.#now()
    const evictions = granted
      .slice(-MOST)
      .map(({ wish, is, atMs }) => ({ wish, is, atWallMs: Math.round(wallMs - (nowMs - atMs)) }))
    const temporary = `${this.#path}.new`
    try {
      // Made anew, so that nobody's link or mode is taken over.
      rmSync(temporary, { force: true })
      writeFileSync(temporary, `${JSON.stringify({ version: VERSION, evictions })}\n`, { flag: 'wx', mode: 0o600 })
      renameSync(temporary, this.#path)
      this.#told = false
    } catch (thrown) {
      if (!this.#told)
        this.#logger.warn({ path: this.#path, error: messageOf(thrown) }, 'evictions can not be kept over a restart')
      this.#told = true
    }
  }

  #recordsIn(value: unknown): readonly EvictionRecord[] {
    const { version, evictions } = fieldsOf(value)
    if (version !== VERSION || !Array.isArray(evictions)) throw new Error(`not a list of evictions of version ${VERSION}`)
    const { nowMs, wallMs } = this.#now()
    const records: EvictionRecord[] = []
    for (const entry of evictions.slice(-MOST) as unknown[]) {
      const { wish: wished, is, atWallMs } = fieldsOf(entry)
      const wish = wishIn(wished)
      if (wish === undefined || (is !== 'evicted' && is !== 'forced') || typeof atWallMs !== 'number') continue
      // A clock that was set back makes it one of just now: too many are counted then, never too few.
      const ageMs = Math.max(0, wallMs - atWallMs)
      if (ageMs < HOUR_MS) records.push({ wish, is, atMs: nowMs - ageMs })
    }
    return records.sort((a, b) => a.atMs - b.atMs)
  }
}

type Fields = Readonly<Record<string, unknown>>

const fieldsOf = (value: unknown): Fields => (typeof value === 'object' && value !== null ? (value as Fields) : {})

/** The wish, if all of it makes sense. */
function wishIn(value: unknown): EvictionWish | undefined {
  const { uid, namespace, name, qosClass, rung: named, usesMilli, usesBytes, priority } = fieldsOf(value)
  const rung = EVICTING_RUNGS.find((known) => known === named)
  if (typeof uid !== 'string' || typeof namespace !== 'string' || typeof name !== 'string' || rung === undefined) return undefined
  if (qosClass !== 'BE' && qosClass !== 'OT') return undefined
  if (typeof usesMilli !== 'number' || typeof usesBytes !== 'number' || typeof priority !== 'number') return undefined
  return { uid, namespace, name, qosClass, rung, dryRun: false, usesMilli, usesBytes, priority }
}
