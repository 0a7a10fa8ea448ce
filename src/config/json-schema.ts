/**
 * The configuration as JSON Schema (draft 2020-12), from the one schema. For editors, admission of a ConfigMap and review tools; the agent
 * itself validates with the schema proper, which also knows what may not be combined (combinations.ts) and says where a mistake stands.
 */
import { SETTINGS } from './settings.ts'

interface ObjectSchema {
  /** A block whose settings are all commented out reads as null. */
  readonly type: readonly ['object', 'null']
  readonly additionalProperties: false
  readonly properties: Record<string, unknown>
}

const objectSchema = (): ObjectSchema => ({ type: ['object', 'null'], additionalProperties: false, properties: {} })

/** A fresh plain object, ready for JSON. Every property has its description and default. */
export function configJsonSchema(): Readonly<Record<string, unknown>> {
  const root = objectSchema()
  const blocks = new Map<string, ObjectSchema>()
  for (const { path, description, byDefault, shape } of SETTINGS) {
    const [block = '', name] = path
    const setting = { description, ...shape, default: byDefault }
    if (name === undefined) {
      root.properties[block] = setting
      continue
    }
    const within = blocks.get(block) ?? objectSchema()
    blocks.set(block, within)
    within.properties[name] = setting
    root.properties[block] = within
  }
  return {
    $schema: 'https://json-schema.org/draft/2020-12/schema',
    title: 'Configuration of kube-agent',
    ...root,
  }
}
