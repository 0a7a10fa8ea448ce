import { defineConfig } from 'vitest/config'
import { SummaryReporter } from './test/support/reporter.ts'

/** Real sockets, processes and CPUs are shared with whatever else the machine does: a second try is made, and told of in the summary. */
const common = { setupFiles: ['test/support/seed.ts'], testTimeout: 60_000, hookTimeout: 30_000, retry: 1 }

/** These own real CPUs and ports of this machine, or measure a daemon: two files at once would disturb each other. */
const ON_THE_MACHINE = ['test/cgroup/**/*.test.ts', 'test/cli/**/*.test.ts', 'test/contract/**/*.test.ts']

export default defineConfig({
  test: {
    reporters: ['default', new SummaryReporter()],
    projects: [
      {
        test: {
          ...common,
          name: 'pure',
          include: ['test/**/*.test.ts'],
          exclude: ON_THE_MACHINE,
          maxWorkers: 2,
          sequence: { groupOrder: 0 },
        },
      },
      {
        test: {
          ...common,
          name: 'machine',
          include: ON_THE_MACHINE,
          fileParallelism: false,
          sequence: { groupOrder: 1 },
        },
      },
    ],
  },
})
