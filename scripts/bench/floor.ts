/** The C floor as a process that sweeps its files on demand. Compiled by the bench itself, so that both run on one machine in one run. */
import { spawn, spawnSync, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { createInterface, type Interface } from 'node:readline'

export class Floor {
  readonly #child: ChildProcess
  readonly #lines: Interface

  constructor(directory: string, files: readonly string[]) {
    const binary = join(directory, 'floor')
    const compiled = spawnSync('cc', ['-O2', '-o', binary, 'scripts/bench/floor.c'], { encoding: 'utf8' })
    if (compiled.status !== 0)
      throw new Error(`the bench needs a C compiler named cc: ${compiled.error?.message ?? compiled.stderr}`)
    const list = join(directory, 'files')
    writeFileSync(list, `${files.join('\n')}\n`)
    this.#child = spawn(binary, [list], { stdio: ['pipe', 'pipe', 'inherit'] })
    const { stdout } = this.#child
    if (stdout === null) throw new Error('the floor has no output')
    this.#lines = createInterface({ input: stdout })
  }

  /** One sweep; milliseconds. */
  async sweepMs(): Promise<number> {
    const answer = once(this.#lines, 'line')
    this.#child.stdin?.write('go\n')
    const [line] = (await answer) as [string]
    return Number(line) / 1e6
  }

  async end(): Promise<void> {
    const ended = once(this.#child, 'exit')
    this.#child.stdin?.end()
    await ended
  }
}
