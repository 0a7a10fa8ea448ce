/**
 * What a recording and its replay come to: per measure the least, the mean over time and the most of both, how many decisions differ, the first
 * differences, and the course of the main numbers for the page. Takes one tick after the other and keeps no decision.
 */
import { fileSettings, type Config } from '../../config/index.ts'
import { isOffline, type OfflineClass } from '../../model/index.ts'
import { digestOf } from '../../record/index.ts'
import { type Difference, FirstDifferences } from './differences.ts'
import { MEASURES, type Unit } from './measures.ts'
import type { Redecided } from './redecide.ts'

/** A tick stands for the time until the next one, but not for a pause in which nobody looked. */
const MOST_WEIGHT_MS = 10_000

/** Of the ticks in which it was known; all undefined where it never was. */
export interface Range {
  readonly least?: number
  /** Over time: a tick counts for as long as it stood. */
  readonly mean?: number
  readonly most?: number
}

export interface Row {
  readonly name: string
  readonly unit: Unit
  readonly recorded: Range
  readonly replayed: Range
  /** Ticks in which the two differ. */
  readonly differing: number
}

/** One point of the course; null is not known. CPU in milli-CPU, pressure in permyriad, times in ms since the epoch. */
export interface Course {
  readonly wallMs: number[]
  readonly nodeMilli: (number | null)[]
  readonly onlineMilli: (number | null)[]
  readonly beMilli: (number | null)[]
  readonly otMilli: (number | null)[]
  readonly pressurePermyriad: (number | null)[]
  readonly watermarkRecorded: (number | null)[]
  readonly watermarkReplayed: (number | null)[]
  readonly allowanceRecorded: (number | null)[]
  readonly allowanceReplayed: (number | null)[]
  readonly otRecorded: (number | null)[]
  readonly otReplayed: (number | null)[]
  readonly offerRecorded: (number | null)[]
  readonly offerReplayed: (number | null)[]
}

export interface ChangedSetting {
  readonly key: string
  readonly recorded: unknown
  readonly replayed: unknown
}

/** Pods that either line wished away, by UID, at any time. */
interface Wished {
  readonly recorded: number
  readonly replayed: number
}

export interface Comparison {
  readonly ticks: number
  readonly fromMs?: number
  readonly toMs?: number
  /** Ticks in which anything was decided differently. */
  readonly differing: number
  readonly rows: readonly Row[]
  readonly evictedPods: Wished
  readonly differences: readonly Difference[]
  /** Settings that differ, as they stood when the recording ended. */
  readonly settings: readonly ChangedSetting[]
  /** Ticks that this version decides otherwise than the agent did, with the very same settings. */
  readonly unlike: { readonly ticks: number; readonly firstWallMs?: number; readonly in: readonly string[] }
  readonly course: Course
}

/** A running range, with the time since the value before. */
class Spread {
  #least = Infinity
  #most = -Infinity
  #sum = 0
  #weight = 0

  take(value: number | undefined, weight: number): void {
    if (value === undefined) return
    this.#least = Math.min(this.#least, value)
    this.#most = Math.max(this.#most, value)
    this.#sum += value * weight
    this.#weight += weight
  }

