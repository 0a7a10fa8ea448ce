/** Finds the verb, runs it, and turns whatever goes wrong into one clear line, a hint and an exit code. */
import { AgentError, errnoOf, ERRORS, EXIT, messageOf, type ExitCode } from '../model/index.ts'
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
    if (name === '--help' || name === '-h') return help([])
    if (name === 'help') return help(rest)
    const verb = verbNamed(name === '--version' ? 'version' : name)
    const parsed = parseWords(name, rest, verb.flags, verb.maxOperands)
    if (parsed.flags['help'] === true) return helpOf(verb)
    return await verb.run(parsed)
  } catch (thrown) {
    return complain(thrown, name)
  }
}

/** `help VERB` is `VERB --help`; without a verb, what verbs there are. */
function help(words: readonly string[]): ExitCode {
  const { operands } = parseWords('help', words, {}, 1)
  const [name] = operands
  if (name === undefined) {
    print(overview())
    return EXIT.ok
  }
  return helpOf(verbNamed(name))
}

function helpOf({ usage, summary, details, flags }: Verb): ExitCode {
  print(renderHelp(usage, summary, details, flags))
  return EXIT.ok
}

/** A word such as `toString` names something that every object inherits, and no verb. Throws E_USAGE. */
function verbNamed(name: string): Verb {
  const verb = Object.hasOwn(VERBS, name) ? VERBS[name] : undefined
  if (verb !== undefined) return verb
  throw new AgentError('E_USAGE', `unknown verb ${JSON.stringify(name)}; the verbs are ${Object.keys(VERBS).join(', ')}`)
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

function complain(thrown: unknown, verb: string): ExitCode {
  if (thrown instanceof AgentError) {
    process.stderr.write(`kube-agent: ${thrown.message}\n  ${hintOf(thrown, verb)} (${thrown.code})\n`)
    return thrown.exitCode
  }
  process.stderr.write(`kube-agent: ${messageOf(thrown)}\n${thrown instanceof Error ? `${thrown.stack ?? ''}\n` : ''}`)
  return EXIT.failed
}

/**
 * The hints of the catalogue where more is known: which verb was used wrongly, and that a bad configuration is one of flags alone, without
 * a file.
 */
function hintOf(error: AgentError, verb: string): string {
  if (error.hint === ERRORS.E_USAGE.hint && Object.hasOwn(VERBS, verb)) return `See kube-agent ${verb} --help.`
  const ofFlags = error.code === 'E_CONFIG' && error.message.split('\n').every((line) => line.startsWith('--'))
  return ofFlags ? 'See every setting and its value with: kube-agent config show' : error.hint
}

function overview(): string {
  const width = Math.max(...Object.keys(VERBS).map((name) => name.length))
  const rows = Object.entries(VERBS).map(([name, verb]) => `  ${name.padEnd(width)}  ${verb.summary}`)
  return `kube-agent: the node half of online/offline colocation on Kubernetes.

Usage: kube-agent VERB [options]

${rows.join('\n')}

kube-agent VERB --help, or kube-agent help VERB, says more. Exit codes: 0 done, 1 failed, 2 wrong usage,
3 wrong configuration, 4 the node lacks something (cgroups, permission, kubelet, state directory).
`
}
