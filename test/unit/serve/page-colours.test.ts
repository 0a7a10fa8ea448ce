/** The colours of the status page: text can be read on whatever it stands on, in light and in dark (WCAG 2.2, 1.4.3 and 1.4.11). */
import { describe, expect, it } from 'vitest'
import { assetText } from '../../../src/web/index.ts'

const css = assetText('status.css')
const [light = '', dark = ''] = [...css.matchAll(/:root \{([^}]*)\}/g)].map(([, block = '']) => block)

function coloursOf(...blocks: readonly string[]): ReadonlyMap<string, string> {
  return new Map(
    blocks.flatMap((block) =>
      [...block.matchAll(/(--[\w-]+): (#[0-9a-f]{6})/g)].map(([, name = '', value = '']) => [name, value]),
    ),
  )
}

/** Relative luminance, as WCAG defines it for sRGB. */
function luminance(hex: string): number {
  const [red = 0, green = 0, blue = 0] = [1, 3, 5].map((at) => {
    const part = Number.parseInt(hex.slice(at, at + 2), 16) / 255
    return part <= 0.03928 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4
  })
  return 0.2126 * red + 0.7152 * green + 0.0722 * blue
}

function contrast(one: string, other: string): number {
  const [dim = 0, bright = 0] = [luminance(one), luminance(other)].sort((a, b) => a - b)
  return (bright + 0.05) / (dim + 0.05)
}

describe.each([
  ['light', coloursOf(light)],
  ['dark', coloursOf(light, dark)],
])('in the %s', (_scheme, colours) => {
  const colour = (name: string): string => colours.get(name) ?? `no ${name}`

  it.each(['--text', '--soft', '--link', '--error', '--warning'])('%s can be read on the page and on panels', (name) => {
    for (const ground of ['--page', '--panel']) expect(contrast(colour(name), colour(ground))).toBeGreaterThanOrEqual(4.5)
  })

  it.each(['--lsx', '--lsr', '--ls', '--be', '--reserved'])('letters can be read on %s', (ground) => {
    expect(contrast(colour('--text'), colour(ground))).toBeGreaterThanOrEqual(4.5)
  })

  it.each(['--line-node', '--line-online', '--line-offline', '--line-allowance', '--line-watermark', '--focus'])(
    '%s stands out from the page',
    (name) => {
      expect(contrast(colour(name), colour('--page'))).toBeGreaterThanOrEqual(3)
    },
  )
})
