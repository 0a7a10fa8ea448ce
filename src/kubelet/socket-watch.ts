/**
 * Notices when the kubelet's directory changes under us. The kubelet announces a restart only by wiping the directory and making
 * kubelet.sock anew. inotify tells at once, where it works: a node can run out of watches, and a directory that is itself
 * replaced falls silent, so a poll looks as well. Source: kubernetes
 * pkg/kubelet/cm/devicemanager/plugin/v1beta1/server.go (Start), 1.36; inotify(7); NVIDIA/k8s-device-plugin#65, out of watches.
 */
import { statSync, watch, type FSWatcher } from 'node:fs'

const POLL_MS = 5_000
/** A wipe removes many files, each with its own event. */
const DEBOUNCE_MS = 20

/** Identity of the file at a path: the same path made anew gets another. Undefined when nothing is there or can't be seen. */
export function fileIdentity(path: string): string | undefined {
  try {
    // The time is needed because a freed inode number is usually the next one given out; a socket's never changes by use.
    const { dev, ino, mtimeNs } = statSync(path, { bigint: true })
    return `${dev}:${ino}:${mtimeNs}`
  } catch {
    return undefined
  }
}

export class SocketWatch {
  readonly #directory: string
  readonly #onLook: () => void
  #watcher: FSWatcher | undefined
  #poll: NodeJS.Timeout | undefined
  #debounce: NodeJS.Timeout | undefined

  /** `onLook` is called soon after a change and every five seconds; it must not throw. */
  constructor(directory: string, onLook: () => void) {
    this.#directory = directory
    this.#onLook = onLook
  }

  start(): void {
    this.#arm()
    this.#poll = setInterval(() => {
      this.#arm()
      this.#onLook()
    }, POLL_MS)
  }

  stop(): void {
    clearInterval(this.#poll)
    clearTimeout(this.#debounce)
    this.#disarm()
  }

  /** Watches the directory that is at the path now; a watch can't tell that another one has taken its place, inode and all. */
  #arm(): void {
    this.#disarm()
    try {
      this.#watcher = watch(this.#directory, () => this.#changed())
      this.#watcher.on('error', () => this.#disarm())
    } catch {
      // No such directory yet, or out of inotify watches: the poll goes on, and tries again.
      this.#disarm()
    }
  }

  #disarm(): void {
    this.#watcher?.close()
    this.#watcher = undefined
  }

  #changed(): void {
    this.#debounce ??= setTimeout(() => {
      this.#debounce = undefined
      this.#onLook()
    }, DEBOUNCE_MS)
  }
}
