/**
 * Which of the forms of a page a client wants, by its Accept header (RFC 9110 §12.5.1): the most specific range that names a form says how
 * much it is wanted, 0 is not at all, and of forms that are wanted alike the page's own order decides.
 */

/** Forms by the word that `?format=` takes. */
export const MEDIA_TYPES = {
  text: 'text/plain; charset=utf-8',
  json: 'application/json; charset=utf-8',
  html: 'text/html; charset=utf-8',
} as const
export type Format = keyof typeof MEDIA_TYPES

interface Range {
  readonly type: string
  readonly subtype: string
  /** 0 to 1. */
  readonly quality: number
}

/** More ranges than this are nobody's preferences; a header has at most 8 KiB. */
const MAX_RANGES = 64

/**
 * The wanted one of `offered`, the page's own favourite first; undefined when the client takes none of them. No header, or one without any
 * range that can be read, means that anything will do.
 */
export function chooseFormat(accept: string, offered: readonly Format[]): Format | undefined {
  const ranges = accept
    .split(',', MAX_RANGES)
    .map(parseRange)
    .filter((range) => range !== undefined)
  if (ranges.length === 0) return offered[0]
  let best: Format | undefined
  let most = 0
  for (const format of offered) {
    const quality = qualityOf(format, ranges)
    if (quality > most) [best, most] = [format, quality]
  }
  return best
}

/** `type/subtype;q=0.5`; parameters other than q tell versions of a form apart, of which there is one here. */
function parseRange(text: string): Range | undefined {
  const [name = '', ...parameters] = text.split(';')
  const match = /^\s*([!#$%&'*+.^_`|~\w-]+)\/([!#$%&'*+.^_`|~\w-]+)\s*$/.exec(name.toLowerCase())
  if (match === null) return undefined
  const [, type = '', subtype = ''] = match
  return { type, subtype, quality: parameters.map(parseQuality).find((quality) => quality !== undefined) ?? 1 }
}

/** Undefined for another parameter. A weight that can't be read does not exclude anything: it counts as 1. */
function parseQuality(parameter: string): number | undefined {
  const match = /^\s*q\s*=\s*(.*?)\s*$/i.exec(parameter)
  if (match === null) return undefined
  const [, value = ''] = match
  return /^(?:0(?:\.\d{0,3})?|1(?:\.0{0,3})?)$/.test(value) ? Number(value) : 1
}

function qualityOf(format: Format, ranges: readonly Range[]): number {
  const [type, subtype] = MEDIA_TYPES[format].split(/[/;]/)
  let quality = 0
  let precision = -1
  for (const range of ranges) {
    const matches = range.type === '*' ? range.subtype === '*' : range.type === type && [subtype, '*'].includes(range.subtype)
    const exact = range.type === '*' ? 0 : range.subtype === '*' ? 1 : 2
    if (matches && exact > precision) [quality, precision] = [range.quality, exact]
  }
  return quality
}
