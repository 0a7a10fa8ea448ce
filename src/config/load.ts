/**
 * From files and flags to a Config: default < files in their order < flag, setting by setting, each remembered with its origin. All or
 * nothing: an issue anywhere throws one error that lists every issue with its place, because who edits by trial and error on a
 * production node should need one trial. A reload that fails leaves the last good configuration in force.
 */
import * as v from 'valibot'
import { CpuSet } from '../cpu/index.ts'
import { AgentError } from '../model/index.ts'
import { COMBINATIONS } from './combinations.ts'
import { configError, type Issue, MAX_ISSUES } from './issues.ts'
import { showValue } from './leaves.ts'
import { ConfigSchema } from './schema.ts'
import { isBlock, settingAt, SETTINGS, unknownKeyMessage } from './settings.ts'
import { isMapping, parseYaml, readConfigText, type YamlSource } from './source.ts'
import type { Config } from './types.ts'

/** One value from outside the file; the flag layer. */
export interface Override {
  /** Names a setting: `['loop', 'hotMs']`. */
  readonly path: readonly string[]
  readonly value: unknown
  /** What the user typed, for messages and provenance: `--mode`. */
  readonly origin: string
}

export interface ConfigSources {
  /** Several are laid one over the other, such as that of the cluster, of a node pool and of a node: what a later one gives wins. */
  readonly file?: string | readonly string[] | undefined
  /** Content to use instead of reading `file`, which then only names it; for one file. */
  readonly text?: string | undefined
  /** A later one wins over an earlier one. */
  readonly overrides?: readonly Override[] | undefined
}

/** A setting's value in force, and why that one. */
export interface Setting {
  /** As it stands in the file, flag or schema; parsed values are in the Config. */
  readonly value: unknown
  /** `default`, `FILE:LINE` or the flag. */
  readonly origin: string
  /** One line, with unit and range. */
  readonly description: string
}

export interface LoadedConfig {
  readonly config: Config
  /** Every setting by its dotted key, in the order of the schema. */
  readonly provenance: ReadonlyMap<string, Setting>
  /** Files that were read. */
  readonly files: readonly string[]
}

export type ReloadResult =
  | { readonly kept: LoadedConfig; readonly error: AgentError }
  /** `changed` names the settings whose value is another than before, by dotted key. */
  | { readonly loaded: LoadedConfig; readonly changed: readonly string[] }

/**
 * Loads a configuration; no sources at all give the defaults. Throws AgentError: E_CONFIG_READ for a file that can't be read or is
 * over 1 MiB, E_CONFIG with one line per issue for anything wrong with the content.
 */
export function loadConfig(sources: ConfigSources = {}): LoadedConfig {
  const { overrides = [] } = sources
  const files = filesOf(sources)
  const layers: Layers = { files: readLayers(files, sources.text), given: new Map(), issues: [] }
  for (const file of layers.files) takeFile(layers, file)
  if (layers.files.some(({ yaml }) => yaml.root === undefined)) throw configError(layers.issues)
  for (const override of overrides) takeOverride(layers, override)
  const config = validate(layers)
  return { config, provenance: provenanceOf(layers), files }
}

/** The files that a configuration is read from, in the order in which they are laid one over the other. */
export function filesOf({ file = [] }: ConfigSources): readonly string[] {
  return typeof file === 'string' ? [file] : file
}

/** At least one, be it empty. */
function readLayers(files: readonly string[], text: string | undefined): readonly [FileLayer, ...FileLayer[]] {
  const [first, ...rest] = files
  const begin = text ?? (first === undefined ? '' : readConfigText(first))
  const layer = (name: string, content: string, rank: number): FileLayer => ({ name, yaml: parseYaml(content), rank })
  return [layer(first ?? 'config', begin, 0), ...rest.map((name, index) => layer(name, readConfigText(name), index + 1))]
}

/** Loads anew; on any error the previous configuration stays in force and the error says why. Throws bugs only. */
export function reloadConfig(previous: LoadedConfig, sources: ConfigSources): ReloadResult {
  try {
    const loaded = loadConfig(sources)
    const textOf = (setting: Setting | undefined) => JSON.stringify(setting?.value)
    const changed = [...loaded.provenance.keys()].filter(
      (key) => textOf(loaded.provenance.get(key)) !== textOf(previous.provenance.get(key)),
    )
    return { loaded, changed }
  } catch (thrown) {
    if (thrown instanceof AgentError) return { kept: previous, error: thrown }
    throw thrown
  }
}

/** A file while it is laid over those before it. */
interface FileLayer {
  readonly name: string
  readonly yaml: YamlSource
  /** Its place in the order, from 0. */
  readonly rank: number
}

/** A value that a file or a flag gave. */
interface Given {
  readonly value: unknown
  readonly by: FileLayer | { readonly flag: string }
}

/** The layers while they are laid one over the other. */
interface Layers {
  readonly files: readonly [FileLayer, ...FileLayer[]]
  /** By dotted key; what no layer gave is absent. */
  readonly given: Map<string, Given>
  readonly issues: Issue[]
}

