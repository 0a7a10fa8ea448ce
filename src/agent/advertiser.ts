/**
 * What the agent tells the one who sells offline capacity: how much there is, and how much of what was promised the listed pods account for. Without
 * a seller it does nothing.
 */
import type { Publisher } from './options.ts'
import type { Decision, NodeSnapshot, OfflineResource } from '../model/index.ts'
import { heldUnits, noUnits, OFFLINE_RESOURCES, onlyObserves } from '../model/index.ts'

type Units = Readonly<Record<OfflineResource, number>>

export class Advertiser {
  readonly #publisher: Publisher | undefined
  /** What the listed pods account for. */
  #listed: Units = noUnits()

  constructor(publisher: Publisher | undefined) {
    this.#publisher = publisher
  }

  /** Units that the kubelet was promised and that no listed pod accounts for. */
  get inFlightUnits(): Partial<Record<OfflineResource, number>> {
    const allocated = this.#publisher?.allocatedUnits()
    if (allocated === undefined) return {}
    const inFlight: Partial<Record<OfflineResource, number>> = {}
    for (const resource of OFFLINE_RESOURCES) inFlight[resource] = Math.max(0, allocated[resource] - this.#listed[resource])
    return inFlight
  }

  /** Takes the pods of a calm tick, with the full names that they ask under. */
  settle({ pods, everRead, atMs }: NodeSnapshot['pods'], fullNames: Readonly<Record<OfflineResource, string>>): void {
    const units = noUnits()
    for (const resource of OFFLINE_RESOURCES) {
      const name = fullNames[resource]
      for (const pod of pods) units[resource] += heldUnits(pod, name)
    }
    this.#listed = units
    // Before the pods were read there is nothing to tell: no pod would mean that everything is free again.
    if (everRead) this.#publisher?.retainAllocations(units, atMs)
  }

  /** Nothing new is sold while selling is off. No offers while it is on mean that the rule can't tell yet, and what is advertised stands. */
  publish(decision: Pick<Decision, 'offers' | 'observed'>, isOn: boolean): void {
    const { offers } = decision
    // Only observed, selling is as good as off.
    const sells = isOn && !onlyObserves(decision, 'capacity')
    if (this.#publisher === undefined || (offers.length === 0 && sells)) return
    const units = noUnits()
    for (const offer of offers) units[offer.resource] = offer.units
    this.#publisher.publish(units)
  }

  withdraw(): void {
    this.#publisher?.publish(noUnits())
  }
}
