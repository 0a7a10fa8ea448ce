/**
 * Kubernetes quantities: `100m`, `1.5`, `512Mi`, `1e3`. Configuration and pod manifests both hold them, so they are parsed in the
 * one room that both may import. Arithmetic is exact (BigInt): a float turns `0.1` CPU into 100.00000000000001 milli-CPU, and
 * rounding up, as Kubernetes does, would make that 101.
 * Source: k8s.io/apimachinery pkg/api/resource/quantity.go (grammar in the comment of type Quantity), 1.36.
 */
import { AgentError } from './errors.ts'
import { bytes, milliCpu, type Bytes, type MilliCpu } from './units.ts'

const GRAMMAR = /^([+-]?)(\d*)(?:\.(\d*))?(?:([numkMGTPE]|[KMGTPE]i)|[eE]([+-]?\d+))?$/

const DECIMAL_EXPONENTS: Readonly<Record<string, number>> = { n: -9, u: -6, m: -3, k: 3, M: 6, G: 9, T: 12, P: 15, E: 18 }
const BINARY_EXPONENTS: Readonly<Record<string, number>> = { Ki: 10, Mi: 20, Gi: 30, Ti: 40, Pi: 50, Ei: 60 }

/** Longer texts are nobody's quantity; the bound keeps a hostile manifest from making BigInt work for long. */
const MAX_TEXT = 64
/** Exponents beyond this leave the range of safe integers, or of anything above zero, whatever the digits. */
const MAX_EXPONENT = 100

/**
 * Milli-CPU of a CPU quantity, rounded up to a whole milli-CPU: `100m` → 100, `0.1` → 100, `2` → 2000, `100u` → 1.
 * A number is taken as the text it prints as. Throws E_CONFIG, naming the text, if it is no quantity, negative or above 2^53.
 */
export function parseCpuQuantity(text: string | number): MilliCpu {
  return milliCpu(parseScaled(String(text), 3))
}

/**
 * Bytes of a memory quantity, rounded up to a whole byte: `512Mi` → 536870912, `1G` → 1000000000, `1e3` → 1000.
 * A number is taken as the text it prints as. Throws E_CONFIG, naming the text, if it is no quantity, negative or above 2^53.
 */
export function parseMemoryQuantity(text: string | number): Bytes {
  return bytes(parseScaled(String(text), 0))
}

/** The quantity times 10^`scale`, rounded up. */
function parseScaled(text: string, scale: number): number {
  const match = text.length > MAX_TEXT ? null : GRAMMAR.exec(text)
  const [, sign = '', whole = '', fraction = '', suffix = '', exponentText = '0'] = match ?? []
  const digits = whole + fraction
  if (match === null || digits === '')
    throw new AgentError('E_CONFIG', `not a quantity: ${quote(text)} (write 100m, 1.5 or 512Mi)`)
  const significand = BigInt(digits)
  if (significand === 0n) return 0
  if (sign === '-') throw new AgentError('E_CONFIG', `negative quantity: ${quote(text)}`)

  const exponent = (DECIMAL_EXPONENTS[suffix] ?? 0) + Number(exponentText) - fraction.length + scale
  if (exponent < -MAX_EXPONENT) return 1
  const scaled = exponent > MAX_EXPONENT ? null : scaleUp(significand << BigInt(BINARY_EXPONENTS[suffix] ?? 0), exponent)
  if (scaled === null || scaled > Number.MAX_SAFE_INTEGER) throw new AgentError('E_CONFIG', `quantity too large: ${quote(text)}`)
  return Number(scaled)
}

/** `value × 10^exponent`, rounded up. */
function scaleUp(value: bigint, exponent: number): bigint {
  if (exponent >= 0) return value * 10n ** BigInt(exponent)
  const divisor = 10n ** BigInt(-exponent)
  return (value + divisor - 1n) / divisor
}

function quote(text: string): string {
  return JSON.stringify(text.length > MAX_TEXT ? `${text.slice(0, MAX_TEXT)}…` : text)
}
