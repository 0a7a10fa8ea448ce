/**
 * Marks on this machine's kernel: what a person sees on a group, that it follows what is held, and that nothing of it stays behind, also after
 * SIGKILL. test/cgroup/kill.test.ts looks for left-overs after each of its releases too.
 */
import { spawnSync } from 'node:child_process'
import { copyFileSync, existsSync, mkdirSync, rmdirSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterEach, describe, expect, it, type TestContext } from 'vitest'
import { realNow } from '../../src/compose.ts'
import { openMarks } from '../../src/kernel/group-marks.ts'
import { isFailing, type GroupPath } from '../../src/model/index.ts'
import { KillAgent, runRelease } from '../support/kill-agent.ts'
import { KillNode } from '../support/kill-node.ts'
import { attributeOf, marksOf, setAttribute, whyNoAttributes } from '../support/real-marks.ts'
import { RealNode, type RealPod, settled, whyNotHere } from '../support/real-node.ts'

const BUNDLE = resolve(import.meta.dirname, '../../dist/kube-agent.mjs')
const NAME = 'user.kube-agent'
const UNIFIED = '/sys/fs/cgroup/unified'
const FLINK: RealPod = { uid: 'flink', qos: 'BestEffort', asks: { 'be-cpu': 5, 'be-memory': 1 } }
const WEB: RealPod = { uid: 'web', qos: 'Burstable', requestsMilli: 100 }

let open: { close: () => Promise<void> }[] = []

afterEach(async () => {
  for (const node of open.reverse()) await node.close()
  open = []
})

async function start(context: TestContext, settings: Readonly<Record<string, unknown>> = { 'journal.marks': true }) {
  const reason = whyNotHere('v1')
  if (reason !== undefined) return context.skip(reason)
  const node = await RealNode.open({ 'own.weight': false, ...settings })
  open.push(node)
  const missing = whyNoAttributes(node.groups.fileOf(node.groups.root, 'cpu', ''))
  if (missing !== undefined) return context.skip(missing)
  for (const pod of [FLINK, WEB]) node.startPod(pod)
  return node
}

/** The pods' groups, their containers and the roots above them. */
function groupsOf(node: RealNode): GroupPath[] {
  const pods = [node.groupOf(FLINK), node.groupOf(WEB)]
  return [node.groups.root, node.offlineRoot, ...pods, ...pods.map((pod) => `${pod}/main`)]
}

