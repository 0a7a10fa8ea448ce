/**
 * The configuration in force, for people (`kube-agent config show`) and for programs (/configz): every setting with its value and
 * the place it comes from. Values are shown as they would be written in a file.
 */
import { stringify } from 'yaml'
import type { LoadedConfig } from './load.ts'

/** An aligned table KEY VALUE ORIGIN, one line per setting in the order of the schema, ending in a newline. */
export function renderConfig(loaded: LoadedConfig): string {
  const rows = [['KEY', 'VALUE', 'ORIGIN']]
  for (const [key, { value, origin }] of loaded.provenance) rows.push([key, asYaml(value), origin])
  const widthOf = (column: number) => Math.max(...rows.map((row) => row[column]?.length ?? 0))
  const [keyWidth, valueWidth] = [widthOf(0), widthOf(1)]
  return rows
    .map(([key = '', value = '', origin = '']) => `${key.padEnd(keyWidth)}  ${value.padEnd(valueWidth)}  ${origin}\n`)
    .join('')
}

/**
 * JSON of `{ files, config, origins }`: `config` can be saved and loaded as a configuration file, `origins` names the place of each
 * setting by its dotted key. Ends in a newline.
 */
export function renderConfigJson(loaded: LoadedConfig): string {
  const config: Record<string, unknown> = {}
  const origins: Record<string, string> = {}
  for (const [key, { value, origin }] of loaded.provenance) {
    const [block = '', name] = key.split('.')
    origins[key] = origin
    config[block] = name === undefined ? value : { ...(config[block] as object | undefined), [name]: value }
  }
  return `${JSON.stringify({ files: loaded.files, config, origins }, null, 2)}\n`
}

/** One line of YAML. */
function asYaml(value: unknown): string {
  return stringify(value, { collectionStyle: 'flow', lineWidth: 0, flowCollectionPadding: false }).trim()
}
