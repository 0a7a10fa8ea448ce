/**
 * Why offline work is squeezed, as sentences: the allowance of CPU with the sum that leads to it, the rungs that narrow and freeze, and
 * what is done about memory and IO. Beside render.ts, which leads here for these codes.
 */
import type { AllowanceBound, Because, SuppressionInputs, SuppressionState } from '../model/index.ts'
import { formatBytes, formatPermyriad, milliCpuFormat } from '../model/index.ts'

/** Reasons of the rules that suppress offline work. */
export type SqueezeBecause = Extract<Because, { code: `suppress.${string}` | `memory.${string}` | `io.${string}` }>
type Code<Name extends Because['code']> = Extract<Because, { code: Name }>

/** Why a rule that suppresses wants a value. */
export function renderSqueezeBecause(because: SqueezeBecause): string {
  switch (because.code) {
    case 'suppress.root':
      return rootReason(because)
    case 'suppress.beside':
      return besideReason(because)
    case 'suppress.be':
      return beReason(because)
    case 'suppress.ot':
      return otReason(because)
    case 'suppress.narrow':
      return `${rungOfUse('cpuNarrow', because)}: offline pods keep to ${narrowed(because)}`
    case 'suppress.freeze':
      return `${rungOfUse('cpuFreeze', because)}: OT pods stand still until that is over`
    case 'suppress.unfollowed':
      return (
        'the pod has more CPU quotas in groups of its own than can be followed, and on their account the kernel refuses the quota of all offline ' +
        'pods, or of this one: it stands still until the kernel takes them'
      )
    case 'memory.high':
      return memoryReason(because)
    case 'memory.protect':
      return `${formatPermyriad(because.sharePermyriad)} of the ${formatBytes(because.ofBytes)} that online pods request here is kept from reclaim`
    case 'io.weight':
      return `${because.qosClass} yields to online work on block devices whose IO scheduler heeds weights${because.pressed ? ', and has the least there is while that waits for IO' : ''}`
    case 'io.limits':
      return ioReason(because)
  }
}

function rootReason(because: Code<'suppress.root'>): string {
  const { inputs, bound, untaggedMilli } = because
  const amount = milliCpuFormat([...amountsOf(inputs, bound), untaggedMilli])
  return `${formula(inputs, amount)}${boundNote(bound, inputs, amount)}${untaggedNote(because, amount)}`
}

function besideReason({ untaggedMilli, allowanceMilli, capacityMilli }: Code<'suppress.beside'>): string {
  const amount = milliCpuFormat([untaggedMilli, allowanceMilli, capacityMilli])
  return (
    `online pods live below the same root (they use ${amount(untaggedMilli)}), so BE and OT pods are held to their ` +
    `allowance of ${amount(allowanceMilli)} one by one, and all ${amount(capacityMilli)} of the node come on top here`
  )
}

function beReason({ beMilli, allowanceMilli, bound, wantsMilli }: Code<'suppress.be'>): string {
  const amount = milliCpuFormat([beMilli, allowanceMilli, wantsMilli ?? 0])
  const wants =
    wantsMilli === undefined ? '' : `; this one by its use wants no more than ${amount(wantsMilli)}, the rest is others' first`
  return (
    `BE pods together get ${amount(beMilli)} of the allowance of ${amount(allowanceMilli)}` +
    `${otNote(bound)}, split by what they asked for${wants}`
  )
}

function otReason({ otAllowanceMilli, allowanceMilli, beDemandMilli, bound }: Code<'suppress.ot'>): string {
  const amount = milliCpuFormat([otAllowanceMilli, allowanceMilli, beDemandMilli])
  const partMilli = allowanceMilli - beDemandMilli
  const lags = bound !== 'floor' && partMilli > 0 && otAllowanceMilli > partMilli
  const lagNote = lags
    ? '; their part has fallen since by less than the margin, for which the quota of their root holds them'
    : ''
  return (
    `OT pods together get ${amount(otAllowanceMilli)}, split by what they asked for: allowance ` +
    `${amount(allowanceMilli)}, of which BE demands ${amount(beDemandMilli)}${otNote(bound)}${lagNote}`
  )
}

/** No more than all: a counter that is read a little after the clock shows a little more than there is. */
export function ofAllCpu(permyriad: number): string {
  return formatPermyriad(Math.min(10_000, permyriad))
}

function rungOfUse(rung: string, { nodePermyriad, enterPermyriad }: Code<'suppress.narrow' | 'suppress.freeze'>): string {
  return (
    `the node uses ${ofAllCpu(nodePermyriad)} of its CPU (rung ${rung}, from ${formatPermyriad(enterPermyriad)} or while ` +
    'online work waits for CPU)'
  )
}

function narrowed({ dedicated }: Code<'suppress.narrow'>): string {
  return dedicated === '' ? 'as few CPUs as their allowance needs' : `CPUs ${dedicated}, on which no online pod runs`
}

