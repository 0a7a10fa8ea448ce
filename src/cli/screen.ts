/** A block of lines redrawn in place on a terminal, and the few colours it uses. No alternate screen: what was shown stays readable. */
const ESC = '\u001b['

export interface Screen {
  /** Replaces the block by these lines. */
  draw(lines: readonly string[]): void
  /** Prints lines above the block, for good. */
  print(text: string): void
  /** Leaves the block as it is and the cursor below it. */
  end(): void
}

/** A screen on a terminal of `columns` columns. */
export function openScreen(write: (text: string) => void, columns: () => number): Screen {
  let shown: readonly string[] = []
  const erase = (): string => (shown.length === 0 ? '' : `${ESC}${shown.length}A${ESC}0J`)
  const paint = (lines: readonly string[]): string => lines.map((line) => `${clip(line, columns())}\n`).join('')
  return {
    draw(lines) {
      write(erase() + paint(lines))
      shown = lines
    },
    print(text) {
      write(`${erase()}${text}${paint(shown)}`)
    },
    end() {
      shown = []
    },
  }
}

export type Colour = 'red' | 'green' | 'yellow' | 'blue' | 'magenta' | 'dim' | 'bold'
const CODES: Readonly<Record<Colour, string>> = {
  red: '31',
  green: '32',
  yellow: '33',
  blue: '34',
  magenta: '35',
  dim: '2',
  bold: '1',
}

export type Paint = (colour: Colour, text: string) => string

/** Colours for a terminal; plain text elsewhere and where NO_COLOR is set (no-color.org). */
export function painter(enabled: boolean): Paint {
  return enabled ? (colour, text) => `${ESC}${CODES[colour]}m${text}${ESC}0m` : (_colour, text) => text
}

/** Cuts a line to so many visible columns, leaving colour codes whole. */
function clip(line: string, columns: number): string {
  let visible = 0
  let index = 0
  while (index < line.length && visible < columns) {
    if (line.startsWith(ESC, index)) {
      index = line.indexOf('m', index) + 1
      continue
    }
    visible += 1
    index += 1
  }
  return index >= line.length ? line : `${line.slice(0, index)}${ESC}0m`
}
