/**
 * Fills the generated parts of the README: what stands between `<!-- reference:NAME -->` and `<!-- /reference:NAME -->` is replaced, the
 * rest is left alone. A test fills it again and expects no difference, so the README can't fall behind the code.
 */
import { configReference } from './config.ts'
import { errorsReference } from './errors.ts'
import { metricsReference } from './metrics.ts'
import { verbsReference } from './verbs.ts'

const REFERENCES: Readonly<Record<string, () => string>> = {
  verbs: verbsReference,
  config: configReference,
  metrics: metricsReference,
  errors: errorsReference,
}

/** Where the README is. */
export const README = new URL('../../README.md', import.meta.url)

/** The README with its generated parts as they are now. Throws, naming the marker, where one is missing or stands twice. */
export function fillReadme(readme: string): string {
  let filled = readme
  for (const [name, render] of Object.entries(REFERENCES)) filled = fillPart(filled, name, render())
  return filled
}

function fillPart(readme: string, name: string, content: string): string {
  const [begin, end] = [`<!-- reference:${name} -->`, `<!-- /reference:${name} -->`]
  const parts = readme.split(begin)
  const [before = '', after = ''] = parts
  const ends = after.split(end)
  if (parts.length !== 2 || ends.length !== 2)
    throw new Error(`README.md: expected ${begin} and then ${end}, once each; put them where the reference belongs`)
  return `${before}${begin}\n\n${content}\n${end}${ends[1] ?? ''}`
}
