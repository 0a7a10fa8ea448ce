/**
 * The key somebody meant when they typed another. Damerau-Levenshtein distance in its optimal-string-alignment form: a swap of
 * neighbours is one slip, as it is at a keyboard, and so is a wrong case of any number of letters.
 */

/** Three slips in a long key are a typo; in a short one they are another word. */
const MAX_DISTANCE = 3

/** The candidate nearest to `word`, the first of equals; undefined if none is within 3 slips and less than half the length of the longer. */
export function nearest(word: string, candidates: Iterable<string>): string | undefined {
  let best: string | undefined
  let bestDistance = Infinity
  for (const candidate of candidates) {
    const limit = Math.min(MAX_DISTANCE, Math.ceil(Math.max(word.length, candidate.length) / 2) - 1)
    if (Math.abs(word.length - candidate.length) > limit) continue
    const distance = slips(word.toLowerCase(), candidate.toLowerCase())
    if (distance <= limit && distance < bestDistance) [best, bestDistance] = [candidate, distance]
  }
  return best
}

function slips(left: string, right: string): number {
  let beforeLast: number[] = []
  let last = Array.from({ length: right.length + 1 }, (_, column) => column)
  for (let row = 1; row <= left.length; row++) {
    const current = [row]
    for (let column = 1; column <= right.length; column++) {
      const same = left[row - 1] === right[column - 1]
      const swapped = row > 1 && column > 1 && left[row - 1] === right[column - 2] && left[row - 2] === right[column - 1]
      current.push(
        Math.min(
          at(last, column) + 1,
          at(current, column - 1) + 1,
          at(last, column - 1) + (same ? 0 : 1),
          swapped ? at(beforeLast, column - 2) + 1 : Infinity,
        ),
      )
    }
    beforeLast = last
    last = current
  }
  return at(last, right.length)
}

const at = (row: readonly number[], column: number): number => row[column] ?? Infinity
