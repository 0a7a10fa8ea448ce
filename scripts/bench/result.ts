/** What a bench comes to. */

export interface Result {
  readonly name: string
  readonly value: number
  readonly unit: 'ms' | 'MiB' | '%' | '×'
  readonly floor: number
  readonly ratio: number
  readonly goal: number
  readonly ok: boolean
  /** p99 of the handler alone, of which the goal is. */
  readonly handlerMs?: number
  /** More numbers, as further keys in --json. */
  readonly details?: Readonly<Record<string, unknown>>
  /** What people should read as well, a line each. */
  readonly lines?: readonly string[]
}

/** How the goal is judged, for people. */
function aimOf({ name, unit, goal }: Result): string {
  if (/^(sweep|push)/.test(name)) return `ratio ≤ ${goal}`
  return `${name === 'latency-hogs-share' ? '≥' : '≤'} ${goal} ${unit}`
}

export function render(result: Result): string {
  const { name, value, unit, floor, ratio, ok, handlerMs, lines = [] } = result
  const handler = handlerMs === undefined ? '' : `  handler ${handlerMs.toFixed(3)} ms`
  const line = `${name.padEnd(22)} ${value.toFixed(2).padStart(8)} ${unit.padEnd(3)}  floor ${floor.toFixed(2).padStart(8)}  ratio ${ratio.toFixed(2).padStart(5)}  goal ${aimOf(result).padEnd(12)} ${ok ? 'ok' : 'MISSED'}${handler}`
  return [line, ...lines.map((text) => `  ${text}`)].join('\n')
}

export function toJson({ details, lines: _lines, ...rest }: Result): string {
  return JSON.stringify({ ...rest, ...details })
}
