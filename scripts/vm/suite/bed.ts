/** What the parts of the suite share: groups of one's own for each test, removed when it ends, and a way to wait. */
import assert from 'node:assert/strict'
import { describe, it, type TestContext } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import type { OpenedKernel } from '../../../src/kernel/index.ts'
import { RealGroups, RealNode, type RealPod, type RunningAgent } from '../../../test/support/real-node.ts'

export const CGROUP_PATH = '/sys/fs/cgroup'
/** Emulation is some thirty times slower than a machine, and the machines that emulate are busy. */
const TEST_MS_MAX = 120_000

// The runner's own functions return promises that nobody has to wait for.
export function suite(name: string, body: () => void): void {
  void describe(name, body)
}

export function test(name: string, body: (context: TestContext) => void | Promise<void>, msMax = TEST_MS_MAX): void {
  void it(name, { timeout: msMax }, body)
}

export interface GroupsBed {
  readonly groups: RealGroups
  readonly kernel: OpenedKernel['kernel']
}

export async function openGroups(context: TestContext): Promise<GroupsBed> {
  const groups = await RealGroups.open()
  context.after(() => groups.close())
  return { groups, kernel: groups.openKernel().kernel }
}

export interface AgentBed {
  readonly node: RealNode
  readonly running: RunningAgent
  /** The knobs' files before there was an agent, by path. */
  readonly before: ReadonlyMap<string, string>
}

/** A node with these pods and an agent over them. */
export async function openAgent(
  context: TestContext,
  pods: readonly RealPod[],
  settings: Readonly<Record<string, unknown>> = {},
): Promise<AgentBed> {
  const node = await RealNode.open(settings)
  context.after(() => node.close())
  for (const pod of pods) node.startPod(pod)
  return { node, before: node.photograph(), running: node.startAgent() }
}

/** Files that do not hold what they held, and none that means the same. */
export function unrestored(node: RealNode, before: ReadonlyMap<string, string>): string[] {
  const now = node.photograph()
  return [...before]
    .filter(([path, text]) => !node.groups.sandbox.isRestored(path, text))
    .map(([path, text]) => `${path}: ${text} → ${now.get(path)}`)
}

/** Waits until `done`, and fails after a minute with what `describe` says. */
export async function until(done: () => boolean, describe: () => unknown): Promise<void> {
  const endMs = performance.now() + 60_000
  while (!done()) {
    if (performance.now() > endMs) assert.fail(`not reached: ${JSON.stringify(describe())}`)
    await sleep(100)
  }
}
