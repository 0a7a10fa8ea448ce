/** What is redrawn on a terminal: a block of lines in place, above which what was printed stays readable, or the whole screen. */
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

/** The whole screen of a terminal, the alternate one (xterm ctlseqs, DECSET 1049): what was there before comes back afterwards. */
export interface FullScreen {
  /** Takes over the screen; nothing where it has it already. */
  enter(): void
  /** Shows these lines from the top. Only those that have changed are written, in one piece, so that nothing flickers. */
  draw(lines: readonly string[]): void
  /** Forgets what is shown: the next draw writes it all. For a terminal that was resized, or that others have written to. */
  spoil(): void
  /** Gives the screen back; nothing where it was not taken. */
  leave(): void
}

// The alternate screen, no cursor, no wrapping of lines that are too long for a moment after a resize.
const TAKE = `${ESC}?1049h${ESC}?25l${ESC}?7l${ESC}2J`
const GIVE_BACK = `${ESC}0m${ESC}?7h${ESC}?25h${ESC}?1049l`

/** A terminal's whole screen, of `size().columns` by `size().rows`. */
export function openFullScreen(
  write: (text: string) => void,
  size: () => { readonly columns: number; readonly rows: number },
): FullScreen {
  let taken = false
  let shown: readonly string[] = []
  return {
    enter() {
      if (taken) return
      taken = true
      shown = []
      write(TAKE)
    },
    draw(lines) {
      if (!taken) return
      const { columns, rows } = size()
      const now = lines.slice(0, rows).map((line) => clip(line, columns))
      // Erasing after the last column would erase what stands in it.
      const rest = (line: string): string => (visibleLength(line) < columns ? `${ESC}K` : '')
      const changed = now.map((line, row) => (line === shown[row] ? '' : `${ESC}${row + 1};1H${line}${ESC}0m${rest(line)}`))
      const below = now.length < shown.length ? `${ESC}${now.length + 1};1H${ESC}J` : ''
      shown = now
      const text = changed.join('') + below
      if (text !== '') write(text)
    },
    spoil() {
      if (taken) write(`${ESC}2J`)
      shown = []
    },
    leave() {
      if (!taken) return
      taken = false
      write(GIVE_BACK)
    },
  }
}

function visibleLength(line: string): number {
  return line.split(ESC).reduce((sum, part, index) => sum + part.length - (index === 0 ? 0 : part.indexOf('m') + 1), 0)
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
