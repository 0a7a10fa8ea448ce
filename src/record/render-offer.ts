/**
 * Offers as sentences: what is advertised of a resource, in units and in CPU or bytes, the terms of the formula and what bound
 * it. Beside render.ts because amounts here are CPU for one resource and bytes for the next.
 */
import type { Offer, OfferBecause, OfflineResource } from '../model/index.ts'
import { formatBytes, formatMilliCpu, formatPermyriad, milliCpuFormat } from '../model/index.ts'
import { count } from './layout.ts'

const TERMS: Readonly<Record<string, string>> = {
  reclaimMilli: 'reclaimable',
  reclaimBytes: 'reclaimable',
  onlinePeakMilli: 'peak of online pods and the system',
  onlinePeakBytes: 'peak of online pods and the system',
  bestEffortMilli: 'CPUs of the best-effort set',
  beUnusedMilli: 'asked for by BE and never used',
  beUnusedBytes: 'asked for by BE and never used',
  ratio: 'share of it that is offered',
}

/** An amount of a resource for people: milli-CPU for the CPU resources, bytes for the memory ones. */
export function renderAmount(resource: OfflineResource, amount: number): string {
  return resource.endsWith('cpu') ? formatMilliCpu(amount) : formatBytes(Math.round(amount))
}

/** One term of the formula with its unit, which the end of its name tells; `milli` renders what is CPU. */
export function renderTerm(name: string, value: number, milli: (amount: number) => string = formatMilliCpu): string {
  const label = TERMS[name] ?? name
  if (name.endsWith('Milli')) return `${label} ${milli(value)}`
  if (name.endsWith('Bytes')) return `${label} ${formatBytes(Math.round(value))}`
  return name === 'ratio' ? `${label} ${formatPermyriad(value * 10_000)}` : `${label} ${value}`
}

/** Why so many units are offered. */
export function renderOfferBecause(resource: OfflineResource, because: OfferBecause): string {
  const terms = Object.entries(because.terms)
  const milli = milliCpuFormat([because.amount, ...terms.flatMap(([name, value]) => (name.endsWith('Milli') ? [value] : []))])
  const texts = terms.map(([name, value]) => renderTerm(name, value, milli))
  const sum = texts.length === 0 ? '' : ` (${texts.join(', ')})`
  const amount = resource.endsWith('cpu') ? milli(because.amount) : renderAmount(resource, because.amount)
  return `the formula gives ${amount}${sum}${boundNote(because)}`
}

/** `be-cpu 12 units of 100m (1200m): …`. */
export function renderOffer({ resource, units, because }: Offer): string {
  const amount = renderAmount(resource, units * because.unitSize)
  const unit = renderAmount(resource, because.unitSize)
  return `${resource} ${count(units, 'unit')} of ${unit} (${amount}): ${renderOfferBecause(resource, because)}`
}

function boundNote({ bound, allocatedUnits }: OfferBecause): string {
  switch (bound) {
    case 'formula':
      return ''
    case 'besteffort-cpus':
      return '; all CPUs of the best-effort set'
    case 'allocated':
      return `; but ${count(allocatedUnits, 'unit')} ${allocatedUnits === 1 ? 'is' : 'are'} allocated, and an offer is never below that: nothing new is scheduled`
    case 'hysteresis':
      return '; kept as it was, since the growth is too small to advertise'
    case 'warm-up':
      return '; the history is still short, so requests stand in for peaks and young BE pods give nothing'
    case 'hold':
      return '; but sales are stopped while memory is short or before an eviction: what is allocated is all that is offered'
    case 'stale':
      return '; kept as it was, since the readings are old'
  }
}
