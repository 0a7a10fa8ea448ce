/**
 * The room boundaries are only worth something if the checks see a violation: one popular checker is silently green on newer
 * TypeScript. So violations are planted in a tree of their own, and both checks must turn red over each.
 */
import { spawnSync } from 'node:child_process'
import { cpSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join, resolve } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'

const ROOT = resolve(import.meta.dirname, '../..')
const bin = (name: string): string => join(ROOT, 'node_modules/.bin', name)

let tree: string

beforeEach(() => {
  tree = mkdtempSync(join(tmpdir(), 'kube-agent-boundaries-'))
  for (const file of ['.dependency-cruiser.cjs', '.oxlintrc.json', 'tsconfig.json', 'package.json'])
    cpSync(join(ROOT, file), join(tree, file))
  plant('src/kernel/index.ts', 'export const write = (): void => {}\n')
  plant('src/model/index.ts', 'export const noun = 1\n')
})

afterEach(() => rmSync(tree, { recursive: true, force: true }))

function plant(path: string, text: string): void {
  mkdirSync(dirname(join(tree, path)), { recursive: true })
  writeFileSync(join(tree, path), text)
}

function cruise(): { readonly code: number | null; readonly output: string } {
  const run = spawnSync(bin('depcruise'), ['src', '--config', '.dependency-cruiser.cjs'], { cwd: tree, encoding: 'utf8' })
  return { code: run.status, output: run.stdout + run.stderr }
}

function lint(): { readonly code: number | null; readonly output: string } {
  const run = spawnSync(bin('oxlint'), ['--deny-warnings', 'src'], { cwd: tree, encoding: 'utf8' })
  return { code: run.status, output: run.stdout + run.stderr }
}

describe('the boundary check', () => {
  it('is green over a tree that keeps to the table', () => {
    plant('src/decide/index.ts', "import { noun } from '../model/index.ts'\nexport const decided = noun\n")
    expect(cruise()).toMatchObject({ code: 0 })
  })

  it.each([
    [
      'a rule that imports the kernel',
      'src/decide/rule.ts',
      "import { write } from '../kernel/index.ts'\nexport const rule = write\n",
      'room-decide',
    ],
    [
      'a plan that reads files',
      'src/plan/plan.ts',
      "import { readFileSync } from 'node:fs'\nexport const read = readFileSync\n",
      'pure-rooms',
    ],
    [
      'sense that opens a file itself',
      'src/sense/sensor.ts',
      "import { readFileSync } from 'node:fs'\nexport const read = readFileSync\n",
      'only-kernel',
    ],
    ['actuate that imports sense', 'src/actuate/a.ts', "import { s } from '../sense/s.ts'\nexport const a = s\n", 'room-actuate'],
    [
      'a type-only import across a boundary',
      'src/plan/t.ts',
      "import type { write } from '../kernel/index.ts'\nexport type T = typeof write\n",
      'room-plan',
    ],
  ])('sees %s', (_what, path, text, rule) => {
    plant('src/sense/s.ts', 'export const s = 1\n')
    plant(path, text)
    const { code, output } = cruise()
    expect(code).not.toBe(0)
    expect(output).toContain(rule)
  })

  it('sees a cycle', () => {
    plant('src/model/a.ts', "import { b } from './b.ts'\nexport const a = (): number => b()\n")
    plant('src/model/b.ts', "import { a } from './a.ts'\nexport const b = (): number => a()\n")
    const { code, output } = cruise()
    expect(code).not.toBe(0)
    expect(output).toContain('no-cycles')
  })
})

describe('the lint', () => {
  const clock = (expression: string): string => `export const impure = (): unknown => ${expression}\n`

  it.each([
    ['Date.now()', "no-restricted-globals): Unexpected use of 'Date'"],
    ['performance.now()', "no-restricted-globals): Unexpected use of 'performance'"],
    ['Math.random()', "no-restricted-properties): 'Math.random' is restricted"],
    ['process.pid', "no-restricted-globals): Unexpected use of 'process'"],
    ['console.log(1)', "no-restricted-globals): Unexpected use of 'console'"],
  ])('refuses %s in a pure room', (expression, refusal) => {
    plant('src/decide/clock.ts', clock(expression))
    const { code, output } = lint()
    expect(code).not.toBe(0)
    expect(output).toContain(refusal)
    expect(output).toContain('src/decide/clock.ts')
  })

  // All but the console, which no room may use.
  it.each(['Date.now()', 'performance.now()', 'Math.random()', 'process.pid'])(
    'lets %s pass in a room with effects',
    (expression) => {
      plant('src/kernel/clock.ts', clock(expression))
      expect(lint()).toMatchObject({ code: 0 })
    },
  )
})
