/**
 * Completion for bash 4 and later: one function that knows verbs and flags by heart, and asks the program itself for pods and settings.
 * Bash cuts words at `=` and `:` (COMP_WORDBREAKS), so a value after `=` is a word of its own.
 */
import type { Completes } from '../args.ts'
import { type OperandModel, quoted, type VerbModel } from './model.ts'

/** The script, to be sourced. */
export function bashScript(verbs: readonly VerbModel[]): string {
  const names = verbs.map(({ name }) => name).join(' ')
  return `# Completion of kube-agent for bash. Load it with: source <(kube-agent completion bash)
_kube_agent() {
  local cur=\${COMP_WORDS[COMP_CWORD]} prev=\${COMP_WORDS[COMP_CWORD-1]} verb=\${COMP_WORDS[1]}
  local flags= valued= at=2 word
  local -a operands=() asks=()
  COMPREPLY=()
  if [[ $cur == '=' ]]; then cur=; elif [[ $prev == '=' ]]; then prev=\${COMP_WORDS[COMP_CWORD-2]}; fi
  if ((COMP_CWORD == 1)); then
    COMPREPLY=($(compgen -W ${quoted(`${names} --help --version`)} -- "$cur"))
    return
  fi
  case $verb in
${verbs.map(verbCase).join('\n')}
    *) return ;;
  esac
  while ((at < COMP_CWORD)); do
    word=\${COMP_WORDS[at]}
    if [[ " $valued " == *" $word "* ]]; then
      # The same agent and configuration are asked as the command will be.
      case $word in --address | -a | --config | -c | --set) asks+=("$word" "\${COMP_WORDS[at+1]}") ;; esac
      at=$((at + 2))
    else
      [[ $word == -* || $word == '=' ]] || operands+=("$word")
      at=$((at + 1))
    fi
  done
  case "$verb $prev" in
${verbs.flatMap(valueCases).join('\n')}
  esac
  if [[ $cur == -* ]]; then
    COMPREPLY=($(compgen -W "$flags" -- "$cur"))
    return
  fi
  case "$verb \${#operands[@]} \${operands[*]}" in
${verbs.flatMap(operandCases).join('\n')}
  esac
}

_kube_agent_ask() {
  COMPREPLY=($(compgen -W "$("\${COMP_WORDS[0]}" completion "$1" "\${@:3}" 2>/dev/null)" -- "$2"))
}

complete -F _kube_agent kube-agent kube-agent.mjs
`
}

function verbCase({ name, flags }: VerbModel): string {
  const all = flags.map(({ long }) => `--${long}`).join(' ')
  const valued = flags
    .filter(({ value }) => value !== undefined)
    .flatMap(({ long, short }) => [`--${long}`, ...(short === undefined ? [] : [`-${short}`])])
  return `    ${name}) flags=${quoted(all)} valued=${quoted(valued.join(' '))} ;;`
}

function valueCases({ name, flags }: VerbModel): readonly string[] {
  return flags.flatMap(({ long, short, value }) => {
    if (value === undefined) return []
    const patterns = [`${name} --${long}`, ...(short === undefined ? [] : [`${name} -${short}`])].map((text) => `"${text}"`)
    return [`    ${patterns.join(' | ')}) ${offer(value)}; return ;;`]
  })
}

function operandCases({ name, operands }: VerbModel): readonly string[] {
  return operands.flatMap((operand, index) =>
    operandCase(operand).map(([before, completes]) => `    "${name} ${index} "${before}) ${offer(completes)} ;;`),
  )
}

/** A pattern for the operands before, and what to offer after them. */
function operandCase(operand: OperandModel): readonly (readonly [string, Completes])[] {
  if (typeof operand === 'string' || !('after' in operand)) return [['*', operand]]
  return Object.entries(operand.after).map(([before, completes]) => [before, completes])
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
