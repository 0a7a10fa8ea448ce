/** A service manager's side of sd_notify(3): a real unix datagram socket, held by a process of its own, since Node can't open one. */
import { spawn, spawnSync, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { performance } from 'node:perf_hooks'
import { setTimeout as sleep } from 'node:timers/promises'

/** Prints `PID TEXT` as JSON for each datagram; the pid is the one that the kernel vouches for. */
const SCRIPT = `
import json, os, socket, struct, sys
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
s.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
name = sys.argv[1]
s.bind("\\0" + name[1:] if name.startswith("@") else name)
print(json.dumps([0, "bound"]), flush=True)
while True:
    text, ancillary, _, _ = s.recvmsg(65536, 1024)
    pid = 0
    for level, kind, data in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_CREDENTIALS:
            pid = struct.unpack("iii", data)[0]
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            # The barrier of systemd-notify: it waits until the manager has closed this.
            for fd in struct.unpack("%di" % (len(data) // 4), data[: len(data) // 4 * 4]):
                os.close(fd)
    print(json.dumps([pid, text.decode()]), flush=True)
`

export interface Notice {
  readonly pid: number
  readonly text: string
  readonly atMs: number
}

/** Why there can be none here; undefined where there can. */
export function whyNoReceiver(): string | undefined {
  return spawnSync('python3', ['-c', 'import socket']).status === 0 ? undefined : 'needs python3 to hold a unix datagram socket'
}

export class NotifyReceiver {
  readonly notices: Notice[] = []
  readonly #child: ChildProcess

  private constructor(child: ChildProcess) {
    this.#child = child
  }

  /** Binds `name`: a path, or an abstract name after an `@`. */
  static async bind(name: string): Promise<NotifyReceiver> {
    const child = spawn('python3', ['-c', SCRIPT, name], { stdio: ['ignore', 'pipe', 'inherit'] })
    const receiver = new NotifyReceiver(child)
    createInterface({ input: child.stdout }).on('line', (line) => {
      const [pid, text] = JSON.parse(line) as [number, string]
      receiver.notices.push({ pid, text, atMs: performance.now() })
    })
    await receiver.until(({ text }) => text === 'bound')
    return receiver
  }

  /** Notices of which a line is `line`. */
  having(line: string): readonly Notice[] {
    return this.notices.filter(({ text }) => text.split('\n').includes(line))
  }

  /** The first notice that is as asked for, waited for. Throws after `ms`. */
  async until(is: (notice: Notice) => boolean, ms = 15_000): Promise<Notice> {
    for (const endMs = performance.now() + ms; performance.now() < endMs; await sleep(20)) {
      const found = this.notices.find(is)
      if (found !== undefined) return found
    }
    throw new Error(`not told within ${ms} ms; told: ${JSON.stringify(this.notices)}`)
  }

  async close(): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return
    const ended = once(this.#child, 'exit')
    this.#child.kill('SIGKILL')
    await ended
  }
}
