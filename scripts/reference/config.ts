/** Every setting with its default and what it does, block by block, from the schema itself. */
import { stringify } from 'yaml'
import { SETTINGS, type SettingSpec } from '../../src/config/settings.ts'
import { code, markdownTable, prose } from './table.ts'

/** One table for the settings at the top level, and one for each block. Units and ranges stand in the descriptions. */
export function configReference(): string {
  const blocks = new Map<string, SettingSpec[]>()
  for (const setting of SETTINGS) {
    const block = setting.path.length === 1 ? '' : (setting.path[0] ?? '')
    blocks.set(block, [...(blocks.get(block) ?? []), setting])
  }
  return [...blocks].map(([block, settings]) => `${block === '' ? '' : `${code(block)}\n\n`}${tableOf(settings)}`).join('\n')
}

function tableOf(settings: readonly SettingSpec[]): string {
  const rows = settings.map(({ path, byDefault, description }) => [
    code(path.at(-1) ?? ''),
    code(stringify(byDefault, { collectionStyle: 'flow', lineWidth: 0, flowCollectionPadding: false }).trim()),
    prose(description),
  ])
  return markdownTable(['Setting', 'Default', 'What it does'], rows)
}
