/**
 * Operational failures: something outside the program is not as it must be, and a person has to act. One type, one
 * catalogue of codes; the exit code follows from the code. Expected answers of the kernel are values (outcome.ts), not errors.
 */

/** Exit codes of the command line, documented in README.md. */
export const EXIT = { ok: 0, failed: 1, usage: 2, config: 3, environment: 4 } as const
export type ExitCode = (typeof EXIT)[keyof typeof EXIT]

interface CatalogueEntry {
  readonly exit: ExitCode
  /** What to do next; shown to the user after the message unless the thrower knows better. */
  readonly hint: string
}

const CATALOGUE = {
  E_USAGE: { exit: EXIT.usage, hint: 'See kube-agent --help.' },
  E_CONFIG: { exit: EXIT.config, hint: 'Check the file with: kube-agent config check FILE' },
  E_CONFIG_READ: {
    exit: EXIT.config,
    hint: 'Give the path of a readable YAML file, or leave --config out to run on the defaults.',
  },
  E_NO_CGROUPS: { exit: EXIT.environment, hint: 'Mount the host cgroup tree and set paths.cgroup to it.' },
  E_CGROUP_ACCESS: {
    exit: EXIT.environment,
    hint: 'Run as root with the cgroup tree mounted read-write, or use --mode observe.',
  },
  E_NO_PODS_ROOT: {
    exit: EXIT.environment,
    hint: 'Is the kubelet running? Set node.cgroupRoot if it runs with --cgroup-root.',
  },
  E_NO_KUBELET: {
    exit: EXIT.environment,
    hint: 'Start the kubelet, set paths.devicePlugins to its device-plugin directory, or set kubelet.enabled: false.',
  },
  E_STATE_DIR: { exit: EXIT.environment, hint: 'Set paths.state to a directory that this user can write.' },
  E_LOCKED: { exit: EXIT.environment, hint: 'Only one agent may run on a node. Stop the other one first.' },
  E_JOURNAL: { exit: EXIT.failed, hint: 'Keep the file for a report, and release the node with: kube-agent release' },
  E_HTTP_LISTEN: { exit: EXIT.environment, hint: 'Choose another http.port, or http.enabled: false.' },
  E_NO_AGENT: { exit: EXIT.failed, hint: 'Is the agent running? Start it with: kube-agent run' },
  E_NO_SUBJECT: { exit: EXIT.usage, hint: 'Name a pod (NAMESPACE/NAME), a CPU (cpu 3) or a resource (resource be-cpu).' },
  E_GROUP_NAME: { exit: EXIT.failed, hint: 'Names of cgroups come from pod UIDs: check the pod source.' },
  E_CPU_LIST: { exit: EXIT.config, hint: 'Write CPUs the way the kernel does: 0-3,8' },
  E_TOPOLOGY: { exit: EXIT.environment, hint: 'Mount the host /sys and set paths.sys to it.' },
  E_DEMO: { exit: EXIT.failed, hint: 'Other work on this machine may be in the way: try again, or play it with --simulated.' },
  E_BUG: { exit: EXIT.failed, hint: 'This is a bug in kube-agent. Please report it with the lines above.' },
} as const satisfies Record<string, CatalogueEntry>

export type ErrorCode = keyof typeof CATALOGUE

export class AgentError extends Error {
  readonly code: ErrorCode
  readonly hint: string

  constructor(code: ErrorCode, message: string, options: { readonly hint?: string; readonly cause?: unknown } = {}) {
    super(message, options.cause === undefined ? {} : { cause: options.cause })
    this.name = 'AgentError'
    this.code = code
    this.hint = options.hint ?? CATALOGUE[code].hint
  }

  get exitCode(): ExitCode {
    return CATALOGUE[this.code].exit
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
