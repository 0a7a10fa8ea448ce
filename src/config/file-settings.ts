/**
 * A configuration back as the settings that a file would have: every setting, defaults too, by block. Loading them gives an equal
 * configuration, which is what a recording stands on: it is replayed with these settings, or with some of them changed.
 */
import { CpuSet } from '../cpu/index.ts'
import { isBlock, settingAt, SETTINGS } from './settings.ts'
import type { Config } from './types.ts'

export type FileSettings = Readonly<Record<string, unknown>>

/** The settings of a configuration. */
export function fileSettings(config: Config): FileSettings {
  const settings: Record<string, unknown> = {}
  for (const { path } of SETTINGS) {
    const [block = '', name] = path
    const held: unknown = config[block as keyof Config]
    if (name === undefined) settings[block] = asWritten(held)
    else
      settings[block] = {
        ...(settings[block] as FileSettings | undefined),
        [name]: asWritten((block === 'resources' ? resourcesOf(config) : (held as FileSettings))[name]),
      }
  }
  return settings
}

function asWritten(value: unknown): unknown {
  if (value instanceof CpuSet) return value.toString()
  if (Array.isArray(value)) return [...(value as readonly unknown[])]
  return typeof value === 'object' && value !== null ? { ...value } : value
}

/** The one block that the schema makes something else of. */
function resourcesOf({ resources }: Config): FileSettings {
  const { domain, fullNames, cpuUnitMilli, memoryUnitBytes } = resources
  const nameOf = (fullName: string): string => fullName.slice(domain.length + 1)
  return {
    domain,
    beCpu: nameOf(fullNames['be-cpu']),
    beMemory: nameOf(fullNames['be-memory']),
    otCpu: nameOf(fullNames['ot-cpu']),
    otMemory: nameOf(fullNames['ot-memory']),
    cpuUnit: `${cpuUnitMilli}m`,
    memoryUnit: String(memoryUnitBytes),
  }
}

/** Recorded settings that this version knows, and the keys of those that it does not: another version may have had more. */
export function knownSettings(settings: FileSettings): { readonly settings: FileSettings; readonly unknown: readonly string[] } {
  const known: Record<string, unknown> = {}
  const unknown: string[] = []
  for (const [block, value] of Object.entries(settings)) {
    if (!isBlock(block)) {
      if (settingAt([block]) === undefined) unknown.push(block)
      else known[block] = value
      continue
    }
    const entries = Object.entries(value as FileSettings)
    known[block] = Object.fromEntries(entries.filter(([name]) => settingAt([block, name]) !== undefined))
    unknown.push(...entries.filter(([name]) => settingAt([block, name]) === undefined).map(([name]) => `${block}.${name}`))
  }
  return { settings: known, unknown }
}
