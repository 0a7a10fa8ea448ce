/**
 * What a group may read and write on block devices, per device: the value of the knob ioMax. Immutable.
 * Kernel: io.max in admin-guide/cgroup-v2.rst, blkio.throttle.* in admin-guide/cgroup-v1/blkio-controller.rst. Neither knows a limit of 0.
 */

/** Limits of one device; null is no limit. */
export interface DeviceLimits {
  readonly readBps: number | null
  readonly writeBps: number | null
  readonly readIops: number | null
  readonly writeIops: number | null
}

export const NO_DEVICE_LIMITS: DeviceLimits = { readBps: null, writeBps: null, readIops: null, writeIops: null }

const KEYS = { rbps: 'readBps', wbps: 'writeBps', riops: 'readIops', wiops: 'writeIops' } as const
const FIELDS = Object.values(KEYS)

export class IoLimits {
  static readonly NONE = new IoLimits(new Map())
  /** By device number, as in `8:16`. A device without any limit may be listed: a claim for it is one to have none. */
  readonly devices: ReadonlyMap<string, DeviceLimits>

  private constructor(devices: ReadonlyMap<string, DeviceLimits>) {
    this.devices = devices
  }

  static of(devices: Iterable<readonly [string, DeviceLimits]>): IoLimits {
    return new IoLimits(new Map([...devices].sort(([a], [b]) => (a < b ? -1 : 1))))
  }

  /** Reads the text of io.max, a line per device; undefined for what is not such a text. */
  static parse(text: string): IoLimits | undefined {
    const devices: [string, DeviceLimits][] = []
    for (const line of text.split('\n')) {
      if (line.trim() === '') continue
      const [device = '', ...words] = line.trim().split(/\s+/)
      if (!/^\d+:\d+$/.test(device)) return undefined
      const limits: { -readonly [Key in keyof DeviceLimits]: DeviceLimits[Key] } = { ...NO_DEVICE_LIMITS }
      for (const word of words) {
        const [, key = '', amount = ''] = /^(rbps|wbps|riops|wiops)=(max|\d+)$/.exec(word) ?? []
        if (key === '') return undefined
        limits[KEYS[key as keyof typeof KEYS]] = amount === 'max' ? null : exactOrNone(Number(amount))
      }
      devices.push([device, limits])
    }
    return IoLimits.of(devices)
  }

  /** Limits of a device; none where it is not listed. */
  of(device: string): DeviceLimits {
    return this.devices.get(device) ?? NO_DEVICE_LIMITS
  }

  /** These limits, and those of `others` for devices that are not listed here. */
  over(others: IoLimits): IoLimits {
    return IoLimits.of([...others.devices, ...this.devices])
  }

  /** The tighter limit of both, device by device. */
  tightest(other: IoLimits): IoLimits {
    const devices = new Set([...this.devices.keys(), ...other.devices.keys()])
    return IoLimits.of([...devices].map((device) => [device, tighter(this.of(device), other.of(device))]))
  }

  equals(other: IoLimits): boolean {
    const devices = new Set([...this.devices.keys(), ...other.devices.keys()])
    return [...devices].every((device) => FIELDS.every((field) => this.of(device)[field] === other.of(device)[field]))
  }

  /** The text of io.max, a line per device that has a limit or is claimed to have none. */
  toString(): string {
    return [...this.devices].map(([device, limits]) => formatDevice(device, limits)).join('\n')
  }
}

/** One line of io.max: `8:16 rbps=2097152 wbps=max riops=max wiops=120`. */
export function formatDevice(device: string, limits: DeviceLimits): string {
  const words = Object.entries(KEYS).map(([key, field]) => `${key}=${limits[field] ?? 'max'}`)
  return `${device} ${words.join(' ')}`
}

/** A limit that a number does not hold exactly could not be put back as it was; no disk comes near it, so it is as good as none. */
export function exactOrNone(limit: number): number | null {
  return Number.isSafeInteger(limit) ? limit : null
}

/**
 * The devices of `written` of which every limit that `now` has stands in one of those values, or in `before`.
 * Kernel: under v1 each of the four limits is a file of its own, so a writer that was killed leaves some of one value and some of another.
 */
export function devicesWritten(now: IoLimits, written: readonly IoLimits[], before: IoLimits): string[] {
  const devices = new Set(written.flatMap((limits) => [...limits.devices.keys()]))
  return [...devices].filter((device) => {
    const known = [before.of(device), ...written.flatMap((limits) => limits.devices.get(device) ?? [])]
    return FIELDS.every((field) => known.some((limits) => limits[field] === now.of(device)[field]))
  })
}

function tighter(a: DeviceLimits, b: DeviceLimits): DeviceLimits {
  const least = (x: number | null, y: number | null): number | null => (x === null ? y : y === null ? x : Math.min(x, y))
  return {
    readBps: least(a.readBps, b.readBps),
    writeBps: least(a.writeBps, b.writeBps),
    readIops: least(a.readIops, b.readIops),
    writeIops: least(a.writeIops, b.writeIops),
  }
}
