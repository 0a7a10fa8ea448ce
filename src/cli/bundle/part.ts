/** What a bundle is made of: parts that were gathered, and parts that could not be had, each with where it comes from. */

/** The most that a text may bring into a bundle, in bytes; of a longer one the beginning is kept, and that is said. */
export const MAX_PART_BYTES = 4 * 1024 * 1024

interface Named {
  /** Path in the bundle, below its directory. */
  readonly path: string
  /** Where it comes from, in words: a page of the agent, a look of this process. */
  readonly source: string
}

export interface TextPart extends Named {
  readonly is: 'text'
  readonly text: string
  /** What a reader has to know of it: that some of it is left out, or that a page answered with a failure. */
  readonly note?: string
}

/** A file of bytes that is taken as it is. */
export interface FilePart extends Named {
  readonly is: 'file'
  readonly bytes: number
  readonly mtimeMs: number
  readonly content: AsyncIterable<Buffer>
}

export interface MissingPart extends Named {
  readonly is: 'missing'
  readonly reason: string
}

export type Part = TextPart | FilePart | MissingPart

/** A value for programs, with sets of CPUs as the kernel writes them. */
export function jsonText(value: unknown): string {
  return `${JSON.stringify(value, undefined, 2)}\n`
}
