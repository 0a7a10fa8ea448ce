/**
 * Colour, decided once for every verb: only on a terminal that can show it, and never where the environment says no. Nothing is told by
 * colour alone, so each function may be the identity.
 */
import type { WriteStream } from 'node:tty'

/** What a piece of text can look like, with the SGR codes (ECMA-48 §8.3.117) that switch it on and off. */
const STYLES = {
  bold: [1, 22],
  dim: [2, 22],
  inverse: [7, 27],
  red: [31, 39],
  green: [32, 39],
  yellow: [33, 39],
  blue: [34, 39],
  magenta: [35, 39],
  cyan: [36, 39],
} as const

type Style = keyof typeof STYLES

/** One function per style, each wrapping a text in its codes, or returning it as it is where there is no colour. */
export type Colours = Readonly<Record<Style, (text: string) => string>> & {
  /** Whether the functions do anything. */
  readonly on: boolean
}

/** The part of an output stream and of the environment that decides about colour. */
export interface ColourSurroundings {
  readonly environment?: Readonly<Record<string, string | undefined>>
}

/**
 * Whether `stream` gets colour: a terminal, `TERM` not `dumb`, and `NO_COLOR` (no-color.org: any value but the empty one) not set.
 */
export function wantsColour(
  stream: Pick<WriteStream, 'isTTY'> | { readonly isTTY?: boolean },
  { environment = process.env }: ColourSurroundings = {},
): boolean {
  return stream.isTTY === true && (environment['NO_COLOR'] ?? '') === '' && !isDumb(environment)
}

/** Whether the terminal says of itself that it can't move its cursor, let alone show colours. */
export function isDumb(environment: Readonly<Record<string, string | undefined>> = process.env): boolean {
  return environment['TERM'] === 'dumb'
}

/** The colours for what is written to `stream`: `colours(process.stdout).red('failed')`. */
export function colours(stream: { readonly isTTY?: boolean }, surroundings: ColourSurroundings = {}): Colours {
  return paint(wantsColour(stream, surroundings))
}

/** The colours, on or off by the caller's decision. */
export function paint(on: boolean): Colours {
  const style = (name: Style) => {
    const [begin, end] = STYLES[name]
    return on ? (text: string): string => `\u001b[${begin}m${text}\u001b[${end}m` : (text: string): string => text
  }
  return {
    on,
    bold: style('bold'),
    dim: style('dim'),
    inverse: style('inverse'),
    red: style('red'),
    green: style('green'),
    yellow: style('yellow'),
    blue: style('blue'),
    magenta: style('magenta'),
    cyan: style('cyan'),
  }
}
