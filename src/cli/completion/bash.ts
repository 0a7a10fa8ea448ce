/**
 * Completion for bash 4 and later: one function that knows verbs and flags by heart, and asks the program itself for pods and settings.
 * Bash cuts words at `=` and `:` (COMP_WORDBREAKS): they are put together again, but for the last one, of which bash replaces only its part.
 */
import type { Completes } from '../args.ts'
import { operandCases, valueCases, valuedFlags } from './cases.ts'
import { quoted, type VerbModel } from './model.ts'

/** The script, to be sourced. */
export function bashScript(verbs: readonly VerbModel[]): string {
  const names = verbs.map(({ name }) => name).join(' ')
  return `# Completion of kube-agent for bash. Load it with: source <(kube-agent completion bash)
_kube_agent() {
  local cur=\${COMP_WORDS[COMP_CWORD]} verb=\${COMP_WORDS[1]} prev=\${COMP_WORDS[1]} flags= valued= glue= at word
  local -a words=() operands=() asks=()
  COMPREPLY=()
  if ((COMP_CWORD == 1)); then
    COMPREPLY=($(compgen -W ${quoted(`${names} --help --version`)} -- "$cur"))
    return
  fi
  for ((at = 2; at < COMP_CWORD; at++)); do
    word=\${COMP_WORDS[at]}
    if ((\${#words[@]})) && [[ -n $glue || $word == [=:]* ]]; then
      words[\${#words[@]}-1]+=$word
    else
      words+=("$word")
    fi
    if [[ $word == *[=:] ]]; then glue=yes; else glue=; fi
  done
  ((\${#words[@]})) && prev=\${words[\${#words[@]}-1]}
  if [[ $cur == '=' ]]; then
    cur=
  elif [[ -n $glue && $prev == -*= ]]; then
    prev=\${prev%=}
  elif [[ -n $glue || $cur == [:=]* ]]; then
    # In the middle of a value that is on no list.
    return
  fi
  case $verb in
${verbs.map(verbCase).join('\n')}
    *) return ;;
  esac
  for ((at = 0; at < \${#words[@]}; at++)); do
    word=\${words[at]}
    if [[ " $valued " == *" \${word%%=*} "* ]]; then
      # The same agent and configuration are asked as the command will be.
      case $word in
        --address=* | --config=* | --set=*) asks+=("$word") ;;
        --address | -a | --config | -c | --set) asks+=("$word" "\${words[at+1]}") ;;
      esac
      if [[ $word != *=* ]]; then at=$((at + 1)); fi
    elif [[ $word != -* ]]; then
      operands+=("$word")
    fi
  done
  case "$verb $prev" in
${verbs.flatMap((verb) => valueCases(verb, offer)).join('\n')}
  esac
  if [[ $cur == -* ]]; then
    COMPREPLY=($(compgen -W "$flags" -- "$cur"))
    return
  fi
  case "$verb \${#operands[@]} \${operands[*]}" in
${verbs.flatMap((verb) => operandCases(verb, offer)).join('\n')}
  esac
}

_kube_agent_ask() {
  COMPREPLY=($(compgen -W "$("\${COMP_WORDS[0]}" completion "$1" "\${@:3}" 2>/dev/null)" -- "$2"))
}

complete -F _kube_agent kube-agent kube-agent.mjs
`
}

function verbCase(verb: VerbModel): string {
  const { name, flags } = verb
  const all = flags.map(({ long }) => `--${long}`).join(' ')
  const valued = valuedFlags(verb)
  return `    ${name}) flags=${quoted(all)} valued=${quoted(valued.join(' '))} ;;`
}

function offer(completes: Completes): string {
  switch (completes) {
    case 'file':
      return 'compopt -o filenames 2>/dev/null; COMPREPLY=($(compgen -f -- "$cur"))'
    case 'pod':
      return '_kube_agent_ask pods "$cur" "${asks[@]}"'
    case 'setting':
      return 'compopt -o nospace 2>/dev/null; _kube_agent_ask settings "$cur"'
    default:
      return completes.length === 0 ? ':' : `COMPREPLY=($(compgen -W ${quoted(completes.join(' '))} -- "$cur"))`
  }
}
