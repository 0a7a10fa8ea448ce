import { defineConfig } from 'vitest/config'
import { SummaryReporter } from './test/support/reporter.ts'

const common = { setupFiles: ['test/support/seed.ts'], testTimeout: 60_000, hookTimeout: 30_000 }

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
          // What is measured here shares its CPUs with whatever else the machine does; a second try is told of in the summary.
          retry: 1,
          sequence: { groupOrder: 1 },
        },
      },
    ],
  },
})
