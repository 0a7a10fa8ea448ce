/**
 * What is looked up now and then and seldom changes: the numbers of block devices, and the groups that the agent runs in. Handed out as the
 * same objects until something has changed.
 */
import type { GroupPath, KernelPort } from '../model/index.ts'

/** Disks come and go by hand; a look-up opens a file for each. */
const DEVICES_MS = 1000
/** A process can be moved, but hardly ever is. */
const OWN_GROUPS_MS = 60_000

export class Lookups {
  /** Names of devices, or their numbers, as the configuration gives them. */
  deviceNames: readonly string[] = []
  readonly #kernel: KernelPort
  #devices: ReadonlyMap<string, string> = new Map()
  #devicesAtMs = -Infinity
  #names: readonly string[] = []
  #ownGroups: readonly GroupPath[]
  #ownAtMs: number | undefined

  constructor(kernel: KernelPort) {
    this.#kernel = kernel
    this.#ownGroups = kernel.findOwnGroups()
  }

  get ownGroups(): readonly GroupPath[] {
    return this.#ownGroups
  }

  get devices(): ReadonlyMap<string, string> {
    return this.#devices
  }

  /** Looks again at what is due. */
  refresh(nowMs: number): void {
    this.#ownAtMs ??= nowMs
    if (nowMs - this.#ownAtMs >= OWN_GROUPS_MS) this.#refreshOwn(nowMs)
    const isNew = this.#names !== this.deviceNames
    if (!isNew && nowMs - this.#devicesAtMs < DEVICES_MS) return
    this.#devicesAtMs = nowMs
    this.#names = this.deviceNames
    if (this.#names.length > 0 || this.#devices.size > 0) this.#refreshDevices()
  }

  #refreshOwn(nowMs: number): void {
    this.#ownAtMs = nowMs
    const groups = this.#kernel.findOwnGroups()
    if (groups.join('\n') !== this.#ownGroups.join('\n')) this.#ownGroups = groups
  }

  #refreshDevices(): void {
    const found = new Map<string, string>()
    for (const name of this.#names) {
      const device = this.#kernel.findDevice(name)
      if (device !== undefined) found.set(name, device)
    }
    const isSame = found.size === this.#devices.size && [...found].every(([name, device]) => this.#devices.get(name) === device)
    if (!isSame) this.#devices = found
  }
}
