/**
 * Configurations for tests: the shipped defaults with some settings changed, through the real loader, so that a test can't hold a
 * value that no file could give.
 */
import { type Config, loadConfig } from '../../src/config/index.ts'

type Settings = Readonly<Record<string, unknown>>

/** The defaults with `settings` over them, as they would stand in a file. */
export function configOf(settings: Settings = {}): Config {
  return loadConfig({ file: 'test', text: JSON.stringify(settings) }).config
}

export const DEFAULTS: Config = configOf()
