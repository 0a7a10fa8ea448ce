/** The first byte of a value in a recording. A number that is used once keeps its meaning: another one means another version of the format. */
export const TAG = {
  null: 0,
  undefined: 1,
  true: 2,
  false: 3,
  /** A whole number from 0, as a varint. */
  natural: 4,
  /** −1 minus a varint. */
  negative: 5,
  double: 6,
  /** The time of the tick, which most readings bear. */
  now: 7,
  bigint: 8,
  text: 9,
  /** Something that has passed before. */
  again: 10,
  array: 11,
  /** An object whose keys have passed before, in this order. */
  shaped: 12,
  object: 13,
  map: 14,
  set: 15,
  cpuSet: 16,
  ioLimits: 17,
  knobTable: 18,
  topology: 19,
  /** From here on the byte itself is a whole number from 0. */
  small: 32,
} as const

/** Whole numbers below this one are a byte of their own. */
export const SMALL_NUMBERS = 256 - TAG.small

/** Values within values; a snapshot has some ten levels. */
export const MAX_DEPTH = 64
