/** The cases of a shell's `case`, as bash and zsh write them alike: what may follow a flag, and what may stand at an operand's place. */
import type { Completes } from '../args.ts'
import type { OperandModel, VerbModel } from './model.ts'

/** A line of a script that offers what completes a word. */
type Offer = (completes: Completes) => string

/** `"status --address" | "status -a") …`, for each flag with a value. */
export function valueCases({ name, flags }: VerbModel, offer: Offer): readonly string[] {
  return flags.flatMap(({ long, short, value }) => {
    if (value === undefined) return []
    const patterns = [`${name} --${long}`, ...(short === undefined ? [] : [`${name} -${short}`])].map((text) => `"${text}"`)
    return [`    ${patterns.join(' | ')}) ${offer(value)}; return ;;`]
  })
}

/** `"explain 1 "pod) …`: verb, how many operands there are, and which. */
export function operandCases({ name, operands }: VerbModel, offer: Offer): readonly string[] {
  return operands.flatMap((operand, index) =>
    operandCase(operand).map(([before, completes]) => `    "${name} ${index} "${before}) ${offer(completes)} ;;`),
  )
}

/** Flags that take a value, as they are typed. */
export function valuedFlags({ flags }: VerbModel): readonly string[] {
  return flags
    .filter(({ value }) => value !== undefined)
    .flatMap(({ long, short }) => [`--${long}`, ...(short === undefined ? [] : [`-${short}`])])
}

/** A pattern for the operands before, and what to offer after them. */
function operandCase(operand: OperandModel): readonly (readonly [string, Completes])[] {
  if (typeof operand === 'string' || !('after' in operand)) return [['*', operand]]
  return Object.entries(operand.after).map(([before, completes]) => [before, completes])
}
