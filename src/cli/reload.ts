/**
 * Reloads the configuration of a running agent, on SIGHUP and when the file changes. What the rules read is put in force at once; what
 * was wired at start waits for the next one and is named. A file with a mistake changes nothing.
 */
import { unwatchFile, watchFile } from 'node:fs'
import type { Agent } from '../agent/index.ts'
import {
  filesOf,
  reloadConfig,
  renderConfig,
  renderConfigJson,
  type Config,
  type ConfigSources,
  type LoadedConfig,
} from '../config/index.ts'
import type { LogLevels, Recorder } from '../record/index.ts'
import { cameEarly } from './early-signals.ts'

/** Polled, not watched: a ConfigMap is a chain of symbolic links that is swapped above the file. */
const POLL_MS = 2000

/** Blocks that the rules read anew on every tick. */
const LIVE_BLOCKS = [
  'classes',
  'placement',
  'identity',
  'burst',
  'limits',
  'suppressCpu',
  'pressure',
  'steady',
  'cpuNarrow',
  'cpuFreeze',
  'cpuEvict',
  'suppressMemory',
  'memoryHold',
  'memoryHighOt',
  'memoryHighBe',
  'memoryEvictOt',
  'memoryEvictBe',
  'suppressIo',
  'evict',
  'own',
  'capacity',
  'nodeSignals',
  'failSafe',
  'drift',
] as const
/**
 * Settings within them that a sensor, the evictor or the process took at start, or that are safe only with one that was (rootIdle with
 * onExit).
 */
const WIRED = [
  'suppressCpu.windowMs',
  'identity.rootIdle',
  'capacity.maxUnits',
  'evict.enabled',
  'evict.gracePeriodSeconds',
  'evict.force',
  'evict.forceAfterMs',
  'own.nice',
  'own.realtimePriority',
] as const

function isLive(key: string): boolean {
  if (key === 'log.level' || key === 'observeRules') return true
  return !WIRED.some((wired) => wired === key) && LIVE_BLOCKS.some((block) => key.startsWith(`${block}.`))
}

/** The configuration of the start with the live settings of a later one. */
export function withLiveSettings(atStart: Config, later: Config): Config {
  const live = Object.fromEntries(LIVE_BLOCKS.map((block) => [block, { ...later[block] }])) as Pick<
    Config,
    (typeof LIVE_BLOCKS)[number]
  >
  for (const key of WIRED) {
    const [block, setting] = key.split('.') as [keyof typeof live, string]
    Object.assign(live[block], { [setting]: (atStart[block] as Readonly<Record<string, unknown>>)[setting] })
  }
  return { ...atStart, ...live, observeRules: later.observeRules }
}

export interface FollowedConfig {
  /** The settings as a table, headed by those that wait for the next start. */
  readonly text: () => string
  /** The same for programs. */
  readonly json: () => string
  readonly stop: () => void
}

/** Starts to follow the sources that `first` was loaded from. */
export function followConfig(
  first: LoadedConfig,
  sources: ConfigSources,
  { agent, recorder, levels }: { readonly agent: Agent; readonly recorder: Recorder; readonly levels: LogLevels },
): FollowedConfig {
  let current = first
  const waiting = new Set<string>()
  const reload = (): void => {
    const result = reloadConfig(current, sources)
    if ('error' in result) {
      recorder.configReload('rejected', result.error.message)
      return
    }
    // Also where nothing has changed: a reload puts back the level that somebody set over HTTP or by a signal.
    levels.configure(result.loaded.config.log.level)
    if (result.changed.length === 0) {
      recorder.configReload('unchanged')
      return
    }
    for (const key of result.changed) if (!isLive(key)) waiting.add(key)
    current = result.loaded
    agent.reconfigure(withLiveSettings(first.config, result.loaded.config))
    recorder.configReload('applied', `changed: ${result.changed.join(', ')}${waitingNote(waiting)}`)
  }
  process.on('SIGHUP', reload)
  const files = filesOf(sources)
  for (const file of files) watchFile(file, { interval: POLL_MS, persistent: false }, reload)
  if (cameEarly('SIGHUP')) reload()
  return {
    text: () => (waiting.size === 0 ? renderConfig(current) : `#${waitingNote(waiting).slice(1)}\n${renderConfig(current)}`),
    json: () => renderConfigJson(current),
    stop: () => {
      process.off('SIGHUP', reload)
      for (const file of files) unwatchFile(file, reload)
    },
  }
}

function waitingNote(waiting: ReadonlySet<string>): string {
  return waiting.size === 0 ? '' : `; not in force before the next start: ${[...waiting].join(', ')}`
}
