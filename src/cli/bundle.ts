/** The verb `bundle`: everything that somebody who was not there needs to know of a node, in one file for a ticket. */
import { loadConfig } from '../config/index.ts'
import { realNow } from '../compose.ts'
import { AgentError, EXIT, type ExitCode, formatBytes, oneLine } from '../model/index.ts'
import { count, labelled } from '../record/index.ts'
import { CONFIG_FLAGS, JSON_FLAG, PATH_FLAGS, textFlag, type Parsed } from './args.ts'
import { agentParts, type Get, noAgentParts, whyNoAgent } from './bundle/agent-parts.ts'
import { archiveOf, type BundleAbout, type Contents, missingLines } from './bundle/archive.ts'
import { configParts, doctorParts, lookParts, type Settings } from './bundle/node-parts.ts'
import type { Part } from './bundle/part.ts'
import { recordingParts } from './bundle/recording-parts.ts'
import { writeToFile, writeToOutput } from './bundle/write.ts'
import { ADDRESS_FLAGS, ask } from './client.ts'
import { nodeNameOf } from './cluster.ts'
import { configSources } from './settings.ts'
import { stopSignal } from './teardown.ts'
import { print, type Verb } from './verb.ts'
import { VERSION } from './version.ts'

/** All that the agent is asked for has to come within this time. */
const AGENT_MS = 90_000

export const bundle: Verb = {
  usage: 'kube-agent bundle [--output FILE] [--recording FILE] [--force] [--json]',
  summary: 'Put all that is known of this node into one file for a ticket.',
  details: `
Asks the running agent for its status, settings, journal, metrics and the reasons of every pod, looks at
the node as kube-agent doctor does, and writes one .tar.gz. Without an agent it takes a look of its own. What
could not be had is named in its README.txt and manifest.json with the reason, and here; the bundle is made
all the same. On the node nothing is written but FILE, which is for its user alone.

Names of pods, namespaces and nodes are in it as they are. What looks like a secret is taken out; contents of
token files and environments of pods are never in it.

Exits 0 when nothing is missing, and 1 when something is, or when FILE could not be written. In a pod, where
no file can be written: kubectl exec POD -- kube-agent bundle --output - > node.tar.gz`,
  flags: {
    ...CONFIG_FLAGS,
    ...PATH_FLAGS,
    ...ADDRESS_FLAGS,
    output: { type: 'string', short: 'o', value: 'FILE', help: 'Default: kube-agent-NODE-TIME.tar.gz. - for standard output.' },
    force: { type: 'boolean', help: 'Replace FILE if it is there.' },
    recording: {
      type: 'string',
      value: 'FILE',
      help: 'Take in a recording: a file of kube-agent record, or the directory that recording.directory names.',
    },
    'kubelet-config': {
      type: 'string',
      value: 'FILE',
      help: "The kubelet's configuration file, where its process does not tell.",
    },
    ...JSON_FLAG,
  },
  maxOperands: 0,
  run: async (parsed) => {
    const settings = settingsOf(parsed)
    const about = aboutOf(settings)
    const output = textFlag(parsed, 'output') ?? `${about.directory}.tar.gz`
    if (output === '') throw new AgentError('E_USAGE', '--output wants a FILE, or - for standard output')
    if (output === '-' && process.stdout.isTTY)
      throw new AgentError(
        'E_USAGE',
        'a bundle is nothing for a terminal: send standard output to a file, or name one with --output',
      )
    const contents: Contents = { files: [], missing: [] }
    const stopped = new AbortController()
    void stopSignal().promise.then(() => stopped.abort())
    const archive = archiveOf(partsOf(parsed, settings, stopped.signal), about, contents)
    if (output === '-') await writeToOutput(archive, stopped.signal)
    else await writeToFile(archive, output, { force: parsed.flags['force'] === true, signal: stopped.signal })
    return tell(parsed, output, contents)
  },
}

/** A node whose files have a mistake is one that somebody needs a bundle of; one in a flag is put right by who has just typed it. */
function settingsOf(parsed: Parsed): Settings {
  const sources = configSources(parsed)
  const byFlags = loadConfig({ overrides: sources.overrides })
  try {
    const loaded = loadConfig(sources)
    return { config: loaded.config, loaded, problem: undefined }
  } catch (thrown) {
    if (!(thrown instanceof AgentError)) throw thrown
    return { config: byFlags.config, loaded: undefined, problem: thrown }
  }
}

function aboutOf({ config }: Settings): BundleAbout {
  const { wallMs } = realNow()
  const nodeName = oneLine(nodeNameOf(config), 253)
  const time = new Date(wallMs).toISOString().slice(0, 19).replaceAll(/[-:]/g, '')
  const directory = `kube-agent-${nodeName.replaceAll(/[^\w.-]/g, '_').slice(0, 63)}-${time}Z`
  return { directory, version: VERSION, nodeName, wallMs }
}

/** The parts, one after the other: an agent has little time for questions, and a bundle is in no hurry. */
async function* partsOf(parsed: Parsed, settings: Settings, stopped: AbortSignal): AsyncGenerator<Part> {
  const { config } = settings
  const signal = AbortSignal.any([stopped, AbortSignal.timeout(AGENT_MS)])
  const get: Get = (path) => ask(parsed, config, path, { accept: '*/*', signal })
  const problem = await whyNoAgent(get)
  if (problem === undefined) yield* agentParts(get, () => realNow().nowMs)
  else yield* noAgentParts(problem)
  yield* configParts(settings)
  yield* doctorParts(config, { environment: process.env, kubeletConfig: textFlag(parsed, 'kubelet-config') })
  if (problem !== undefined) yield* lookParts(config)
  const recording = textFlag(parsed, 'recording')
  if (recording !== undefined) yield* recordingParts(recording)
}

const COLUMN = 34

/** What was made, and what is missing: on standard error where the bundle is on standard output. */
function tell(parsed: Parsed, output: string, { files, missing }: Contents): ExitCode {
  const bytes = files.reduce((sum, file) => sum + file.bytes, 0)
  const left = files.filter(({ cutFromBytes, note }) => cutFromBytes !== undefined || note !== undefined)
  if (parsed.flags['json'] === true) say(output, JSON.stringify({ path: output, files, missing }, undefined, 2))
  else {
    const lines = left.flatMap(({ path, cutFromBytes, note }) =>
      labelled(`  ${path}`, note ?? `cut from ${cutFromBytes} bytes`, COLUMN),
    )
    lines.push(...missingLines(missing))
    say(output, [`${count(files.length, 'file')} of ${formatBytes(bytes)} before compression: ${output}`, ...lines].join('\n'))
  }
  return missing.length === 0 ? EXIT.ok : EXIT.failed
}

function say(output: string, text: string): void {
  if (output === '-') process.stderr.write(`${text}\n`)
  else print(text)
}
