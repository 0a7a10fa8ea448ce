/**
 * `npm run check`: all the scripts named check:… of package.json, which judge the code without running it; two at a time, since each of them
 * leaves a CPU idle now and then. What one has to say is printed whole when it has ended, and all of them run even when one fails. The compiler
 * and the formatter keep what they know of unchanged files, by content, below node_modules/.cache.
 */
import { spawn } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import { delimiter, join, resolve } from 'node:path'

const ROOT = resolve(import.meta.dirname, '..')
const PREFIX = 'check:'
const LEAST_AT_ONCE = 2

const { scripts } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as { scripts: Record<string, string> }
const waiting = Object.entries(scripts).filter(([name]) => name.startsWith(PREFIX))
if (waiting.length === 0) throw new Error(`no script of package.json is named ${PREFIX}…`)

const env = { ...process.env, PATH: [join(ROOT, 'node_modules/.bin'), process.env['PATH']].join(delimiter) }

/** Runs one and prints what it says. Resolves with whether it has nothing to object to. */
function passes(name: string, command: string): Promise<boolean> {
  return new Promise((settle, reject) => {
    const child = spawn(command, { cwd: ROOT, env, shell: true, stdio: ['ignore', 'pipe', 'pipe'] })
    const said: Buffer[] = []
    child.stdout.on('data', (part: Buffer) => said.push(part))
    child.stderr.on('data', (part: Buffer) => said.push(part))
    child.on('error', reject)
    child.on('close', (code, signal) => {
      process.stdout.write(Buffer.concat(said))
      if (code !== 0) process.stderr.write(`npm run ${name} failed: ${signal ?? `exit code ${code}`}\n`)
      settle(code === 0)
    })
  })
}

async function lane(): Promise<boolean> {
  let all = true
  for (let next = waiting.shift(); next !== undefined; next = waiting.shift()) all = (await passes(...next)) && all
  return all
}

const lanes = Array.from({ length: Math.max(LEAST_AT_ONCE, availableParallelism()) }, lane)
if ((await Promise.all(lanes)).includes(false)) process.exitCode = 1
