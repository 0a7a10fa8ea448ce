/**
 * Why offline work is squeezed, as sentences: the allowance of CPU with the sum that leads to it, the rungs that narrow and freeze, and
 * what is done about memory and IO. Beside render.ts, which leads here for these codes.
 */
import type { AllowanceBound, Because, SuppressionInputs, SuppressionState } from '../model/index.ts'
import { formatBytes, formatMilliCpu, formatPermyriad } from '../model/index.ts'

/** Reasons of the rules that suppress offline work. */
export type SqueezeBecause = Extract<Because, { code: `suppress.${string}` | `memory.${string}` | `io.${string}` }>
type Code<Name extends Because['code']> = Extract<Because, { code: Name }>

/** Why a rule that suppresses wants a value. */
export function renderSqueezeBecause(because: SqueezeBecause): string {
  switch (because.code) {
    case 'suppress.root':
      return `${formula(because.inputs)}${boundNote(because.bound, because.inputs)}${untaggedNote(because)}`
    case 'suppress.beside':
      return (
        `online pods live below the same root (they use ${formatMilliCpu(because.untaggedMilli)}), so BE and OT pods are held to their ` +
        `allowance of ${formatMilliCpu(because.allowanceMilli)} one by one, and all ${formatMilliCpu(because.capacityMilli)} of the node come on top here`
      )
    case 'suppress.be':
      return (
        `BE pods together get ${formatMilliCpu(because.beMilli)} of the allowance of ${formatMilliCpu(because.allowanceMilli)}` +
        `${otNote(because.bound)}, split by what they asked for${wantsNote(because.wantsMilli)}`
      )
    case 'suppress.ot':
      return (
        `OT pods together get ${formatMilliCpu(because.otAllowanceMilli)}, split by what they asked for: allowance ` +
        `${formatMilliCpu(because.allowanceMilli)}, of which BE demands ${formatMilliCpu(because.beDemandMilli)}${otNote(because.bound)}`
      )
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
export function renderSuppression(state: SuppressionState): string {
  return (
    `allowance ${formatMilliCpu(state.allowanceMilli)} for BE and OT: ${formula(state.inputs)}` +
    `${boundNote(state.bound, state.inputs)}; OT alone ${formatMilliCpu(state.otAllowanceMilli)}`
  )
}

function formula(inputs: SuppressionInputs): string {
  return (
    `watermark ${formatPermyriad(inputs.watermarkPermyriad)} of ${formatMilliCpu(inputs.capacityMilli)} is ` +
    `${formatMilliCpu(inputs.watermarkMilli)}, less ${formatMilliCpu(inputs.onlineMilli)} that online services and the system use ` +
    `(peak over the dwell time) and ${formatMilliCpu(inputs.marginMilli)} margin`
  )
}

function boundNote(bound: AllowanceBound, inputs: SuppressionInputs): string {
  const leaves = formatMilliCpu(Math.max(0, inputs.watermarkMilli - inputs.onlineMilli - inputs.marginMilli))
  switch (bound) {
    case 'watermark':
      return ''
    case 'growth':
      return `; growing back in steps towards ${leaves}`
    case 'dwell':
      return `; may grow towards ${leaves} once the dwell time is over`
    case 'deadBand':
      return `; kept, since ${leaves} is too small a change to write`
    case 'floor':
      return `; that leaves ${leaves}, so the floor of ${formatMilliCpu(inputs.floorMilli)} holds`
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

function wantsNote(wantsMilli: number | undefined): string {
  return wantsMilli === undefined
    ? ''
    : `; this one by its use wants no more than ${formatMilliCpu(wantsMilli)}, the rest is others' first`
}

function untaggedNote({ untaggedMilli, unsure }: Code<'suppress.root'>): string {
  if (untaggedMilli === 0 && unsure === undefined) return ''
  return `; ${formatMilliCpu(untaggedMilli)} of untagged pods under the same root and room for their growth come on top`
}
