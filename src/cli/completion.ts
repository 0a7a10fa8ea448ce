/** The verb `completion`: a script for a shell, and the words that such a script asks for while somebody types. */
import { AgentError, EXIT } from '../model/index.ts'
import { SETTINGS } from '../config/index.ts'
import { CONFIG_FLAGS, type Parsed } from './args.ts'
import { ADDRESS_FLAGS, ask } from './client.ts'
import { bashScript } from './completion/bash.ts'
import { fishScript } from './completion/fish.ts'
import { modelOf, type VerbModel } from './completion/model.ts'
import { zshScript } from './completion/zsh.ts'
import { configOf } from './settings.ts'
import { print, type Verb } from './verb.ts'

const SCRIPTS: Readonly<Record<string, (verbs: readonly VerbModel[]) => string>> = {
  bash: bashScript,
  zsh: zshScript,
  fish: fishScript,
}
/** Longer nobody waits for a Tab. */
const ASK_MS = 1000

/** The verb; `verbs` gives the table that it is itself part of. */
export function completionOf(verbs: () => Readonly<Record<string, Verb>>): Verb {
  return {
    usage: 'kube-agent completion (bash | zsh | fish)',
    summary: 'Print a script that completes this command line in a shell.',
    details: `
For bash add to ~/.bashrc:        source <(kube-agent completion bash)
For zsh  add to ~/.zshrc:         source <(kube-agent completion zsh)    (after compinit)
For fish save it once:            kube-agent completion fish > ~/.config/fish/completions/kube-agent.fish

The scripts ask for two lists while you type: completion pods, which are those of the running agent
and none when none answers within a second, and completion settings.`,
    flags: { ...CONFIG_FLAGS, ...ADDRESS_FLAGS },
    maxOperands: 1,
    operands: [Object.keys(SCRIPTS)],
    run: async (parsed) => {
      const [what = ''] = parsed.operands
      const script = Object.hasOwn(SCRIPTS, what) ? SCRIPTS[what] : undefined
      if (script !== undefined) print(script(modelOf(verbs())))
      else if (what === 'pods') printWords(await podsOf(parsed))
      else if (what === 'settings') printWords(SETTINGS.map(({ key }) => key))
      else
        throw new AgentError(
          'E_USAGE',
          `completion wants one of ${Object.keys(SCRIPTS).join(', ')}, got ${JSON.stringify(what)}`,
          {
            hint: 'See kube-agent completion --help.',
          },
        )
      return EXIT.ok
    },
  }
}

function printWords(words: readonly string[]): void {
  if (words.length > 0) print(words.join('\n'))
}

/** Silent about everything that is wrong: somebody is in the middle of a line, and will be told when they press Enter. */
async function podsOf(parsed: Parsed): Promise<readonly string[]> {
  try {
    const { config } = configOf(parsed)
    const { body } = await ask(parsed, config, '/statusz?format=json', {
      accept: 'application/json',
      signal: AbortSignal.timeout(ASK_MS),
    })
    const { pods } = JSON.parse(body) as { readonly pods?: readonly { readonly pod: string }[] }
    // What a shell would take for more than a name is no name that Kubernetes allows.
    return [...new Set((pods ?? []).map(({ pod }) => pod))].filter((pod) => /^[\w.-]+\/[\w.-]+$/.test(pod))
  } catch {
    return []
  }
}
