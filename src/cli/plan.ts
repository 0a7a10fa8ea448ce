/** The verb `plan`: what enforce would change on this node right now, and why. */
import { EXIT, formatKnobValue, type TickRecord } from '../model/index.ts'
import {
  count,
  labelled,
  observedSteps,
  observedText,
  renderAbstention,
  renderLadder,
  renderMemory,
  renderOffer,
  renderPressure,
  renderStepBecause,
  renderSuppression,
  renderValue,
  renderWish,
  toldOf,
  wrap,
} from '../record/index.ts'
import { CONFIG_FLAGS, JSON_FLAG, PATH_FLAGS } from './args.ts'
import { lookOnce } from './once.ts'
import { configOf } from './settings.ts'
import { print, type Verb } from './verb.ts'

export const plan: Verb = {
  usage: 'kube-agent plan [--json] [--config FILE]',
  summary: 'Show what the agent would change on this node now. Writes nothing.',
  details: `
Takes readings for two seconds and prints each knob that would be written, from what to what and
why. Growth that takes several ticks is shown as its first step.`,
  flags: { ...CONFIG_FLAGS, ...PATH_FLAGS, ...JSON_FLAG },
  maxOperands: 0,
  run: async (parsed) => {
    const { config } = configOf(parsed)
    const { record } = await lookOnce(config)
    print(parsed.flags['json'] === true ? JSON.stringify(planData(record), undefined, 2) : planText(record))
    return EXIT.ok
  },
}

/** The plan of a tick for programs. */
export function planData(record: TickRecord) {
  return {
    steps: record.plan.map((step) => ({
      group: step.group,
      knob: step.kind,
      from: renderValue(step.kind, step.from),
      to: formatKnobValue(step),
      why: renderStepBecause(step.because),
    })),
    ...observedData(record),
    offers: record.decision.offers.map(({ resource, units }) => ({ resource, units })),
    suppression: record.decision.suppression,
    memory: record.decision.memory,
    io: record.decision.io,
    evictions: record.decision.evictions,
    problems: record.snapshot.pods.problems,
    abstentions: record.decision.abstentions,
  }
}

/** What rules want that only observe; nothing while there are none. */
function observedData(record: TickRecord) {
  const { observed } = record.decision
  if (observed === undefined) return {}
  const steps = observedSteps(record).map(({ group, kind, from, to, why }) => {
    return { group, knob: kind, from: renderValue(kind, from), to, why }
  })
  const offers = observed.offers?.map(({ resource, units }) => ({ resource, units }))
  return { observed: { rules: observed.rules, steps, ...(offers === undefined ? {} : { offers }) } }
}

const COLUMN = 14

/** The plan of a tick for people: at most 100 columns, like the status. */
export function planText(record: TickRecord): string {
  const { decision, snapshot, plan: steps } = record
  const lines = [...squeezeLines(record)]
  if (steps.length === 0)
    lines.push(`Nothing to change: ${count(snapshot.pods.pods.length, 'pod')}, every knob is as it should be.`)
  else lines.push(`To be written, ${count(steps.length, 'knob')} in this order:`)
  for (const step of steps) {
    lines.push(
      `  ${step.kind} of ${step.group}`,
      ...inner('change', `${renderValue(step.kind, step.from)} → ${formatKnobValue(step)}`),
      ...inner('because', renderStepBecause(step.because)),
    )
  }
  lines.push(...observedLines(record))
  if (decision.offers.length > 0)
    lines.push('', 'Would be advertised:', ...decision.offers.flatMap((offer) => hanging(renderOffer(offer))))
  if (decision.evictions.length > 0)
    lines.push('', 'Would be evicted:', ...decision.evictions.flatMap((wish) => hanging(renderWish(wish))))
  const troubles = [
    ...snapshot.pods.problems.map((problem) => `pod source: ${problem}`),
    ...decision.abstentions.map((abstention) => `rule ${abstention.rule} abstains: ${renderAbstention(abstention)}`),
  ]
  if (troubles.length > 0)
    lines.push('', count(troubles.length, 'problem'), ...troubles.flatMap((text) => inner('warning', text)))
  return lines.join('\n')
}

/** What would be written if every rule were enforced, and what would be for sale. */
function observedLines(record: TickRecord): readonly string[] {
  const { observed } = record.decision
  if (observed === undefined) return []
  const lines = [
    '',
    ...wrap(`Only observed: ${observedText(observed.rules)}`, 2).map((line, index) => (index === 0 ? line.trim() : line)),
  ]
  for (const { group, kind, from, to, why } of observedSteps(record))
    lines.push(`  ${kind} of ${group}`, ...inner('would be', `${renderValue(kind, from)} → ${to}`), ...inner('because', why))
  for (const offer of observed.offers ?? []) lines.push(...hanging(`would be advertised: ${renderOffer(offer)}`))
  return lines
}

const row = (label: string, text: string): readonly string[] => labelled(label, text, COLUMN)
const inner = (label: string, text: string): readonly string[] => labelled(`    ${label}`, text, COLUMN)

/** An entry of a list, its further lines under its text. */
function hanging(text: string): readonly string[] {
  return wrap(text, 4).map((line, index) => (index === 0 ? line.slice(2) : line))
}

/** What squeezes offline work now, a paragraph. */
function squeezeLines({ decision, snapshot: { nowMs } }: TickRecord): readonly string[] {
  const { suppression, memory } = decision
  const lines: string[] = []
  if (suppression !== undefined) {
    lines.push(...row('suppression', toldOf('suppressCpu', renderSuppression(suppression), decision)))
    if (suppression.pressure !== undefined) lines.push(...row('pressure', renderPressure(suppression.pressure)))
    if (isAstir(suppression.ladder))
      lines.push(...row('CPU ladder', toldOf('suppressCpu', renderLadder(suppression.ladder, nowMs), decision)))
  }
  if (memory !== undefined && isAstir(memory.ladder)) {
    lines.push(
      ...row('memory', renderMemory(memory)),
      ...row('memory ladder', toldOf('suppressMemory', renderLadder(memory.ladder, nowMs), decision)),
    )
  }
  return lines.length === 0 ? lines : [...lines, '']
}

function isAstir({ inForce, waiting }: { readonly inForce: readonly unknown[]; readonly waiting?: unknown }): boolean {
  return inForce.length > 0 || waiting !== undefined
}
