/** Completion for fish 3 and later: one `complete` line for each verb, flag and operand, as fish wants it. */
import type { Completes } from '../args.ts'
import type { FlagModel, OperandModel, VerbModel } from './model.ts'

/** The script, to be sourced, or to be saved as completions/kube-agent.fish. */
export function fishScript(verbs: readonly VerbModel[]): string {
  const lines = verbs.flatMap((verb) => [
    `complete -c kube-agent -n __kube_agent_first -a ${quoted(verb.name)} -d ${quoted(verb.summary)}`,
    ...verb.flags.map((flag) => flagLine(verb.name, flag)),
    ...verb.operands.flatMap((operand, index) => operandLines(verb.name, operand, index)),
  ])
  return `# Completion of kube-agent for fish. Load it with: kube-agent completion fish | source
# The words before the cursor that are neither flags nor the values of flags: the verb and its operands.
function __kube_agent_words
    set -l skip 0
    for word in (commandline -opc)[2..-1]
        if test $skip = 1
            set skip 0
        else if contains -- $word ${valuedWords(verbs)}
            set skip 1
        else if not string match -q -- '-*' $word
            echo $word
        end
    end
end

function __kube_agent_first
    test (count (__kube_agent_words)) = 0
end

# Whether the words so far are these, and no more.
function __kube_agent_after
    set -l words (__kube_agent_words)
    test "$words" = "$argv"
end

# Whether so many operands of a verb have been given.
function __kube_agent_operand
    set -l words (__kube_agent_words)
    test (count $words) = (math $argv[2] + 1); and test "$words[1]" = $argv[1]
end

function __kube_agent_verb
    set -l words (__kube_agent_words)
    test (count $words) -gt 0; and test "$words[1]" = $argv[1]
end

# Asks the same agent, by the same configuration, as the command will.
function __kube_agent_ask
    set -l words (commandline -opc)
    set -l asks
    for at in (seq 2 (count $words))
        if contains -- $words[$at] --address -a --config -c --set
            set -a asks $words[$at] $words[(math $at + 1)]
        else if string match -qr -- '^--(address|config|set)=' $words[$at]
            set -a asks $words[$at]
        end
    end
    $words[1] completion $argv $asks 2>/dev/null
end

complete -c kube-agent -f
${lines.join('\n')}
`
}

/** In single quotes as fish reads them: a backslash and a quote need a backslash. */
function quoted(text: string): string {
  return `'${text.replaceAll('\\', '\\\\').replaceAll("'", "\\'")}'`
}

function valuedWords(verbs: readonly VerbModel[]): string {
  const valued = verbs.flatMap(({ flags }) => flags.filter(({ value }) => value !== undefined))
  return [...new Set(valued.flatMap(({ long, short }) => [`--${long}`, ...(short === undefined ? [] : [`-${short}`])]))].join(' ')
}

function flagLine(verb: string, { long, short, help, value }: FlagModel): string {
  const parts = [
    `complete -c kube-agent -n ${quoted(`__kube_agent_verb ${verb}`)} -l ${long}`,
    ...(short === undefined ? [] : [`-s ${short}`]),
    ...(value === undefined ? [] : value === 'file' ? ['-r -F'] : ['-x', ...offer(value)]),
    `-d ${quoted(help)}`,
  ]
  return parts.join(' ')
}

function operandLines(verb: string, operand: OperandModel, index: number): readonly string[] {
  if (typeof operand === 'string' || !('after' in operand)) return operandLine(`__kube_agent_operand ${verb} ${index}`, operand)
  return Object.entries(operand.after).flatMap(([before, completes]) =>
    operandLine(`__kube_agent_after ${verb} ${before}`, completes),
  )
}

function operandLine(condition: string, completes: Completes): readonly string[] {
  const what = completes === 'file' ? ['-F'] : offer(completes)
  return what.length === 0 ? [] : [`complete -c kube-agent -n ${quoted(condition)} ${what.join(' ')}`]
}

function offer(completes: Completes): readonly string[] {
  switch (completes) {
    case 'file':
      return []
    case 'pod':
      return [`-a ${quoted('(__kube_agent_ask pods)')}`]
    case 'setting':
      return [`-a ${quoted('(__kube_agent_ask settings)=')}`]
    default:
      return completes.length === 0 ? [] : [`-a ${quoted(completes.join(' '))}`]
  }
}