function memoryReason({ rung, qosClass, ...amounts }: Code<'memory.high'>): string {
  return (
    `${formatPermyriad(amounts.availablePermyriad)} of the memory is available (rung ${rung}, from ` +
    `${formatPermyriad(amounts.enterPermyriad)} or while tasks wait for memory): ${qosClass} pods give some back, this one of a working ` +
    `set of ${formatBytes(amounts.workingSetBytes)}`
  )
}

function ioReason({ sharePermyriad, groups, reservedDevices }: Code<'io.limits'>): string {
  const split = groups === 1 ? '' : `, in ${groups} equal parts`
  const reserved =
    reservedDevices.length === 0 ? '' : `; on ${reservedDevices.join(', ')}, kept for online work, suppressIo.onlineBps`
  return (
    `offline pods together may use ${formatPermyriad(sharePermyriad)} of their configured IO limits${split}; of that, OT pods at most ` +
    `suppressIo.otSharePermyriad${reserved}`
  )
}

/** Where suppression stands, with the sum that leads there. */
export function renderSuppression({ allowanceMilli, otAllowanceMilli, inputs, bound }: SuppressionState): string {
  const amount = milliCpuFormat([...amountsOf(inputs, bound), allowanceMilli, otAllowanceMilli])
  return (
    `allowance ${amount(allowanceMilli)} for BE and OT: ${formula(inputs, amount)}` +
    `${boundNote(bound, inputs, amount)}; OT alone ${amount(otAllowanceMilli)}`
  )
}

type Amount = (milli: number) => string

/** All that formula() and boundNote() tell: a sentence whose amounts are added up has one unit. */
function amountsOf(inputs: SuppressionInputs, bound: AllowanceBound): readonly number[] {
  const { capacityMilli, watermarkMilli, onlineMilli, marginMilli, floorMilli } = inputs
  const told = [capacityMilli, watermarkMilli, onlineMilli, marginMilli]
  if (bound === 'watermark' || bound === 'stale') return told
  return [...told, leavesMilli(inputs), ...(bound === 'floor' ? [floorMilli] : [])]
}

function leavesMilli({ watermarkMilli, onlineMilli, marginMilli }: SuppressionInputs): number {
  return Math.max(0, watermarkMilli - onlineMilli - marginMilli)
}

function formula(inputs: SuppressionInputs, amount: Amount): string {
  return (
    `watermark ${formatPermyriad(inputs.watermarkPermyriad)} of ${amount(inputs.capacityMilli)} is ` +
    `${amount(inputs.watermarkMilli)}, less ${amount(inputs.onlineMilli)} that online services and the system use ` +
    `(peak over the dwell time) and ${amount(inputs.marginMilli)} margin`
  )
}

function boundNote(bound: AllowanceBound, inputs: SuppressionInputs, amount: Amount): string {
  const leaves = amount(leavesMilli(inputs))
  switch (bound) {
    case 'watermark':
      return ''
    case 'growth':
      return `; growing back in steps towards ${leaves}`
    case 'dwell':
      return `; may grow towards ${leaves} once the dwell time is over`
    case 'deadBand':
      return `; kept, since ${leaves} is too small a change to write`
    case 'unused':
      return `; kept, though ${leaves} would be left, since offline work uses less than half of it`
    case 'floor':
      return `; that leaves ${leaves}, so the floor of ${amount(inputs.floorMilli)} holds`
    case 'cpuset':
      return `; that leaves ${leaves}, more than the best-effort CPUs can give`
    case 'stale':
      return '; held or lowered, since the CPU readings are missing or old'
    case 'pressure':
      return `; that leaves ${leaves}, but it is cut further, since online work waits for CPU`
    case 'pressureHold':
      return `; may grow towards ${leaves} once online work waits less for CPU`
  }
}

function otNote(bound: AllowanceBound): string {
  switch (bound) {
    case 'watermark':
    case 'cpuset':
      return ''
    case 'growth':
      return '; growing back in steps'
    case 'dwell':
      return '; may grow once the dwell time is over'
    case 'deadBand':
      return '; kept, since the change is too small to write'
    case 'unused':
      return '; kept, since offline work uses less than half of it'
    case 'floor':
      return '; the floor of OT holds'
    case 'stale':
      return '; held, since the CPU readings are missing or old'
    case 'pressure':
      return '; cut, since online work waits for CPU'
    case 'pressureHold':
      return '; may grow once online work waits less for CPU'
  }
}

function untaggedNote({ untaggedMilli, unsure }: Code<'suppress.root'>, amount: Amount): string {
  if (untaggedMilli === 0 && unsure === undefined) return ''
  return `; ${amount(untaggedMilli)} of untagged pods under the same root and room for their growth come on top`
}
