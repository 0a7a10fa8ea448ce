/**
 * Operational failures: something outside the program is not as it must be, and a person has to act. One type, one
 * catalogue of codes; the exit code follows from the code. Expected answers of the kernel are values (outcome.ts), not errors.
 */

/** Exit codes of the command line, documented in README.md. */
export const EXIT = { ok: 0, failed: 1, usage: 2, config: 3, environment: 4 } as const
export type ExitCode = (typeof EXIT)[keyof typeof EXIT]

interface CatalogueEntry {
  readonly exit: ExitCode
  /** What has happened, for the reference; the message of an error has the details. */
  readonly meaning: string
  /** What to do next; shown to the user after the message unless the thrower knows better. */
  readonly hint: string
}

/** Every code that an AgentError may have. A code is never given another meaning: scripts and runbooks know it. */
export const ERRORS = {
  E_USAGE: { exit: EXIT.usage, meaning: 'The command line is not understood.', hint: 'See kube-agent --help.' },
  E_CONFIG: {
    exit: EXIT.config,
    meaning: 'The configuration, or a quantity in a manifest, has a mistake; each one is named with its place.',
    hint: 'Check the file with: kube-agent config check FILE',
  },
  E_CONFIG_READ: {
    exit: EXIT.config,
    meaning: 'The configuration file is missing, not readable, not text or larger than 1 MiB.',
    hint: 'Give the path of a readable YAML file, or leave --config out to run on the defaults.',
  },
  E_NO_CGROUPS: {
    exit: EXIT.environment,
    meaning: 'There is neither a cgroup v2 tree nor the v1 controllers cpu and cpuacct where they are looked for.',
    hint: 'Mount the host cgroup tree and set paths.cgroup to it.',
  },
  E_CGROUP_ACCESS: {
    exit: EXIT.environment,
    meaning: 'Cgroup files that the agent has to write are missing or may not be written.',
    hint: 'Run as root with the cgroup tree mounted read-write; see kube-agent doctor. With kube-agent run --mode observe nothing is written.',
  },
  E_NO_PODS_ROOT: {
    exit: EXIT.environment,
    meaning: 'The kubelet has made no cgroup for best-effort pods where it is looked for.',
    hint: 'Is the kubelet running? Set node.cgroupRoot if it runs with --cgroup-root.',
  },
  E_NO_KUBELET: {
    exit: EXIT.environment,
    meaning: "The kubelet's device-plugin socket is missing or does not answer.",
    hint: 'Start the kubelet, set paths.devicePlugins to its device-plugin directory, or set kubelet.enabled: false.',
  },
  E_STATE_DIR: {
    exit: EXIT.environment,
    meaning: 'The state directory can not be used, or others may write in it.',
    hint: 'Set paths.state to a directory that this user can write.',
  },
  E_LOCKED: {
    exit: EXIT.environment,
    meaning: 'Another agent holds the lock in the state directory, or that of the same cgroups; or it does not take a release.',
    hint: 'Only one agent may run on a node. Stop the other one first.',
  },
  E_JOURNAL: {
    exit: EXIT.failed,
    meaning: 'The restore journal was written by a newer version.',
    hint: 'Release the node with the agent version that wrote it, or move the file away to give its originals up.',
  },
  E_HTTP_LISTEN: {
    exit: EXIT.environment,
    meaning: 'The HTTP address can not be listened on.',
    hint: 'Choose another http.port, or http.enabled: false.',
  },
  E_NO_AGENT: {
    exit: EXIT.failed,
    meaning: 'No agent answers at the address that was asked.',
    hint: 'Is the agent running? Start it with: kube-agent run',
  },
  E_NO_ANSWER: {
    exit: EXIT.failed,
    meaning:
      'Something takes connections at the address that was asked, and does not answer in time: an agent that hangs or is asked too much.',
    hint: 'It may hang, or get no CPU: look at its log and at /livez, by which the kubelet restarts it.',
  },
  E_NO_SUBJECT: {
    exit: EXIT.usage,
    meaning: 'There is no such thing to explain; near matches are named.',
    hint: 'Name a pod (pod NAMESPACE/NAME), a CPU (cpu 3), a resource (resource be-cpu), a knob (knob PATH) or a group (group PATH).',
  },
  E_GROUP_NAME: {
    exit: EXIT.failed,
    meaning: 'A pod UID or another name can not be that of a cgroup.',
    hint: 'Names of cgroups come from pod UIDs: check the pod source, with kube-agent doctor.',
  },
  E_TOPOLOGY: {
    exit: EXIT.environment,
    meaning: 'The CPUs of the node can not be read from sysfs.',
    hint: 'Mount the host /sys and set paths.sys to it.',
  },
  E_DEMO: {
    exit: EXIT.failed,
    meaning: 'The demo waited in vain for something, or its kubelet turned a pod away.',
    hint: 'Other work on this machine may be in the way: try again, or play it with kube-agent demo --simulated.',
  },
  E_RECORDING: {
    exit: EXIT.failed,
    meaning: 'A recording is missing, is none, or is of a format that this version does not read.',
    hint: 'Give a file of kube-agent record, or the directory that recording.directory names.',
  },
  E_BUNDLE: {
    exit: EXIT.failed,
    meaning: 'A support bundle can not be written, or would replace a file.',
    hint: 'Name another file with --output, in a directory that this user can write, on a disk with room.',
  },
  E_BUG: {
    exit: EXIT.failed,
    meaning: 'Something that can not be has happened.',
    hint: 'This is a bug in kube-agent. Please report it with the lines above.',
  },
} as const satisfies Record<string, CatalogueEntry>

export type ErrorCode = keyof typeof ERRORS

export class AgentError extends Error {
  readonly code: ErrorCode
  readonly hint: string

  constructor(code: ErrorCode, message: string, options: { readonly hint?: string; readonly cause?: unknown } = {}) {
    super(message, options.cause === undefined ? {} : { cause: options.cause })
    this.name = 'AgentError'
    this.code = code
    this.hint = options.hint ?? ERRORS[code].hint
  }

  get exitCode(): ExitCode {
    return ERRORS[this.code].exit
  }
}

/** The message of anything that was thrown. */
export function messageOf(thrown: unknown): string {
  return thrown instanceof Error ? thrown.message : String(thrown)
}

/**
 * A message as one line of at most `maxChars` characters, without control characters: what stands in it may be anybody's words, which must
 * neither forge a line of a log nor speak to a terminal.
 */
export function oneLine(message: string, maxChars: number): string {
  return message
    .slice(0, maxChars * 4)
    .replaceAll(/[\p{Cc}\s]+/gu, ' ')
    .slice(0, maxChars)
}

/** The errno name of a thrown system error (`ENOENT`), or undefined if it is not one. */
export function errnoOf(thrown: unknown): string | undefined {
  if (typeof thrown !== 'object' || thrown === null || !('code' in thrown)) return undefined
  return typeof thrown.code === 'string' ? thrown.code : undefined
}

/** A condition that only a bug can break. The loop answers a broken one with the release plan. */
export function assertInvariant(condition: boolean, message: string): asserts condition {
  if (!condition) throw new AgentError('E_BUG', message)
}
