import { defineConfig } from 'vitest/config'
import { SummaryReporter } from './test/support/reporter.ts'

export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    // The real-kernel tests own real CPUs; two files at once would suppress each other's workloads.
    fileParallelism: false,
    setupFiles: ['test/support/seed.ts'],
    testTimeout: 20_000,
    hookTimeout: 30_000,
    reporters: ['default', new SummaryReporter()],
  },
})
