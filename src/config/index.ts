/** Schema, defaults, layers and the provenance of every value. What the rules see of it is types.ts alone. */
export { type ConfigSources, type LoadedConfig, loadConfig, type Override, reloadConfig } from './load.ts'
export { adviceOn } from './advice.ts'
export { renderConfig, renderConfigJson } from './show.ts'
export type { Config } from './types.ts'
