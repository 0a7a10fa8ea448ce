/** Finds the verb, runs it, and turns whatever goes wrong into one clear line, a hint and an exit code. */
import { AgentError, errnoOf, EXIT, messageOf, type ExitCode } from '../model/index.ts'
import { parseWords, portFlag, renderHelp, type Flags } from './args.ts'
import { bundle } from './bundle.ts'
import { completionOf } from './completion.ts'
import { config } from './config.ts'
import { burn, demo } from './demo/index.ts'
import { doctor } from './doctor.ts'
import { explain } from './explain.ts'
import { journal } from './journal.ts'
import { plan } from './plan.ts'
import { record } from './record.ts'
import { release } from './release.ts'
import { replay } from './replay.ts'
import { run } from './run.ts'
import { status } from './status.ts'
import { top } from './top.ts'
import { print, type Verb } from './verb.ts'
import { version } from './version.ts'

const DEMO_FLAGS: Flags = {
  json: { type: 'boolean', help: 'One JSON object a line, for machines.' },
  simulated: { type: 'boolean', help: 'Play on the simulated node even where real cgroups can be used.' },
  http: { type: 'string', value: 'PORT', help: 'Serve the status page on 127.0.0.1 while it plays; 0 takes any free port.' },
}

const demoVerb: Verb = {
  usage: 'kube-agent demo [--json] [--simulated] [--http PORT]',
  summary: 'Play the main job on this machine in about 40 seconds.',
  details: `
Brings up a stand-in kubelet (real gRPC), an online workload, two BE pods and one OT pod as real
processes in real cgroups below a group of its own, and runs the agent on them: register, advertise,
limit, suppress, restore. Without root or writable cgroups it plays on a simulated node and says so.
It removes everything it made, also after Ctrl-C.`,
  flags: DEMO_FLAGS,
  maxOperands: 0,
  run: async (parsed) =>
    demo({
      json: parsed.flags['json'] === true,
      simulated: parsed.flags['simulated'] === true,
      httpPort: portFlag(parsed, 'http'),
    }),
}

/** Every verb by its name, in the order of the help page. */
export const VERBS: Readonly<Record<string, Verb>> = {
  run,
  demo: demoVerb,
  status,
  top,
  plan,
  explain,
  journal,
  record,
  replay,
  doctor,
  bundle,
  release,
  config,
  completion: completionOf(() => VERBS),
  version,
}

/** Runs a command line and resolves with the exit code; never rejects. */
export async function main(words: readonly string[]): Promise<ExitCode | undefined> {
  const [name = '--help', ...rest] = words
  const output = watchOutput()
  const code = await dispatch(name, rest)
  return output.failed() && code === EXIT.ok ? EXIT.failed : code
}

async function dispatch(name: string, rest: readonly string[]): Promise<ExitCode | undefined> {
  try {
    // The demo's pods: this very program, told by standard input how much to burn.
    if (name === 'load') {
      burn()
      return undefined
    }
    if (name === '--help' || name === '-h' || name === 'help') {
      print(overview())
      return EXIT.ok
    }
    const verb = verbNamed(name === '--version' ? 'version' : name)
    if (verb === undefined)
      throw new AgentError('E_USAGE', `unknown verb ${JSON.stringify(name)}; the verbs are ${Object.keys(VERBS).join(', ')}`)
    const parsed = parseWords(name, rest, verb.flags, verb.maxOperands)
    if (parsed.flags['help'] === true) {
      print(renderHelp(verb.usage, verb.summary, verb.details, verb.flags))
      return EXIT.ok
    }
    return await verb.run(parsed)
  } catch (thrown) {
    return complain(thrown)
  }
}

/** A word such as `toString` names something that every object inherits, and no verb. */
function verbNamed(name: string): Verb | undefined {
  return Object.hasOwn(VERBS, name) ? VERBS[name] : undefined
}

/**
 * A reader that has seen enough (`| head -1`) is no failure: the verb goes on to its end, since `release` must not stop half-way, and
 * nobody is told. Any other trouble with standard output is said once and fails the command.
 */
function watchOutput(): { readonly failed: () => boolean } {
  let failed = false
  process.stdout.on('error', (thrown) => {
    if (errnoOf(thrown) === 'EPIPE' || failed) return
    failed = true
    process.stderr.write(`kube-agent: cannot write to standard output: ${messageOf(thrown)}\n`)
    // The last write may fail after the verb has ended.
    process.exitCode = EXIT.failed
  })
  // Without standard error there is nobody left to tell.
  process.stderr.on('error', () => undefined)
  return { failed: () => failed }
}

function complain(thrown: unknown): ExitCode {
  if (thrown instanceof AgentError) {
    process.stderr.write(`kube-agent: ${thrown.message}\n  ${hintOf(thrown)} (${thrown.code})\n`)
    return thrown.exitCode
  }
  process.stderr.write(`kube-agent: ${messageOf(thrown)}\n${thrown instanceof Error ? `${thrown.stack ?? ''}\n` : ''}`)
  return EXIT.failed
}

/** The catalogue's hint for a bad configuration is about a file; where flags alone are wrong there may be none. */
function hintOf(error: AgentError): string {
  const ofFlags = error.code === 'E_CONFIG' && error.message.split('\n').every((line) => line.startsWith('--'))
  return ofFlags ? 'See every setting and its value with: kube-agent config show' : error.hint
}

function overview(): string {
  const width = Math.max(...Object.keys(VERBS).map((name) => name.length))
  const rows = Object.entries(VERBS).map(([name, verb]) => `  ${name.padEnd(width)}  ${verb.summary}`)
  return `kube-agent: the node half of online/offline colocation on Kubernetes.

Usage: kube-agent VERB [options]

${rows.join('\n')}

kube-agent VERB --help says more. Exit codes: 0 done, 1 failed, 2 wrong usage, 3 wrong configuration,
4 the node lacks something (cgroups, permission, kubelet, state directory).
`
}
