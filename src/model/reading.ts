/** A measured value that knows how old it is and where it came from. A rule past its staleness bound abstains. */
export interface Reading<T> {
  readonly value: T
  /** Monotonic milliseconds, on the same clock as NodeSnapshot.nowMs. */
  readonly atMs: number
  /** The file or interface the value was read from. */
  readonly source: string
}

/** A moment on both clocks: monotonic for arithmetic, wall for people. Every pure function takes it as an argument. */
export interface Instant {
  readonly nowMs: number
  /** Milliseconds since the epoch. */
  readonly wallMs: number
}

/** Age of a reading in milliseconds at `nowMs`. */
export function ageMs(reading: Reading<unknown>, nowMs: number): number {
  return nowMs - reading.atMs
}
