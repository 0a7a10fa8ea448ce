/** Colours only where somebody can see them and has not said no. */
import { describe, expect, it } from 'vitest'
import { colours, paint } from '../../src/cli/colour.ts'

const TTY = { isTTY: true }

describe('colours', () => {
  it.each([
    ['on a terminal', TTY, { TERM: 'xterm-256color' }, true],
    ['on a terminal that says nothing of itself', TTY, {}, true],
    ['not in a pipe', {}, { TERM: 'xterm' }, false],
    ['not with NO_COLOR', TTY, { NO_COLOR: '1' }, false],
    ['not with NO_COLOR of any value', TTY, { NO_COLOR: '0' }, false],
    ['with an empty NO_COLOR, which says nothing', TTY, { NO_COLOR: '' }, true],
    ['not on a dumb terminal', TTY, { TERM: 'dumb' }, false],
  ])('are there %s', (_name, stream, environment, on) => {
    const all = colours(stream, { environment })
    expect(all.on).toBe(on)
    expect(all.red('failed')).toBe(on ? '\u001b[31mfailed\u001b[39m' : 'failed')
  })

  it('end what they begin, each by its own code', () => {
    const { bold, green } = paint(true)
    expect(bold(`a ${green('b')} c`)).toBe('\u001b[1ma \u001b[32mb\u001b[39m c\u001b[22m')
  })
})
