/** A real terminal for tests: tmux on a socket of its own, one window, driven by keys and read as a screen. */
import { execFile } from 'node:child_process'
import { existsSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { promisify } from 'node:util'

const run = promisify(execFile)

export const HAS_TMUX = ['/usr/bin/tmux', '/usr/local/bin/tmux', '/bin/tmux'].some((path) => existsSync(path))

/** Longer than anything takes on a busy machine. */
const WAIT_MS = 20_000
const LOOK_MS = 50

export class TestTerminal {
  readonly #socket = `kube-agent-${process.pid}-${Date.now()}`

  /** Opens a window of that size with `command` in it. Nothing of this terminal's user is read, and every cell is UTF-8. */
  async open(command: string, { columns = 80, rows = 24 }: { columns?: number; rows?: number } = {}): Promise<void> {
    await this.#tmux('-u', '-f', '/dev/null', 'new-session', '-d', '-x', String(columns), '-y', String(rows), command)
  }

  async keys(...keys: readonly string[]): Promise<void> {
    await this.#tmux('send-keys', ...keys)
  }

  async resize(columns: number, rows: number): Promise<void> {
    await this.#tmux('resize-window', '-x', String(columns), '-y', String(rows))
  }

  async screen(): Promise<string> {
    return this.#tmux('capture-pane', '-p')
  }

  /** Whether the alternate screen is shown. */
  async isAlternate(): Promise<boolean> {
    return (await this.#tmux('display-message', '-p', '#{alternate_on}')).trim() === '1'
  }

  async cursorIsShown(): Promise<boolean> {
    return (await this.#tmux('display-message', '-p', '#{cursor_flag}')).trim() === '1'
  }

  /** Waits for a screen that has it, and gives that screen. Throws, with the last one, when it does not come. */
  async until(pattern: RegExp | ((screen: string) => boolean)): Promise<string> {
    const deadlineMs = Date.now() + WAIT_MS
    for (;;) {
      const screen = await this.screen()
      if (typeof pattern === 'function' ? pattern(screen) : pattern.test(screen)) return screen
      if (Date.now() > deadlineMs) throw new Error(`waited in vain for ${String(pattern)} in\n${screen}`)
      await sleep(LOOK_MS)
    }
  }

  async close(): Promise<void> {
    await this.#tmux('kill-server').catch(() => undefined)
  }

  /** The shell is named: without SHELL, tmux starts the user's own, which for `nobody` is `nologin`, and the window closes at once. */
  async #tmux(...words: readonly string[]): Promise<string> {
    const { stdout } = await run('tmux', ['-L', this.#socket, ...words], {
      env: { ...process.env, LANG: 'C.UTF-8', SHELL: '/bin/sh', TMUX: '' },
    })
    return stdout
  }
}