  get range(): Range {
    if (this.#weight === 0) return {}
    return { least: this.#least, mean: this.#sum / this.#weight, most: this.#most }
  }
}

export class Comparer {
  readonly #rows = MEASURES.map((measure) => ({ measure, recorded: new Spread(), replayed: new Spread(), differing: 0 }))
  readonly #first = new FirstDifferences()
  readonly #course = emptyCourse()
  readonly #wished = { recorded: new Set<string>(), replayed: new Set<string>() }
  readonly #unlikeIn = new Set<string>()
  #unlikeTicks = 0
  #unlikeMs: number | undefined
  #ticks = 0
  #differing = 0
  #fromMs: number | undefined
  #last: Redecided['config'] | undefined
  #lastVariant: Redecided['variant'] | undefined
  /** Of the tick before: it stands until the next one comes. */
  #open:
    | {
        readonly nowMs: number
        readonly wallMs: number
        readonly values: readonly (readonly [number | undefined, number | undefined])[]
      }
    | undefined

  take(tick: Redecided): void {
    const { snapshot, recorded, replayed, unlike } = tick
    this.#ticks += 1
    this.#fromMs ??= snapshot.wallMs
    this.#last = tick.config
    this.#lastVariant = tick.variant
    if (unlike.length > 0) {
      this.#unlikeTicks += 1
      this.#unlikeMs ??= snapshot.wallMs
      for (const what of unlike) this.#unlikeIn.add(what)
    }
    if (recorded !== replayed) this.#differ(tick)
    for (const { uid } of recorded.evictions) this.#wished.recorded.add(uid)
    for (const { uid } of replayed.evictions) this.#wished.replayed.add(uid)
    this.#close(snapshot.nowMs)
    const values = MEASURES.map(({ of }) => {
      const one = of(recorded, snapshot)
      return [one, recorded === replayed ? one : of(replayed, snapshot)] as const
    })
    this.#open = { nowMs: snapshot.nowMs, wallMs: snapshot.wallMs, values }
    addToCourse(this.#course, tick)
  }

  result(): Comparison {
    this.#close((this.#open?.nowMs ?? 0) + 1)
    return {
      ticks: this.#ticks,
      ...(this.#fromMs === undefined ? {} : { fromMs: this.#fromMs }),
      ...(this.#course.wallMs.length === 0 ? {} : { toMs: this.#course.wallMs.at(-1) ?? 0 }),
      differing: this.#differing,
      rows: this.#rows.map(({ measure: { name, unit }, recorded, replayed, differing }) => ({
        name,
        unit,
        recorded: recorded.range,
        replayed: replayed.range,
        differing,
      })),
      evictedPods: { recorded: this.#wished.recorded.size, replayed: this.#wished.replayed.size },
      differences: this.#first.found,
      settings: this.#last === undefined || this.#lastVariant === undefined ? [] : changedSettings(this.#last, this.#lastVariant),
      unlike: {
        ticks: this.#unlikeTicks,
        ...(this.#unlikeMs === undefined ? {} : { firstWallMs: this.#unlikeMs }),
        in: [...this.#unlikeIn],
      },
      course: this.#course,
    }
  }

  #differ(tick: Redecided): void {
    const digests = [digestOf(tick.recorded), digestOf(tick.replayed)] as const
    if (JSON.stringify(digests[0]) === JSON.stringify(digests[1])) return
    this.#differing += 1
    this.#first.take(tick, digests)
  }

  #close(nowMs: number): void {
    const open = this.#open
    if (open === undefined) return
    // A restarted agent has a clock of its own, which may be behind.
    const weight = Math.min(MOST_WEIGHT_MS, Math.max(1, nowMs - open.nowMs))
    for (const [index, row] of this.#rows.entries()) {
      const [recorded, replayed] = open.values[index] ?? []
      row.recorded.take(recorded, weight)
      row.replayed.take(replayed, weight)
      if (recorded !== replayed) row.differing += 1
    }
    this.#open = undefined
  }
}

/** Settings of two configurations that differ, by dotted key. */
function changedSettings(recorded: Config, replayed: Config): readonly ChangedSetting[] {
  if (recorded === replayed) return []
  const [one, other] = [flat(recorded), flat(replayed)]
  return [...other].flatMap(([key, value]) =>
    JSON.stringify(value) === JSON.stringify(one.get(key)) ? [] : [{ key, recorded: one.get(key), replayed: value }],
  )
}

function flat(config: Config): ReadonlyMap<string, unknown> {
  const settings = new Map<string, unknown>()
  for (const [block, value] of Object.entries(fileSettings(config))) {
    if (typeof value !== 'object' || value === null) settings.set(block, value)
    else for (const [name, one] of Object.entries(value)) settings.set(`${block}.${name}`, one)
  }
  return settings
}

function emptyCourse(): Course {
  return {
    wallMs: [],
    nodeMilli: [],
    onlineMilli: [],
    beMilli: [],
    otMilli: [],
    pressurePermyriad: [],
    watermarkRecorded: [],
    watermarkReplayed: [],
    allowanceRecorded: [],
    allowanceReplayed: [],
    otRecorded: [],
    otReplayed: [],
    offerRecorded: [],
    offerReplayed: [],
  }
}

function addToCourse(course: Course, { snapshot, recorded, replayed }: Redecided): void {
  const { suppression: one } = recorded
  const { suppression: other } = replayed
  course.wallMs.push(snapshot.wallMs)
  course.nodeMilli.push(known(snapshot.node.cpu?.value.usedMilli))
  course.onlineMilli.push(known(snapshot.online.cpu?.value.usedMilli))
  course.beMilli.push(useOf(recorded, 'BE'))
  course.otMilli.push(useOf(recorded, 'OT'))
  course.pressurePermyriad.push(known((snapshot.online.cpuPressure ?? snapshot.node.cpuPressure)?.value.someUsPerSecond, 0.01))
  course.watermarkRecorded.push(known(one?.inputs.watermarkMilli))
  course.watermarkReplayed.push(known(other?.inputs.watermarkMilli))
  course.allowanceRecorded.push(known(one?.allowanceMilli))
  course.allowanceReplayed.push(known(other?.allowanceMilli))
  course.otRecorded.push(known(one?.otAllowanceMilli))
  course.otReplayed.push(known(other?.otAllowanceMilli))
  course.offerRecorded.push(offered(recorded))
  course.offerReplayed.push(offered(replayed))
}

/** What cannot be drawn is not known. */
function known(value: number | undefined, factor = 1): number | null {
  return value === undefined || !Number.isFinite(value) ? null : Math.round(value * factor)
}

function useOf({ pods }: Redecided['recorded'], wanted: OfflineClass): number | null {
  let sum = 0
  let measured = false
  for (const { qosClass, reading } of pods) {
    if (!isOffline(qosClass) || qosClass !== wanted || reading.use === undefined) continue
    measured = true
    sum += reading.use.value.cpuMilli
  }
  return measured ? Math.round(sum) : null
}

function offered({ offers }: Redecided['recorded']): number | null {
  const found = offers.find(({ resource }) => resource === 'be-cpu')
  return found === undefined ? null : found.units * found.because.unitSize
}
