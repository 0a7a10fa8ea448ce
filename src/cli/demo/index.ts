/** The verb `demo`: chooses the node to play on and the way to show it, and cleans up however it ends. */
import { availableParallelism, cpus } from 'node:os'
import { AgentError, EXIT, messageOf, type ExitCode } from '../../model/index.ts'
import { colours, isDumb } from '../colour.ts'
import { openScreen } from '../screen.ts'
import type { Bed } from './bed.ts'
import type { Show } from './events.ts'
import { jsonLines, plainLines } from './lines.ts'
import { liveView } from './live.ts'
import { pause } from './pause.ts'
import { RealBed } from './real-bed.ts'
import { play } from './scenario.ts'
import { MOST_REAL_CPUS } from './settings.ts'
import { SimBed } from './sim-bed.ts'

export { burn } from './load.ts'

export interface DemoOptions {
  readonly json: boolean
  /** Play on the simulated node even where real cgroups could be used. */
  readonly simulated: boolean
  /** Where to serve the pages; 0 takes any free port, undefined serves none. */
  readonly httpPort?: number | undefined
}

/** Plays the demo. Exit code 1 when a file was not restored or the stand-in kubelet found fault with the plugin. */
export async function demo(options: DemoOptions): Promise<ExitCode> {
  const abort = new AbortController()
  const stop = (): void => abort.abort()
  // Before there is anything to clean up, and for good: an impatient second Ctrl-C must not kill the cleaning.
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, stop)
  // Nobody looks any more: `| head -1`, or a terminal that was closed.
  process.stdout.on('error', stop)
  const bed = await openBed(options.simulated, abort.signal)
  const summary = await play({
    bed,
    show: showFor(options),
    signal: abort.signal,
    random: Math.random,
    httpPort: options.httpPort,
  })
  if (summary === undefined) {
    process.stderr.write('stopped; every process, group, socket and file of the demo is removed\n')
    return EXIT.failed
  }
  const answered = summary.reactionMs !== undefined || summary.spikeAtFloor
  const clean = summary.filesDifferent.length === 0 && summary.kubeletViolations.length === 0 && answered
  return clean ? EXIT.ok : EXIT.failed
}

/** Above this share of the machine in other hands there is not enough left to show anything but suppression. */
const BUSY_SHARE = 0.4
const BUSY_LOOKS = 6
const BUSY_LOOK_MS = 1000

/** When aborted it hands out what it has so far, at once: the play closes it. */
async function openBed(simulated: boolean, signal: AbortSignal): Promise<Bed> {
  if (simulated) return new SimBed('you asked for it')
  const count = availableParallelism()
  if (count > MOST_REAL_CPUS) return new SimBed(`${count} CPUs are more than the demo can make hot`)
  try {
    const bed = await RealBed.open(count, signal)
    const busy = await busyShare(signal)
    if (busy <= BUSY_SHARE || signal.aborted) return bed
    await bed.close()
    return new SimBed(`other processes use ${Math.round(busy * 100)} % of this machine, and the demo needs it mostly idle`)
  } catch (thrown) {
    if (thrown instanceof AgentError) return new SimBed(`real cgroups can't be used here: ${messageOf(thrown)}`)
    throw thrown
  }
}

/** The least busy of a few looks: what somebody else starts and ends in a moment does not matter, nor do the demo's own processes coming up. */
async function busyShare(signal: AbortSignal): Promise<number> {
  let least = 1
  for (let look = 0; look < BUSY_LOOKS && least > BUSY_SHARE / 2 && !signal.aborted; look += 1) {
    const before = cpuTimes()
    await pause(BUSY_LOOK_MS, signal)
    const after = cpuTimes()
    least = Math.min(least, (after.busy - before.busy) / Math.max(1, after.all - before.all))
  }
  return least
}

function cpuTimes(): { readonly busy: number; readonly all: number } {
  let busy = 0
  let all = 0
  for (const { times } of cpus()) {
    busy += times.user + times.nice + times.sys + times.irq
    all += times.user + times.nice + times.sys + times.irq + times.idle
  }
  return { busy, all }
}

function showFor(options: DemoOptions): Show {
  const write = (text: string): void => void process.stdout.write(text)
  if (options.json) return jsonLines(write)
  if (!process.stdout.isTTY || isDumb()) return plainLines(write)
  const columns = (): number => process.stdout.columns
  return liveView(openScreen(write, columns), write, colours(process.stdout))
}
