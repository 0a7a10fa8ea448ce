/**
 * The last lines of a test run: how many tests ran, and each one that was skipped with its reason. A test that skips must say why
 * (`context.skip('why')`), and one that does not is reported as having given none. A test that passed only when it was tried again is named.
 */
import type { Reporter, TestCase, TestModule } from 'vitest/node'

export class SummaryReporter implements Reporter {
  onTestRunEnd(modules: readonly TestModule[]): void {
    const counts = { passed: 0, failed: 0, skipped: 0 }
    const skipped = new Map<string, number>()
    for (const module of modules) {
      // A file that could not be loaded has no tests to count, and is a failure all the same.
      if (module.errors().length > 0) counts.failed += 1
      for (const test of module.children.allTests()) {
        const state = stateOf(test)
        counts[state] += 1
        const tries = (test.diagnostic()?.retryCount ?? 0) + 1
        if (tries > 1 && state === 'passed') process.stdout.write(`passed on try ${tries}: ${test.fullName}\n`)
        if (state === 'skipped') skipped.set(reasonOf(test), (skipped.get(reasonOf(test)) ?? 0) + 1)
      }
    }
    for (const [reason, count] of skipped) process.stdout.write(`skipped ${count}: ${reason}\n`)
    process.stdout.write(`${counts.passed} passed, ${counts.failed} failed, ${counts.skipped} skipped\n`)
  }
}

function stateOf(test: TestCase): 'passed' | 'failed' | 'skipped' {
  const { state } = test.result()
  return state === 'pending' ? 'failed' : state
}

function reasonOf(test: TestCase): string {
  const result = test.result()
  const note = 'note' in result ? result.note : undefined
  return note ?? `no reason given (${test.fullName})`
}