describe('a group that the agent holds values in', () => {
  it('tells so under each controller, and no more once the node is released', async (context) => {
    const node = await start(context)
    const running = node.startAgent()
    await node.tickUntil(running, settled)
    const flink = node.groupOf(FLINK)
    const markOf = (group: GroupPath, controller: 'cpu' | 'memory' | 'cpuset' | 'freezer') =>
      attributeOf(node.groups.fileOf(group, controller, ''), NAME)
    expect(markOf(flink, 'cpu')).toBe('held: cpu.cfs_quota_us cpu.shares')
    expect(markOf(flink, 'memory')).toBe('held: memory.limit_in_bytes')
    expect(markOf(`${flink}/main`, 'cpuset')).toBe('held: cpuset.cpus')
    expect(markOf(flink, 'freezer')).toBeUndefined()
    expect(markOf(node.offlineRoot, 'cpu')).toMatch(/^held: cpu\.cfs_quota_us/)
    // An online pod is let alone, but for the set of CPUs that keeps its copies apart from those of offline pods.
    expect(markOf(node.groupOf(WEB), 'memory')).toBeUndefined()
    expect(running.journal.marks.run.failures).toBe(0)
    expect(running.agent.release(realNow().nowMs)).toMatchObject({ failed: [], foreign: [] })
    expect(marksOf(node.groups, groupsOf(node))).toEqual([])
  })

  it('keeps the attributes of others, and one of the same name that somebody else has set', async (context) => {
    const node = await start(context)
    const running = node.startAgent()
    const directory = node.groups.fileOf(node.groupOf(FLINK), 'cpu', '')
    setAttribute(directory, NAME, 'mine')
    setAttribute(directory, 'user.oomd_kills', '1')
    await node.tickUntil(running, settled)
    expect(attributeOf(directory, NAME)).toBe('mine')
    const { run } = running.journal.marks
    expect([isFailing(run), run.failures]).toEqual([false, 1])
    expect(run.lastError).toMatch(/podflink is somebody else's: "mine"$/)
    expect(running.agent.release(realNow().nowMs)).toMatchObject({ failed: [], foreign: [] })
    expect(marksOf(node.groups, groupsOf(node))).toEqual([`${directory.replace(/\/$/, '')}: mine`])
    expect(attributeOf(directory, 'user.oomd_kills')).toBe('1')
  })

  it('goes without where the kernel has no room for one more attribute, and has its values all the same', async (context) => {
    const node = await start(context)
    const running = node.startAgent()
    const directory = node.groups.fileOf(node.groupOf(FLINK), 'cpu', '')
    let taken = 0
    // Kernel: KERNFS_MAX_USER_XATTRS is 128.
    while (taken < 1000 && setAttribute(directory, `user.filler-${taken}`, '')) taken += 1
    expect(taken).toBeLessThan(1000)
    await node.tickUntil(running, settled)
    expect(node.read(node.groupOf(FLINK), 'cpu', 'cpu.shares')).toBe('512')
    const { run } = running.journal.marks
    expect([isFailing(run), run.failures]).toEqual([false, 1])
    expect(run.lastError).toMatch(/^user\.kube-agent of .*\/podflink: ENOSPC$/)
    expect(running.failures).toEqual([])
    expect(running.agent.release(realNow().nowMs)).toMatchObject({ failed: [], foreign: [] })
    expect(marksOf(node.groups, groupsOf(node))).toEqual([])
  })

  it('bears none unless that is asked for', async (context) => {
    const node = await start(context, {})
    const running = node.startAgent()
    await node.tickUntil(running, settled)
    expect(running.journal.entries.size).toBeGreaterThan(5)
    expect([running.journal.marks.state, marksOf(node.groups, groupsOf(node))]).toEqual(['off', []])
  })
})

describe('an agent that was killed', () => {
  async function killed(context: TestContext): Promise<KillNode> {
    const reason = whyNotHere('v1')
    if (reason !== undefined) return context.skip(reason)
    const node = await KillNode.open()
    open.push(node)
    const missing = whyNoAttributes(node.groups.fileOf(node.groups.root, 'cpu', ''))
    if (missing !== undefined) return context.skip(missing)
    node.start({ uid: 'flink', qos: 'BestEffort', asks: { 'be-cpu': 5, 'be-memory': 1 } })
    const agent = new KillAgent(node, 0)
    try {
      await agent.says('journal opened')
      expect(agent.lines().find(({ msg }) => msg === 'journal opened')).toMatchObject({ marks: 'on' })
      const isMarked = () => marksOf(node.groups, node.all).some((mark) => mark.endsWith('flink: held: memory.limit_in_bytes'))
      for (let tries = 0; tries < 500 && !isMarked(); tries += 1) await sleep(20)
      expect(isMarked()).toBe(true)
    } finally {
      await agent.end('SIGKILL')
    }
    expect(marksOf(node.groups, node.all).length).toBeGreaterThan(2)
    return node
  }

  it('leaves marks, which kube-agent release removes', { timeout: 60_000 }, async (context) => {
    const node = await killed(context)
    expect(runRelease(node)).toMatchObject({ code: 0, signal: null })
    expect(marksOf(node.groups, node.all)).toEqual([])
    expect(node.unrestored()).toEqual([])
  })

  it('leaves marks, which the next agent removes where they are switched off', { timeout: 60_000 }, async (context) => {
    const node = await killed(context)
    node.writeConfig({ journal: { marks: false } })
    const next = new KillAgent(node, 1)
    try {
      await next.says('agent started')
      expect(marksOf(node.groups, node.all)).toEqual([])
    } finally {
      await next.end('SIGKILL')
    }
    expect(runRelease(node)).toMatchObject({ code: 0, signal: null })
  })

  it('leaves marks that a release without koffi names, with every value given back', { timeout: 60_000 }, async (context) => {
    const node = await killed(context)
    // Where no package is to be found.
    const alone = join(node.directory, 'alone')
    mkdirSync(alone)
    copyFileSync(BUNDLE, join(alone, 'kube-agent.mjs'))
    const argv = [join(alone, 'kube-agent.mjs'), 'release', '--config', node.configFile]
    const run = spawnSync(process.execPath, argv, { encoding: 'utf8', timeout: 20_000 })
    expect(run.stdout).toMatch(
      /^groups are still marked: user\.kube-agent stays on .*: the optional package koffi is not installed$/m,
    )
    expect([run.status, node.unrestored()]).toEqual([1, []])
  })
})

it('is set on a group of cgroup v2 of this kernel', (context) => {
  const reason = whyNotHere()
  if (reason !== undefined) return context.skip(reason)
  if (!existsSync(join(UNIFIED, 'cgroup.controllers'))) return context.skip(`no cgroup2 file system at ${UNIFIED}`)
  const group = `/kube-agent-test-marks-${process.pid}`
  mkdirSync(`${UNIFIED}${group}`)
  try {
    const missing = whyNoAttributes(`${UNIFIED}${group}`)
    if (missing !== undefined) return context.skip(missing)
    const controllers = Object.fromEntries(['cpu', 'memory', 'io'].map((name) => [name, UNIFIED]))
    const knobs = new Proxy({}, { get: () => ({ usable: false, reason: 'of no concern here' }) })
    const capabilities = { knobs } as unknown as Parameters<typeof openMarks>[1]
    const opened = openMarks({ dialect: 'v2', controllers }, capabilities)
    if (!opened.usable) throw new Error(opened.reason)
    const { port } = opened
    const { tree = '', files = '' } = port.placeOf('weight') ?? {}
    expect([tree, files, port.read(group, tree)]).toEqual([UNIFIED, 'cpu.weight', undefined])
    expect(port.write(group, tree, `held: ${files}`)).toEqual({ is: 'applied' })
    expect(attributeOf(`${UNIFIED}${group}`, NAME)).toBe('held: cpu.weight')
    expect([port.read(group, tree), port.remove(group, tree)]).toEqual(['held: cpu.weight', { is: 'applied' }])
    expect([attributeOf(`${UNIFIED}${group}`, NAME), port.remove(group, tree)]).toEqual([undefined, { is: 'unchanged' }])
    expect(port.write(`${group}/gone`, tree, 'held: cpu.weight')).toEqual({ is: 'vanished', errno: 'ENOENT' })
  } finally {
    rmdirSync(`${UNIFIED}${group}`)
  }
})
