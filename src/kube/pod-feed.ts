/**
 * A pod source's face, the same for every server that pods come from: the list, its age, since when and why the server is lost, and word of a
 * change to the listeners, together for changes that come together. A lost server changes nothing in the list: it only grows old.
 */
import type { PodList, PodSource } from '../model/index.ts'
import { type KubeLogger, SILENT } from './credentials.ts'
import { PodKeeper } from './pod-list.ts'

const GATHER_MS = 20

export interface PodFeedOptions {
  /** Where the pods come from, for people. */
  readonly source: string
  readonly originOf: (namespace: string, name: string) => string
  readonly versioned: boolean
  readonly nodeName: string
  readonly maxPods: number
  /** Monotonic milliseconds. */
  readonly now: () => number
  /** @default Date.now */
  readonly wallNow?: () => number
  /** @default SILENT */
  readonly logger?: KubeLogger
  /** Problems that others know of: with the credentials. */
  readonly otherProblems: () => readonly string[]
}

export class PodFeed implements PodSource {
  readonly keeper: PodKeeper
  readonly #options: PodFeedOptions
  readonly #logger: KubeLogger
  readonly #listeners: (() => void)[] = []
  #toldRevision = 0
  #everRead = false
  #atMs: number
  #lost: { readonly since: string; readonly why: string } | undefined
  #gathering: NodeJS.Timeout | undefined
  #closed = false

  constructor(options: PodFeedOptions) {
    this.#options = options
    this.#logger = options.logger ?? SILENT
    this.#atMs = options.now()
    this.keeper = new PodKeeper(options)
  }

  list(): PodList {
    const { source } = this.#options
    const lost = this.#lost === undefined ? [] : [`${source}: lost since ${this.#lost.since}: ${this.#lost.why}`]
    const { pods, revision } = this.keeper
    const problems = [...lost, ...this.#options.otherProblems(), ...this.keeper.problems]
    const known = { pods, everRead: this.#everRead, revision, atMs: this.#atMs, source, problems }
    return this.#lost === undefined ? known : { ...known, lost: `${source}: ${this.#lost.why}` }
  }

  onChange(listener: () => void): void {
    this.#listeners.push(listener)
  }

  close(): void {
    this.#closed = true
    clearTimeout(this.#gathering)
  }

  /** The keeper may have changed. */
  changed(): void {
    if (this.#closed) return
    this.#gathering ??= setTimeout(() => this.#tell(), GATHER_MS)
  }

  /** The whole of the list has been read. */
  wasRead(): void {
    this.#everRead = true
    this.alive()
    this.changed()
  }

  /** The server has given a sign of life: what is listed is as good as new. */
  alive(): void {
    this.#atMs = this.#options.now()
    if (this.#lost === undefined) return
    this.#logger.info({ source: this.#options.source, since: this.#lost.since }, 'pod source back')
    this.#lost = undefined
  }

  lost(reason: string): void {
    const { source, wallNow = Date.now } = this.#options
    // Most reasons begin with the server, as the problem that is made of them does.
    const why = reason.startsWith(`${source}: `) ? reason.slice(source.length + 2) : reason
    if (this.#lost?.why === why) return
    this.#lost = { since: this.#lost?.since ?? new Date(wallNow()).toISOString(), why }
    this.#logger.warn({ source, ...this.#lost }, 'pod source lost')
  }

  #tell(): void {
    this.#gathering = undefined
    const { revision } = this.keeper
    if (revision === this.#toldRevision) return
    this.#toldRevision = revision
    for (const listener of this.#listeners) listener()
  }
}
