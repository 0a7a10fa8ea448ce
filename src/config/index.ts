/** Schema, defaults, layers and the provenance of every value. What the rules see of it is types.ts alone. */
export { type ConfigSources, filesOf, type LoadedConfig, loadConfig, type Override, reloadConfig } from './load.ts'
export { ConfigError } from './issues.ts'
export { fileSettings, type FileSettings, knownSettings } from './file-settings.ts'
export { adviceOn } from './advice.ts'
export { renderConfig, renderConfigJson } from './show.ts'
export { configJsonSchema } from './json-schema.ts'
export { SETTINGS } from './settings.ts'
export type { Config } from './types.ts'
