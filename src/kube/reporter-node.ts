/**
 * Makes the Node object say what is wished, in as few calls as it takes: one look at it when the agent starts, then every answer to a patch is the
 * next look. Three parts that fail by themselves: the condition, the annotations with the label, and the taint, which is the one thing that
 * others write too and is therefore read, changed and written back under its version.
 */
import type { ApiCaller } from './api.ts'
import { conditionPatch, type ConditionWish } from './node-conditions.ts'
import {
  hasTaint,
  metadataPatch,
  type NodeView,
  type NodeWish,
  type Switches,
  taintPatch,
  viewOf,
  wantsTaint,
} from './node-patch.ts'
import { isStatus, type ReporterClock } from './reporter-calls.ts'

/**
 * How often the heartbeat of conditions is renewed, or a message that moved alone is told: as often as the kubelet renews those of its own when nothing
 * has changed.
 */
const HEARTBEAT_MS = 5 * 60_000

export interface NodeWriterOptions {
  readonly api: ApiCaller
  readonly node: string
  readonly domain: string
  readonly switches: Switches
  /** Shortest time between two writes of numbers alone, in milliseconds. */
  readonly annotateMs: number
  readonly clock: ReporterClock
  readonly random: () => number
}

export class NodeWriter {
  readonly #options: NodeWriterOptions
  readonly #path: string
  /** Spread from five to six minutes, so that the nodes of a cluster don't beat together. */
  readonly #heartbeatMs: number
  #view: NodeView | undefined
  #wasHot: boolean | undefined
  #lookedMs = -Infinity
  #beatMs = -Infinity
  #toldHot: boolean | undefined
  #toldMs = -Infinity

  constructor(options: NodeWriterOptions) {
    this.#options = options
    this.#path = `/api/v1/nodes/${encodeURIComponent(options.node)}`
    this.#heartbeatMs = HEARTBEAT_MS * (1 + options.random() / 5)
  }

  /** Whether the node was called hot when it was first looked at; undefined until then. */
  get wasHot(): boolean | undefined {
    return this.#wasHot
  }

  /** Reads the node when it was not seen for long: somebody may have taken away what the agent has put there. */
  async look(): Promise<void> {
    const { api, switches, clock } = this.#options
    const anything = switches.condition || switches.annotations || switches.hotLabel || switches.hotTaint
    const oldMs = anything ? 2 * HEARTBEAT_MS : Infinity
    if (this.#view !== undefined && clock.monotonicMs() - this.#lookedMs < oldMs) return
    this.#see(await api.call('getNode', { path: this.#path }))
  }

  /** Writes those conditions that are news, or all when the heartbeat is due. */
  async writeConditions(wishes: readonly ConditionWish[]): Promise<void> {
    if (this.#view === undefined) return
    const { api, switches, clock } = this.#options
    const nowMs = clock.monotonicMs()
    const body = conditionPatch(wishes, this.#view.conditions, {
      wanted: switches.condition,
      heartbeatDue: nowMs - this.#beatMs >= this.#heartbeatMs,
      wallMs: clock.wallMs(),
    })
    if (body === undefined) return
    const contentType = 'application/strategic-merge-patch+json'
    this.#see(await api.call('patchNodeStatus', { path: `${this.#path}/status`, body, contentType }))
    this.#beatMs = nowMs
  }

  async writeMetadata(wish: NodeWish): Promise<void> {
    if (this.#view === undefined) return
    const { api, switches, clock, domain, annotateMs } = this.#options
    const nowMs = clock.monotonicMs()
    // Every write of a Node goes to all who watch nodes: numbers that move a little all the time must not.
    if (wish.hot !== undefined && wish.hot === this.#toldHot && nowMs - this.#toldMs < annotateMs) return
    const body = metadataPatch(wish, this.#view, { switches, domain, wallMs: clock.wallMs() })
    if (body === undefined) return
    this.#see(await api.call('patchNode', { path: this.#path, body, contentType: 'application/merge-patch+json' }))
    this.#toldHot = wish.hot
    this.#toldMs = nowMs
  }

  /** Reads the node afresh before it writes, and once more when somebody was faster. */
  async writeTaint(wish: NodeWish): Promise<void> {
    const { switches, domain } = this.#options
    const wanted = wantsTaint(wish, switches)
    if (this.#view === undefined || hasTaint(this.#view, domain) === wanted) return
    try {
      await this.#changeTaint(wanted)
    } catch (thrown) {
      if (!isStatus(thrown, 409)) throw thrown
      await this.#changeTaint(wanted)
    }
  }

  async #changeTaint(wanted: boolean): Promise<void> {
    const { api, domain } = this.#options
    const view = this.#see(await api.call('getNode', { path: this.#path }))
    if (hasTaint(view, domain) === wanted) return
    const body = taintPatch(wanted, view, domain)
    this.#see(await api.call('patchNode', { path: this.#path, body, contentType: 'application/merge-patch+json' }))
  }

  #see(answer: unknown): NodeView {
    this.#view = viewOf(answer, this.#options.domain)
    this.#wasHot ??= this.#view.conditions.ColocationHot?.status === 'True'
    this.#lookedMs = this.#options.clock.monotonicMs()
    return this.#view
  }
}
