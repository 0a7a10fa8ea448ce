import { existsSync, readdirSync, readFileSync, statfsSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import { defineConfig } from 'vitest/config'
import { SummaryReporter } from './test/support/reporter.ts'

/** Real sockets, processes and CPUs are shared with whatever else the machine does: a second try is made, and told of in the summary. */
const common = { setupFiles: ['test/support/seed.ts'], testTimeout: 60_000, hookTimeout: 30_000, retry: 1 }

/** These own real CPUs, or measure time: two files at once would disturb each other. */
const ON_THE_MACHINE = ['test/cgroup/**/*.test.ts', 'test/cli/demo.test.ts']
/** These have real groups to themselves, and whatever else runs decides nothing. */
const IN_GROUPS = ['drift', 'kill', 'placement'].map((name) => `test/cgroup/${name}.test.ts`)
/** Daemons and verbs as processes of their own, on ports and groups of their own: they wait more than they work. */
const DAEMONS = ['test/contract/**/*.test.ts', 'test/cli/**/*.test.ts', ...IN_GROUPS]
/** These put something of their own in the place of a module, which nobody may have loaded before, and nobody may load after. */
const REPLACING = readdirSync('test', { recursive: true, encoding: 'utf8' })
  .map((name) => `test/${name}`)
  .filter((path) => path.endsWith('.test.ts') && /\bvi\.(mock|doMock)\(/.test(readFileSync(path, 'utf8')))

/** One more than there are CPUs, since each of them waits now and then. */
const WORKERS = availableParallelism() + 1

const MEMORY = '/dev/shm'
const ROOM_BYTES = 1 << 30
/** Temporary files in memory where there is room: a journal that is synced after each record keeps the tests waiting for the disk. */
function temporaryFiles(): { readonly TMPDIR?: string } {
  if (process.env['TMPDIR'] !== undefined || !existsSync(MEMORY)) return {}
  const { bavail, bsize } = statfsSync(MEMORY)
  return bavail * bsize >= ROOM_BYTES ? { TMPDIR: MEMORY } : {}
}

export default defineConfig({
  test: {
    reporters: ['default', new SummaryReporter()],
    projects: [
      {
        test: {
          ...common,
          name: 'pure',
          include: ['test/**/*.test.ts'],
          exclude: [...DAEMONS, ...ON_THE_MACHINE, ...REPLACING],
          // Loading what is tested anew for each file takes as long as many of them: test/support/clean-slate.ts sees to it that they can do without.
          isolate: false,
          setupFiles: [...common.setupFiles, 'test/support/clean-slate.ts'],
          env: temporaryFiles(),
          maxWorkers: WORKERS,
          sequence: { groupOrder: 0 },
        },
      },
      {
        test: {
          ...common,
          name: 'replacing',
          include: REPLACING,
          env: temporaryFiles(),
          maxWorkers: WORKERS,
          sequence: { groupOrder: 0 },
        },
      },
      {
        test: {
          ...common,
          name: 'daemons',
          include: DAEMONS,
          exclude: ['test/cli/demo.test.ts'],
          maxWorkers: WORKERS,
          sequence: { groupOrder: 1 },
        },
      },
      {
        test: {
          ...common,
          name: 'machine',
          include: ON_THE_MACHINE,
          exclude: IN_GROUPS,
          fileParallelism: false,
          sequence: { groupOrder: 2 },
        },
      },
    ],
  },
})
