import { defineConfig } from 'vitest/config'
import { SummaryReporter } from './test/support/reporter.ts'

/** Real sockets, processes and CPUs are shared with whatever else the machine does: a second try is made, and told of in the summary. */
const common = { setupFiles: ['test/support/seed.ts'], testTimeout: 60_000, hookTimeout: 30_000, retry: 1 }

/** Daemons and verbs as processes of their own, on ports and groups of their own: they wait for each other more than they work. */
const DAEMONS = ['test/contract/**/*.test.ts', 'test/cli/**/*.test.ts']
/** These own real CPUs, or measure time: two files at once would disturb each other. */
const ON_THE_MACHINE = [
  'test/cgroup/**/*.test.ts',
  ...['demo', 'page', 'prometheus', 'supervision'].map((name) => `test/cli/${name}.test.ts`),
]

export default defineConfig({
  test: {
    reporters: ['default', new SummaryReporter()],
    projects: [
      {
        test: {
          ...common,
          name: 'pure',
          include: ['test/**/*.test.ts'],
          exclude: [...DAEMONS, ...ON_THE_MACHINE],
          maxWorkers: 2,
          sequence: { groupOrder: 0 },
        },
      },
      {
        test: {
          ...common,
          name: 'daemons',
          include: DAEMONS,
          exclude: ON_THE_MACHINE,
          maxWorkers: 2,
          sequence: { groupOrder: 1 },
        },
      },
      {
        test: {
          ...common,
          name: 'machine',
          include: ON_THE_MACHINE,
          fileParallelism: false,
          sequence: { groupOrder: 2 },
        },
      },
    ],
  },
})
