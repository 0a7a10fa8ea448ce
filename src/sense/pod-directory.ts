/**
 * Pods from a directory of manifests, hot reloaded: the source that needs no cluster. A file that can't be read or parsed keeps its
 * last good pods, and its problem is shown until the file is mended. Watch and poll both: inotify may run out of instances.
 */
import { lstatSync, readdirSync, readFileSync, statSync, watch, type FSWatcher } from 'node:fs'
import { join } from 'node:path'
import type { PodList, PodSource, PodSpec } from '../model/index.ts'
import { errnoOf, messageOf, podKey } from '../model/index.ts'
import { parseManifest, type ParsedManifest } from './manifest.ts'

/** etcd's limit for one object is 1.5 MiB; a manifest above this is not one. */
const MAX_FILE_BYTES = 2 * 1024 * 1024
const DEBOUNCE_MS = 20
/** More than a person reads; a directory can hold any number of files that are no manifests. */
const MAX_PROBLEMS = 50

interface KnownFile {
  readonly stamp: string
  readonly pods: readonly PodSpec[]
  readonly problems: readonly string[]
}

export interface PodDirectoryOptions {
  readonly directory: string
  readonly rescanMs: number
  readonly maxPods: number
  /** Monotonic milliseconds. */
  readonly now: () => number
}

export class PodDirectory implements PodSource {
  readonly #options: PodDirectoryOptions
  readonly #files = new Map<string, KnownFile>()
  readonly #listeners: (() => void)[] = []
  #list: PodList
  #watcher: FSWatcher | undefined
  /** Inode of the directory that is watched: another one may have taken its name. */
  #watchedInode = 0
  #poll: NodeJS.Timeout | undefined
  #debounce: NodeJS.Timeout | undefined

  constructor(options: PodDirectoryOptions) {
    this.#options = options
    this.#list = { pods: [], everRead: false, revision: 0, atMs: options.now(), source: options.directory, problems: [] }
    this.rescan()
    this.#poll = setInterval(() => this.rescan(), options.rescanMs)
    this.#poll.unref()
  }

  list(): PodList {
    return this.#list
  }

  onChange(listener: () => void): void {
    this.#listeners.push(listener)
  }

  close(): void {
    this.#stopWatching()
    clearInterval(this.#poll)
    clearTimeout(this.#debounce)
  }

  /** Looks at the directory now. Files that did not change are not read again. */
  rescan(): void {
    this.#startWatching()
    let names: string[]
    try {
      names = readdirSync(this.#options.directory)
        .filter((name) => /\.(ya?ml|json)$/.test(name) && !name.startsWith('.'))
        .sort()
    } catch (thrown) {
      // The last list stays in force and grows old.
      this.#stopWatching()
      const lost = `${this.#options.directory}: ${messageOf(thrown)}`
      const { pods, atMs, everRead } = this.#list
      this.#replace(pods, [lost], { atMs, everRead, lost })
      return
    }
    const listed = new Set(names)
    for (const known of this.#files.keys()) if (!listed.has(known)) this.#files.delete(known)
    for (const name of names) this.#readFile(name)
    const files = names.flatMap((name) => this.#files.get(name) ?? [])
    const problems = files.flatMap((file) => file.problems)
    const pods = this.#unique(files, problems)
    this.#replace(pods, bounded(problems), { atMs: this.#options.now(), everRead: true })
  }

  #readFile(name: string): void {
    const path = join(this.#options.directory, name)
    const known = this.#files.get(name)
    try {
      const stat = statSync(path)
      const { mtimeMs, size, ino } = stat
      const stamp = `${mtimeMs}:${size}:${ino}`
      if (known?.stamp === stamp) return
      // Reading a FIFO would wait for a writer for ever.
      if (!stat.isFile()) throw new Error('not a regular file')
      if (size > MAX_FILE_BYTES) throw new Error(`${size} bytes, more than the ${MAX_FILE_BYTES} that a manifest may have`)
      const parsed = parseManifest(readFileSync(path, 'utf8'), path)
      this.#files.set(name, { stamp, pods: withLastGood(parsed, known?.pods ?? []), problems: parsed.problems })
    } catch (thrown) {
      // Removed since it was listed, and maybe made anew, which is nobody's mistake; a link that leads nowhere is.
      if (errnoOf(thrown) === 'ENOENT' && lstatSync(path, { throwIfNoEntry: false })?.isSymbolicLink() !== true) {
        this.#files.delete(name)
        return
      }
      this.#files.set(name, { stamp: '', pods: known?.pods ?? [], problems: [`${path}: ${messageOf(thrown)}`] })
    }
  }

  /** One pod per UID, the first file by name winning, and no more than maxPods. */
  #unique(files: readonly KnownFile[], problems: string[]): readonly PodSpec[] {
    const pods = new Map<string, PodSpec>()
    for (const file of files) {
      for (const pod of file.pods) {
        const other = pods.get(pod.uid)
        if (other !== undefined) problems.push(`${pod.origin}: ${podKey(pod)} has the UID of ${podKey(other)} in ${other.origin}`)
        else if (pods.size < this.#options.maxPods) pods.set(pod.uid, pod)
        else problems.push(`${pod.origin}: more than ${this.#options.maxPods} pods; ${podKey(pod)} is left out`)
      }
    }
    return [...pods.values()]
  }

  #replace(pods: readonly PodSpec[], problems: readonly string[], read: Pick<PodList, 'atMs' | 'everRead' | 'lost'>): void {
    const before = this.#list
    const changed = pods.length !== before.pods.length || pods.some((pod, index) => pod !== before.pods[index])
    const revision = changed ? before.revision + 1 : before.revision
    this.#list = {
      ...read,
      pods: changed ? pods : before.pods,
      revision,
      source: this.#options.directory,
      problems,
    }
    if (changed) for (const listener of this.#listeners) listener()
  }

  #startWatching(): void {
    try {
      const { ino } = statSync(this.#options.directory)
      if (this.#watcher !== undefined && ino === this.#watchedInode) return
      this.#stopWatching()
      this.#watchedInode = ino
      // The first event sets the time of the look, and later ones don't put it off: a writer that never pauses would hide all others.
      this.#watcher = watch(this.#options.directory, () => {
        this.#debounce ??= setTimeout(() => this.#debounced(), DEBOUNCE_MS)
      })
      this.#watcher.on('error', () => this.#stopWatching())
    } catch {
      // No directory yet, or no inotify instance left: the poll goes on.
    }
  }

  #debounced(): void {
    this.#debounce = undefined
    this.rescan()
  }

  #stopWatching(): void {
    this.#watcher?.close()
    this.#watcher = undefined
  }
}

/** What a file says, and while part of it can't be used the pods that it last told of besides. */
function withLastGood(parsed: ParsedManifest, before: readonly PodSpec[]): readonly PodSpec[] {
  if (parsed.problems.length === 0) return parsed.pods
  const uids = new Set(parsed.pods.map((pod) => pod.uid))
  return [...parsed.pods, ...before.filter((pod) => !uids.has(pod.uid))]
}

function bounded(problems: readonly string[]): readonly string[] {
  if (problems.length <= MAX_PROBLEMS) return problems
  return [...problems.slice(0, MAX_PROBLEMS), `and ${problems.length - MAX_PROBLEMS} more`]
}
