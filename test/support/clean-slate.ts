/**
 * Files of the pure project run one after the other in one process, since loading everything anew for each would cost more than many of them.
 * So a file has to leave the process as it found it, and nothing behind; one that does not fails, and not the one after it. What a module
 * beside the tests does when it is loaded is done for the first file only: hooks belong into functions that each test calls.
 */
import { mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, expect, vi } from 'vitest'

const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP', 'SIGUSR1', 'SIGUSR2', 'SIGCONT', 'SIGWINCH']
/** Not exit: libraries listen to that once for all. */
const EVENTS = ['uncaughtException', 'unhandledRejection', 'warning', ...SIGNALS]

/** What one file could spoil for the next. */
function state() {
  return {
    directory: process.cwd(),
    umask: process.umask(),
    environment: { ...process.env } as Readonly<Record<string, string | undefined>>,
    listeners: Object.fromEntries(EVENTS.map((name) => [name, process.listenerCount(name)])),
    exitCode: process.exitCode,
  }
}

/** What tests put something else in the place of. */
const REPLACEABLE: Readonly<Record<string, object>> = {
  setTimeout: globalThis,
  setInterval: globalThis,
  Date: globalThis,
  fetch: globalThis,
  parse: JSON,
  random: Math,
  now: performance,
}
const inPlace = (): readonly unknown[] => Object.entries(REPLACEABLE).map(([name, owner]) => Reflect.get(owner, name))

const before = state()
const own = inPlace()
/** Temporary files of this test file alone, so that what it leaves is known to be its own. */
const scratch = mkdtempSync(join(tmpdir(), 'kube-agent-'))
process.env['TMPDIR'] = scratch
/** Not what tools keep beside each other's temporary files. */
const OURS = /^(ka|kube-agent)-/

afterAll(() => {
  const files = readdirSync(scratch).filter((name) => OURS.test(name))
  rmSync(scratch, { recursive: true, force: true })
  if (before.environment['TMPDIR'] === undefined) delete process.env['TMPDIR']
  else process.env['TMPDIR'] = before.environment['TMPDIR']
  const now = inPlace()
  const left = Object.keys(REPLACEABLE).filter((_name, index) => now[index] !== own[index])
  vi.useRealTimers()
  vi.restoreAllMocks()
  expect(files, 'left among the temporary files').toEqual([])
  expect(left, 'functions that are not those of before').toEqual([])
  expect(state()).toEqual(before)
})
