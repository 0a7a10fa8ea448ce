/**
 * The schema as a flat list: every setting with its dotted key, description and default, read off the schema itself. Layers,
 * suggestions and provenance work on this list, so none of them can know a setting that the schema does not, or miss one.
 */
import * as v from 'valibot'
import type { JsonShape } from './leaves.ts'
import { nearest } from './nearest.ts'
import { ConfigSchema } from './schema.ts'

export interface SettingSpec {
  readonly path: readonly string[]
  /** The path with dots, as people write it: `loop.hotMs`. */
  readonly key: string
  /** One line with unit and range. */
  readonly description: string
  /** As it would stand in a file. */
  readonly byDefault: unknown
  /** What it may hold, as JSON Schema. */
  readonly shape: JsonShape
  /** Whether it is itself a mapping, of names that the schema does not know. */
  readonly isMapping: boolean
}

type Entry = v.ObjectEntries[string]

const isOptional = (entry: Entry): entry is v.OptionalSchema<v.GenericSchema, unknown> => entry.type === 'optional'

const hasEntries = (schema: Entry): schema is v.StrictObjectSchema<v.ObjectEntries, undefined> => schema.type === 'strict_object'

function settingsOf(entries: v.ObjectEntries, above: readonly string[]): SettingSpec[] {
  return Object.entries(entries).flatMap(([name, entry]) => {
    const path = [...above, name]
    const schema = isOptional(entry) ? entry.wrapped : entry
    if (hasEntries(schema)) return settingsOf(schema.entries, path)
    const byDefault: unknown = v.getDefault(entry)
    const description = v.getDescription(schema) ?? ''
    const { json: shape } = v.getMetadata(schema) as { readonly json: JsonShape }
    return [{ path, key: path.join('.'), description, byDefault, shape, isMapping: typeof byDefault === 'object' }]
  })
}

/** Every setting, in the order of the schema. */
export const SETTINGS: readonly SettingSpec[] = settingsOf(ConfigSchema.entries, [])

const BY_KEY = new Map(SETTINGS.map((setting) => [setting.key, setting]))

/** Names that may stand below each block; the root is the block with the empty name. */
const BLOCKS = new Map<string, readonly string[]>([['', [...new Set(SETTINGS.map(({ path }) => path[0] ?? ''))]]])
for (const { path } of SETTINGS) {
  const [block, name] = path
  if (block !== undefined && name !== undefined) BLOCKS.set(block, [...(BLOCKS.get(block) ?? []), name])
}

/** Whether a name stands for a block of settings at the root of a file. */
export function isBlock(name: string): boolean {
  return name !== '' && BLOCKS.has(name)
}

/** The setting at a path or above it: a path may go on into a setting that is a mapping. */
export function settingAt(path: readonly string[]): SettingSpec | undefined {
  // Joined whole paths could be fooled by a name with a dot in it.
  const [block = '', name] = path
  if (!isBlock(block)) return block.includes('.') ? undefined : BY_KEY.get(block)
  return name === undefined || name.includes('.') ? undefined : BY_KEY.get(`${block}.${name}`)
}

/** What to tell somebody who wrote a name that is not known below `block` (empty for the root). */
export function unknownKeyMessage(block: string, name: string): string {
  const known = BLOCKS.get(block) ?? []
  const meant = nearest(name, known)
  if (meant !== undefined) return `unknown key; did you mean ${meant}?`
  const homes = SETTINGS.filter(({ path, key }) => path.at(-1) === name || key === name)
  const [home] = homes
  if (home !== undefined && homes.length === 1) {
    const [above = '', below] = home.path
    return `unknown key; ${below === undefined ? `${above} belongs at the top level` : `${below} belongs below ${above}:`}`
  }
  return `unknown key; valid keys are ${known.join(', ')}`
}
