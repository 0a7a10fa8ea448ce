/**
 * The node's CPUs drawn by whose they are: a letter for a thread, the threads of a core side by side, a line or more for each NUMA node of
 * each socket. On a machine without SMT eight cores stand together.
 */
import type { CpuTopology } from '../../cpu/index.ts'
import type { PlacementState } from '../../model/index.ts'
import { WIDTH, wrap } from '../layout.ts'

/** In the order of the legend. */
const LETTERS = {
  X: 'LSX',
  R: 'LSR',
  r: 'LSR and offline pods',
  L: 'online pool',
  l: 'online pool and offline pods',
  B: 'offline pods only',
  S: 'reserved',
  '-': 'outside of the group of all pods',
  '.': 'no such thread online',
} as const
type Letter = keyof typeof LETTERS

/** The cores of one NUMA node that are on one socket. */
export interface CpuMapPart {
  readonly socket: number
  readonly node: number
  /** Number of the first core. */
  readonly core: number
  /** The letters of each core. */
  readonly cores: readonly string[]
  /** The CPU of each letter; a thread that is not online has none. */
  readonly cpus: readonly (readonly number[])[]
}

/** What each letter of a map means. */
export const CPU_MAP_LEGEND: Readonly<Record<string, string>> = LETTERS

/** The whole machine, in the order of its cores; `bestEffort` of the placement is what offline pods may use now. */
export function cpuMapOf(topology: CpuTopology, placement: PlacementState): readonly CpuMapPart[] {
  const letterOf = lettersOf(placement)
  const threads = Math.max(0, ...topology.cores.map(({ cpus }) => cpus.size))
  const parts: { socket: number; node: number; core: number; cores: string[]; cpus: number[][] }[] = []
  for (const core of topology.cores) {
    const first = topology.cpu(core.cpus.first ?? -1)
    if (first === undefined) continue
    const { socket, node } = first
    let part = parts.at(-1)
    if (part?.socket !== socket || part.node !== node) parts.push((part = { socket, node, core: core.id, cores: [], cpus: [] }))
    const cpus = [...core.cpus]
    part.cores.push(cpus.map(letterOf).join('').padEnd(threads, '.'))
    part.cpus.push(cpus)
  }
  return parts
}

function lettersOf({ exclusive, dedicated, pool, reserved, bestEffort }: PlacementState): (cpu: number) => Letter {
  const owned = new Map<number, Letter>()
  for (const { qosClass, cpus, shared } of exclusive) {
    for (const cpu of cpus) owned.set(cpu, qosClass === 'LSX' ? 'X' : shared.has(cpu) && bestEffort.has(cpu) ? 'r' : 'R')
  }
  return (cpu) => {
    const own = owned.get(cpu)
    if (own !== undefined) return own
    if (dedicated.has(cpu)) return 'B'
    if (pool.has(cpu)) return bestEffort.has(cpu) ? 'l' : 'L'
    return reserved.has(cpu) ? 'S' : '-'
  }
}

const CORES_TOGETHER = 8

/** Lines of at most WIDTH columns: first the legend of the letters that occur, with what has to be said beside it. */
export function renderCpuMap(parts: readonly CpuMapPart[], note?: string): readonly string[] {
  const used = new Set(parts.flatMap(({ cores }) => cores.flatMap((core) => core.split(''))))
  const legend = Object.entries(LETTERS).flatMap(([letter, meaning]) => (used.has(letter) ? [`${letter} ${meaning}`] : []))
  const labels = parts.flatMap((part) => [labelOf(part, part.core + part.cores.length)])
  const indent = Math.max(0, ...labels.map(({ length }) => length)) + 4
  const caption = `CPU map: ${legend.join(', ')}${note === undefined ? '' : `; ${note}`}`
  return [...wrap(caption, 0), ...parts.flatMap((part) => partLines(part, indent))]
}

function labelOf({ socket, node }: CpuMapPart, core: number): string {
  return `socket ${socket} node ${node} core ${core}`
}

function partLines(part: CpuMapPart, indent: number): readonly string[] {
  const together = part.cores[0]?.length === 1 ? CORES_TOGETHER : 1
  const words: string[] = []
  for (let at = 0; at < part.cores.length; at += together) words.push(part.cores.slice(at, at + together).join(''))
  const wordsPerLine = Math.max(1, Math.floor((WIDTH - indent + 1) / ((words[0]?.length ?? 1) + 1)))
  const lines: string[] = []
  for (let at = 0; at < words.length; at += wordsPerLine) {
    const label = `  ${labelOf(part, part.core + at * together)}`.padEnd(indent)
    lines.push(`${label}${words.slice(at, at + wordsPerLine).join(' ')}`)
  }
  return lines
}
