/**
 * The work of a demo pod: one process that burns the share of a CPU it is told on standard input, in milli-CPU, one number a line. It
 * ends when its standard input does, so that it can't outlive the demo, however that ends.
 */
import { createInterface } from 'node:readline'
import { performance } from 'node:perf_hooks'

/** Short beside the agent's measuring window of 100 ms; each turn of the timer costs the process some 0.3 ms on a slow machine. */
const PERIOD_MS = 20

/** Burns until standard input ends. */
export function burn(): void {
  let demandMilli = 0
  const lines = createInterface({ input: process.stdin })
  lines.on('line', (line) => (demandMilli = Math.min(1000, Math.max(0, Number(line) || 0))))
  lines.on('close', () => process.exit(0))
  const period = (): void => {
    const started = performance.now()
    const busyMs = (PERIOD_MS * demandMilli) / 1000
    while (performance.now() - started < busyMs);
    setTimeout(period, Math.max(0, PERIOD_MS - busyMs))
  }
  period()
}