function takeFile(layers: Layers, file: FileLayer): void {
  const { problems, root = {} } = file.yaml
  for (const { position, message } of problems) layers.issues.push({ source: file.name, position, rank: file.rank, message })
  for (const [name, value] of Object.entries(root)) {
    if (!isBlock(name)) takeValue(layers, file, [name], value)
    else if (isMapping(value)) for (const [key, below] of Object.entries(value)) takeValue(layers, file, [name, key], below)
    else if (value !== null) {
      addIssueAt(layers, { file, path: [name], of: 'value' }, `expected a mapping of settings, got ${showValue(value)}`)
    }
  }
}

function takeValue(layers: Layers, file: FileLayer, path: readonly [string, string?], value: unknown): void {
  const names = path.filter((name) => name !== undefined)
  const setting = settingAt(names)
  if (setting === undefined) {
    const [block, name] = names.length === 1 ? ['', path[0]] : path
    addIssueAt(layers, { file, path: names, of: 'key' }, unknownKeyMessage(block, name ?? ''))
  } else if (value !== null || !setting.isMapping) layers.given.set(setting.key, { value, by: file })
}

function takeOverride({ given, issues }: Layers, { path, value, origin }: Override): void {
  const [block = '', name] = path
  const setting = path.length > 2 ? undefined : settingAt(path)
  if (setting !== undefined) given.set(setting.key, { value, by: { flag: origin } })
  else {
    const message = name === undefined ? unknownKeyMessage('', block) : unknownKeyMessage(block, name)
    issues.push({ source: origin, rank: Infinity, path, message })
  }
}

function validate(layers: Layers): Config {
  const { given, issues } = layers
  const result = v.safeParse(ConfigSchema, inputOf(given), { abortPipeEarly: true })
  const invalid = new Set<string>()
  for (const issue of result.issues ?? []) {
    const path = (issue.path ?? []).map(({ key }) => String(key))
    const key = settingAt(path)?.key ?? ''
    invalid.add(key)
    addSettingIssue(layers, { key, path, named: path }, issue.message)
  }
  // Settings that are valid by themselves are judged together even when others are not, so that no issue waits for the next try.
  const valid = new Map([...given].filter(([key]) => !invalid.has(key)))
  const config = v.parse(ConfigSchema, inputOf(valid))
  for (const { keys, problem } of COMBINATIONS) {
    const message = keys.some((key) => invalid.has(key)) ? undefined : problem(config)
    if (message === undefined) continue
    const culprit = keys.find((key) => given.has(key)) ?? keys[0]
    addSettingIssue(layers, { key: culprit, path: culprit.split('.'), named: keys[0].split('.') }, message)
  }
  if (issues.length > 0) throw configError(layers.issues)
  return deepFreeze(config)
}

/** The mapping that a file with just these values would hold. */
function inputOf(given: ReadonlyMap<string, Given>): Readonly<Record<string, unknown>> {
  const input: Record<string, unknown> = {}
  for (const { key, path } of SETTINGS) {
    const setting = given.get(key)
    const [block = '', name] = path
    if (setting === undefined) continue
    if (name === undefined) input[block] = setting.value
    else input[block] = { ...(input[block] as Record<string, unknown> | undefined), [name]: setting.value }
  }
  return input
}

function provenanceOf({ given }: Layers): ReadonlyMap<string, Setting> {
  return new Map(
    SETTINGS.map(({ key, path, byDefault, description }) => {
      const setting = given.get(key)
      if (setting === undefined) return [key, { value: byDefault, origin: 'default', description }]
      const { value, by } = setting
      const origin = 'flag' in by ? by.flag : `${by.name}:${by.yaml.positionOf(path, 'key')?.line ?? 1}`
      return [key, { value, origin, description }]
    }),
  )
}

function addSettingIssue(
  layers: Layers,
  { key, path, named }: { readonly key: string; readonly path: readonly string[]; readonly named: readonly string[] },
  message: string,
): void {
  const by = layers.given.get(key)?.by ?? layers.files[0]
  if ('flag' in by) layers.issues.push({ source: by.flag, rank: Infinity, path: named, message })
  else addIssueAt(layers, { file: by, path, of: 'value', named }, message)
}

/** An issue where `path` stands in a file. It names that path, unless `named` says another. */
function addIssueAt(
  layers: Layers,
  at: {
    readonly file: FileLayer
    readonly path: readonly string[]
    readonly of: 'key' | 'value'
    readonly named?: readonly string[]
  },
  message: string,
): void {
  const { file, path, named = path } = at
  // Each look-up walks the file; beyond the limit nobody sees the answer.
  const position = layers.issues.length < MAX_ISSUES ? file.yaml.positionOf(path, at.of) : undefined
  layers.issues.push({ source: file.name, position, rank: file.rank, path: named, message })
}

function deepFreeze<Value extends object>(value: Value): Value {
  for (const inner of Object.values(value) as unknown[])
    if (Array.isArray(inner) || (isMapping(inner) && !(inner instanceof CpuSet))) deepFreeze(inner)
  return Object.freeze(value)
}
