/** The verb `top`: what a running agent gives to each class and pod, live. */
import { AgentError, EXIT } from '../model/index.ts'
import type { Status } from '../record/index.ts'
import { realNow } from '../compose.ts'
import type { Config } from '../config/index.ts'
import { CONFIG_FLAGS, durationFlag, type Parsed } from './args.ts'
import { ADDRESS_FLAGS, ask } from './client.ts'
import { colours, isDumb } from './colour.ts'
import { configOf } from './settings.ts'
import { live } from './top/live.ts'
import { START } from './top/state.ts'
import { topLines } from './top/view.ts'
import { print, type Verb } from './verb.ts'

const DEFAULT_INTERVAL_MS = 1000
const LEAST_INTERVAL_MS = 100
const MOST_INTERVAL_MS = 3_600_000
/** So many calm ticks may fail to come before what is shown is called stale; and never less than the shortest time. */
const STALE_TICKS = 3
const STALE_MS = 3000

export const top: Verb = {
  usage: 'kube-agent top [--interval 1s] [--once] [--json] [--address HOST:PORT]',
  summary: 'Watch what each class and pod uses, may use, and why.',
  details: `
Asks the running agent and shows the node against its watermark, the classes with what they may use,
and the pods. Keys: s sorts, / filters, c chooses a class, p pauses, ? lists all of them, q quits.
In a pipe, or with --once, it prints one view of all pods as text and ends.`,
  flags: {
    ...CONFIG_FLAGS,
    ...ADDRESS_FLAGS,
    interval: { type: 'string', value: 'TIME', help: 'How often the agent is asked, as in 500ms, 1s (default) or 1m.' },
    once: { type: 'boolean', help: 'Print one view and end.' },
    json: { type: 'boolean', help: 'Print one view as JSON and end.' },
  },
  maxOperands: 0,
  run: async (parsed) => {
    const { config } = configOf(parsed)
    const intervalMs =
      durationFlag(parsed, 'interval', { leastMs: LEAST_INTERVAL_MS, mostMs: MOST_INTERVAL_MS }) ?? DEFAULT_INTERVAL_MS
    const first = await statusOf(parsed, config)
    const now = (): number => realNow().nowMs
    const staleMs = Math.max(STALE_MS, config.loop.calmMs * STALE_TICKS)
    if (parsed.flags['json'] === true) print(JSON.stringify(topData(first), undefined, 2))
    else if (parsed.flags['once'] === true || !process.stdout.isTTY || isDumb()) print(onceText(first, staleMs))
    else return live({ first, fetchStatus: (signal) => statusOf(parsed, config, signal), intervalMs, staleMs, now })
    return EXIT.ok
  },
}

/** Throws E_NO_AGENT also where something else answers. */
async function statusOf(parsed: Parsed, config: Config, signal?: AbortSignal): Promise<Status> {
  const { status, body } = await ask(parsed, config, '/statusz?format=json', { accept: 'application/json', signal })
  const answer = parseObject(body)
  if (status !== 200 || answer === undefined || !('loop' in answer) || !('problems' in answer))
    throw new AgentError('E_NO_AGENT', `what answers is no kube-agent: /statusz gave ${status} and no status`)
  return answer as Status
}

function parseObject(text: string): object | undefined {
  try {
    const value: unknown = JSON.parse(text)
    return typeof value === 'object' && value !== null ? value : undefined
  } catch {
    return undefined
  }
}

function topData({ nodeName, mode, lastTick, allowance, classes, pods, problems }: Status) {
  return { nodeName, mode, lastTick, allowance, classes, pods, problems }
}

function onceText(status: Status, staleMs: number): string {
  const view = { status, sinceMs: 0, trouble: undefined, state: START, columns: Infinity, rows: Infinity, staleMs }
  return topLines({ ...view, colours: colours(process.stdout) }).join('\n')
}
