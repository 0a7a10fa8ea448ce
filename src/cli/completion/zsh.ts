/** Completion for zsh 5 and later: a function for compsys that looks at the words itself, so that no flag has to be told of twice. */
import type { Completes } from '../args.ts'
import { operandCases, valueCases, valuedFlags } from './cases.ts'
import { quoted, type VerbModel } from './model.ts'

/** The script, to be sourced, or to be named _kube-agent in a directory of fpath. */
export function zshScript(verbs: readonly VerbModel[]): string {
  return `#compdef kube-agent kube-agent.mjs
# Completion of kube-agent for zsh. Load it with: source <(kube-agent completion zsh)
_kube_agent() {
  local verb=\${words[2]} prev=\${words[CURRENT-1]} word at=3
  local -a flags valued operands asks
  if ((CURRENT == 2)); then
    local -a verbs=(
${verbs.map(({ name, summary }) => `      ${described(name, summary)}`).join('\n')}
    )
    _describe -t verbs verb verbs
    return
  fi
  case $verb in
${verbs.map(verbCase).join('\n')}
    *) return 1 ;;
  esac
  while ((at < CURRENT)); do
    word=\${words[at]}
    if ((\${valued[(Ie)$word]})); then
      case $word in (--address | -a | --config | -c | --set) asks+=("$word" "\${words[at+1]}") ;; esac
      ((at += 2))
    else
      case $word in (--address=* | --config=* | --set=*) asks+=("$word") ;; (-*) ;; (*) operands+=("$word") ;; esac
      ((at += 1))
    fi
  done
  case "$verb $prev" in
${verbs.flatMap((verb) => valueCases(verb, offer)).join('\n')}
  esac
  if [[ \${words[CURRENT]} == -* ]]; then
    _describe -o -t flags flag flags
    return
  fi
  case "$verb \${#operands} \${operands[*]}" in
${verbs.flatMap((verb) => operandCases(verb, offer)).join('\n')}
  esac
}

_kube_agent_ask() {
  local -a found=(\${(f)"$("\${words[1]}" completion "$@" 2>/dev/null)"})
  compadd \${expl[@]} -a found
}

if [[ \${zsh_eval_context[-1]} == loadautofunc ]]; then
  _kube_agent "$@"
else
  compdef _kube_agent kube-agent kube-agent.mjs
fi
`
}

/** `word:description`, as _describe reads it: a colon in the word would end it. */
function described(word: string, text: string): string {
  return quoted(`${word.replaceAll(':', String.raw`\:`)}:${text.split('\n')[0] ?? ''}`)
}

function verbCase(verb: VerbModel): string {
  const { name, flags } = verb
  const all = flags.map(({ long, help }) => described(`--${long}`, help)).join(' ')
  const valued = valuedFlags(verb)
  return `    ${name}) flags=(${all}) valued=(${valued.join(' ')}) ;;`
}

function offer(completes: Completes): string {
  switch (completes) {
    case 'file':
      return '_files'
    case 'pod':
      return '_kube_agent_ask pods "${asks[@]}"'
    case 'setting':
      return 'local -a expl=(-S "="); _kube_agent_ask settings'
    default:
      return completes.length === 0 ? ':' : `compadd ${completes.map(quoted).join(' ')}`
  }
}
