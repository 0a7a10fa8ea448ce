/** The verb `plan`: what enforce would change on this node right now, and why. */
import { EXIT, formatKnobValue, type KnobSetting, type TickRecord } from '../model/index.ts'
import {
  count,
  renderAbstention,
  renderLadder,
  renderMemory,
  renderOffer,
  renderPressure,
  renderStepBecause,
  renderSuppression,
  renderValue,
  renderWish,
} from '../record/index.ts'
import { CONFIG_FLAGS } from './args.ts'
import { lookOnce } from './once.ts'
import { configOf } from './settings.ts'
import { print, type Verb } from './verb.ts'

export const plan: Verb = {
  usage: 'kube-agent plan [--config FILE]',
  summary: 'Show what the agent would change on this node now. Writes nothing.',
  details: `
Takes readings for two seconds and prints each knob that would be written, from what to what and
why. Growth that takes several ticks is shown as its first step.`,
  flags: { ...CONFIG_FLAGS, json: { type: 'boolean', help: 'Print JSON.' } },
  maxOperands: 0,
  run: async (parsed) => {
    const { config } = configOf(parsed)
    const { record } = await lookOnce(config)
    print(parsed.flags['json'] === true ? JSON.stringify(planData(record), undefined, 2) : planText(record))
    return EXIT.ok
  },
}

function planData(record: TickRecord) {
  return {
    steps: record.plan.map((step) => ({
      group: step.group,
      knob: step.kind,
      from: renderValue(step.kind, step.from),
      to: formatKnobValue(step),
      why: renderStepBecause(step.because),
    })),
    offers: record.decision.offers.map(({ resource, units }) => ({ resource, units })),
    suppression: record.decision.suppression,
    memory: record.decision.memory,
    io: record.decision.io,
    evictions: record.decision.evictions,
    problems: record.snapshot.pods.problems,
    abstentions: record.decision.abstentions,
  }
}

function planText(record: TickRecord): string {
  const lines: string[] = []
  const { decision, snapshot } = record
  lines.push(...squeezeLines(record))
  if (record.plan.length === 0) lines.push(`Nothing to change: ${snapshot.pods.pods.length} pods, every knob is as it should be.`)
  else lines.push(`To be written, ${count(record.plan.length, 'knob')} in this order:`)
  for (const step of record.plan) {
    const from = step.from === undefined ? 'unknown' : formatKnobValue({ kind: step.kind, value: step.from } as KnobSetting)
    lines.push(
      `  ${step.group}`,
      `    ${step.kind}: ${from} → ${formatKnobValue(step)}`,
      `    because ${renderStepBecause(step.because)}`,
    )
  }
  if (decision.offers.length > 0)
    lines.push('', 'Would be advertised:', ...decision.offers.map((offer) => `  ${renderOffer(offer)}`))
  if (decision.evictions.length > 0)
    lines.push('', 'Would be evicted:', ...decision.evictions.map((wish) => `  ${renderWish(wish)}`))
  for (const problem of snapshot.pods.problems) lines.push('', `problem: ${problem}`)
  for (const abstention of decision.abstentions) lines.push(`abstains: ${abstention.rule}: ${renderAbstention(abstention)}`)
  return lines.join('\n')
}

/** What squeezes offline work now, a paragraph. */
function squeezeLines({ decision: { suppression, memory }, snapshot: { nowMs } }: TickRecord): readonly string[] {
  const lines: string[] = []
  if (suppression !== undefined) {
    lines.push(renderSuppression(suppression))
    if (suppression.pressure !== undefined) lines.push(`pressure: ${renderPressure(suppression.pressure)}`)
    if (isAstir(suppression.ladder)) lines.push(`CPU ladder: ${renderLadder(suppression.ladder, nowMs)}`)
  }
  if (memory !== undefined && isAstir(memory.ladder)) {
    lines.push(`memory: ${renderMemory(memory)}`, `memory ladder: ${renderLadder(memory.ladder, nowMs)}`)
  }
  return lines.length === 0 ? lines : [...lines, '']
}

function isAstir({ inForce, waiting }: { readonly inForce: readonly unknown[]; readonly waiting?: unknown }): boolean {
  return inForce.length > 0 || waiting !== undefined
}
