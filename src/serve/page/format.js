/** Numbers as people read them; the words are those of the text pages. */

/** Milli-CPU: `1300m`, or `2.4 CPU` from two CPUs upwards. @param {number | null | undefined} milli */
export function cpuText(milli) {
  if (milli === undefined || milli === null) return '–'
  const rounded = Math.round(milli)
  return Math.abs(rounded) >= 2000 ? `${(rounded / 1000).toFixed(1)} CPU` : `${rounded}m`
}

const STEPS = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB']

/** Bytes with a binary prefix. @param {number | undefined} bytes */
export function bytesText(bytes) {
  if (bytes === undefined) return '–'
  let value = bytes
  let step = 0
  for (; Math.abs(value) >= 1024 && step < STEPS.length - 1; step += 1) value /= 1024
  return `${value.toFixed(Number.isInteger(value) || Math.abs(value) >= 100 ? 0 : 1)} ${STEPS[step]}`
}

/** A share in permyriad as a percentage. @param {number | null | undefined} permyriad */
export function shareText(permyriad) {
  return permyriad === undefined || permyriad === null ? '–' : `${Number((permyriad / 100).toFixed(1))} %`
}

/** A span in its most telling units. @param {number} ms */
export function spanText(ms) {
  if (ms < 1000) return `${Math.round(ms)} ms`
  if (ms < 60_000) return `${(ms / 1000).toFixed(1)} s`
  const minutes = Math.floor(ms / 60_000)
  if (minutes < 60) return `${minutes} min ${Math.floor((ms % 60_000) / 1000)} s`
  return `${Math.floor(minutes / 60)} h ${minutes % 60} min`
}

/** The time of day, where the reader is. @param {number} wallMs Unix time */
export function clockText(wallMs) {
  const time = new Date(wallMs)
  return [time.getHours(), time.getMinutes(), time.getSeconds()].map((part) => String(part).padStart(2, '0')).join(':')
}

/** `1 pod`, `12 pods`. @param {number} amount @param {string} noun */
export function countText(amount, noun) {
  return `${amount} ${noun}${amount === 1 ? '' : 's'}`
}

/** Most pods share a handful of lists, and each is looked at every second. @type {Map<string, ReadonlySet<number>>} */
const parsed = new Map()
const MOST_PARSED = 1000

/**
 * The CPUs of a kernel list such as `0-3,8`.
 * @param {string | undefined} list
 * @returns {ReadonlySet<number>}
 */
export function parseCpus(list = '') {
  const known = parsed.get(list)
  if (known !== undefined) return known
  /** @type {Set<number>} */
  const cpus = new Set()
  for (const part of list === '' ? [] : list.split(',')) {
    const [first = 0, last = first] = part.split('-').map(Number)
    for (let cpu = first; cpu <= last; cpu += 1) cpus.add(cpu)
  }
  if (parsed.size >= MOST_PARSED) parsed.clear()
  parsed.set(list, cpus)
  return cpus
}
