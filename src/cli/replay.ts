/** The verb `replay`: a recording decided again, with other settings where some are given, and what would have differed. */
import { writeFileSync } from 'node:fs'
import { type Config, type FileSettings, knownSettings, loadConfig } from '../config/index.ts'
import { AgentError, EXIT, type ExitCode, messageOf } from '../model/index.ts'
import { type Damage, readRecording, type RecordedSegment, recordingFiles } from '../record/index.ts'
import { CONFIG_FLAGS, JSON_FLAG, textFlag, textFlags, type Parsed } from './args.ts'
import { Comparer, type Comparison } from './replay/compare.ts'
import { comparisonPage } from './replay/page.ts'
import { configsOf, emptyNotes, redecide, type RedecideOptions } from './replay/redecide.ts'
import { OPEN_LOOP, renderComparison, type ReplayAbout } from './replay/text.ts'
import { configSources } from './settings.ts'
import { print, type Verb } from './verb.ts'
import { VERSION } from './version.ts'

export const replay: Verb = {
  usage: 'kube-agent replay FILE|DIR [--config FILE] [--set KEY=VALUE] [--from TIME] [--to TIME] [--json] [--html OUT]',
  summary: 'Decide a recording again with other settings, and show what would have differed.',
  details: `
With --set the recorded settings are used but for those that are set; with --config the settings of that
file in their place. With neither, checks that this version decides as the agent did: exits 0 if so, else
1 with what differs. The node does not react: the recording goes on as it was.

Examples: kube-agent replay /var/lib/kube-agent/recording --set suppressCpu.watermarkPermyriad=6000
          kube-agent replay node.recording --config new.yaml --html replay.html`,
  flags: {
    ...CONFIG_FLAGS,
    config: {
      type: 'string',
      short: 'c',
      multiple: true,
      value: 'FILE',
      help: 'Decide with this configuration in place of the recorded one.',
    },
    from: { type: 'string', value: 'TIME', help: 'Tell of ticks from this time on, as in 2026-11-21T17:30:00Z.' },
    to: { type: 'string', value: 'TIME', help: 'Tell of ticks up to this time.' },
    html: { type: 'string', value: 'OUT', help: 'Write a page with plots, which needs nothing else. - for standard output.' },
    ...JSON_FLAG,
  },
  maxOperands: 1,
  run: async (parsed) => {
    const [path] = parsed.operands
    if (path === undefined) throw new AgentError('E_USAGE', 'replay wants a FILE of kube-agent record, or a DIR with a recording')
    const json = parsed.flags['json'] === true
    const html = textFlag(parsed, 'html')
    if (json && html === '-') throw new AgentError('E_USAGE', 'only one of --json and --html - can be on standard output')
    const options = {
      ...variantOf(parsed),
      fromMs: timeFlag(parsed, 'from') ?? -Infinity,
      toMs: timeFlag(parsed, 'to') ?? Infinity,
    }
    const files = await recordingFiles(path)
    const { comparison, about } = compareFiles(files, options)
    if (html !== undefined) writePage(html, comparisonPage(comparison, about))
    if (json) print(JSON.stringify(jsonOf(comparison, about), undefined, 2))
    else if (html !== '-') print(renderComparison(comparison, about))
    return exitOf(comparison, about)
  },
}

/** The settings to replay with: nothing where neither --config nor --set is given. */
function variantOf(parsed: Parsed): Pick<RedecideOptions, 'variantOf'> {
  const files = textFlags(parsed, 'config')
  const { overrides = [] } = configSources(parsed)
  if (files.length > 0) {
    const { config } = loadConfig({ file: files, overrides })
    return { variantOf: () => config }
  }
  if (overrides.length === 0) return {}
  return { variantOf: (settings) => loadRecorded(settings as FileSettings, overrides) }
}

/** Recorded settings as a configuration, with those over them that the command line gives. */
function loadRecorded(
  settings: FileSettings,
  overrides: NonNullable<Parameters<typeof loadConfig>[0]>['overrides'] = [],
): Config {
  return loadConfig({ file: 'recording', text: JSON.stringify(knownSettings(settings).settings), overrides }).config
}

function compareFiles(
  files: readonly string[],
  options: RedecideOptions,
): { readonly comparison: Comparison; readonly about: ReplayAbout } {
  const notes = emptyNotes()
  const damage: Damage = []
  const unknown = new Set<string>()
  const versions = new Set<string>()
  let nodeName = ''
  const configOf = configsOf((settings) => {
    for (const key of knownSettings(settings as FileSettings).unknown) unknown.add(key)
    return loadRecorded(settings as FileSettings)
  })
  function* watched(): Generator<RecordedSegment> {
    for (const segment of readRecording(files, configOf, damage)) {
      versions.add(segment.header.version)
      nodeName ||= segment.header.nodeName
      yield segment
    }
  }
  const comparer = new Comparer()
  for (const tick of redecide(watched(), options, notes)) comparer.take(tick)
  const strange = unknown.size === 0 ? [] : [`settings that this version does not know, left out: ${[...unknown].join(', ')}`]
  const about: ReplayAbout = {
    files,
    nodeName,
    versions: [...versions],
    version: VERSION,
    hasVariant: options.variantOf !== undefined,
    notes,
    problems: [...damage, ...strange],
  }
  return { comparison: comparer.result(), about }
}

/** Without other settings a difference is a fault of the program or another version of it; with others it is what was asked for. */
function exitOf({ unlike, ticks }: Comparison, { hasVariant }: ReplayAbout): ExitCode {
  if (ticks === 0) return EXIT.failed
  return !hasVariant && unlike.ticks > 0 ? EXIT.failed : EXIT.ok
}

/** Without the course, which is as long as the recording. */
function jsonOf({ course: _course, ...comparison }: Comparison, about: ReplayAbout): object {
  return { about, ...comparison, openLoop: OPEN_LOOP }
}

function writePage(path: string, page: string): void {
  if (path === '-') {
    print(page)
    return
  }
  try {
    writeFileSync(path, page, { mode: 0o600 })
  } catch (thrown) {
    throw new AgentError('E_RECORDING', `can't write ${path}: ${messageOf(thrown)}`, {
      hint: 'Name another file with --html.',
      cause: thrown,
    })
  }
  process.stderr.write(`page written to ${path}\n`)
}

/** Milliseconds since the epoch. A time without a zone is UTC, as all that kube-agent prints. */
function timeFlag(parsed: Parsed, name: string): number | undefined {
  const text = textFlag(parsed, name)
  if (text === undefined) return undefined
  const [, zone = ''] = /^\d{4}-\d\d-\d\dT\d\d:\d\d(?::\d\d(?:\.\d{1,3})?)?(Z|[+-]\d\d:\d\d)?$/.exec(text) ?? ['', 'none']
  const ms = zone === 'none' ? Number.NaN : Date.parse(zone === '' ? `${text}Z` : text)
  if (Number.isNaN(ms))
    throw new AgentError('E_USAGE', `--${name} wants a time such as 2026-11-21T17:30:00Z, got ${JSON.stringify(text)}`)
  return ms
}
