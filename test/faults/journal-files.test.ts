/**
 * The restore journal when its file system fails, one call at a time: appending, syncing, rewriting, renaming, closing, and writes that take a
 * part of what they are given. The loop lives, no knob is written whose original is not on disk, an agent that is killed then loses nothing, and
 * what went wrong is in the log, the metrics and the status.
 */
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { parseRecord } from '../../src/actuate/records.ts'
import { CpuSet } from '../../src/cpu/index.ts'
import { AgentError, IoLimits, KNOB_KINDS, type KnobValue, messageOf } from '../../src/model/index.ts'
import { createLogger, Recorder } from '../../src/record/index.ts'
import { DEFAULTS } from '../support/config.ts'
import { type FileFault, fileFaults, type FileOperation } from '../support/faulty-files.ts'
import { MIB } from '../support/settings.ts'
import { SimulatedAgent } from '../support/simulated-agent.ts'
import { OFFLINE_ROOT, specOf } from '../support/snapshots.ts'

vi.mock('node:fs', async (load) => {
  const { faultyFs } = await import('../support/faulty-files.ts')
  return faultyFs(await load())
})

const FILE = 'restore.journal'
const LATE = `${OFFLINE_ROOT}/podlate`

let directory: string
let sim: SimulatedAgent

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'kube-agent-journal-'))
  sim = new SimulatedAgent({ dialect: 'v2', directory, config: DEFAULTS, journalBytes: 512 })
})

afterEach(() => {
  fileFaults()
  sim.end()
  rmSync(directory, { recursive: true, force: true })
})

const textOf = (value: KnobValue): string =>
  value instanceof CpuSet || value instanceof IoLimits ? value.toString() : JSON.stringify(value)

function photograph(): ReadonlyMap<string, string> {
  const texts = new Map<string, string>()
  for (const { path, knobs } of sim.kernel.groups.values())
    for (const kind of KNOB_KINDS) texts.set(`${path} ${kind}`, textOf(knobs[kind]))
  return texts
}

/** The originals that an agent would find if this one were killed now. */
function originalsOnDisk(): ReadonlyMap<string, string> {
  const found = new Map<string, string>()
  for (const line of readFileSync(join(directory, FILE), 'utf8').split('\n')) {
    const record = parseRecord(line)
    if (record?.is === 'original') found.set(`${record.group} ${record.kind}`, textOf(record.value))
    if (record?.is === 'closed') found.delete(`${record.group} ${record.kind}`)
  }
  return found
}

/** Every original that the agent counts on is on disk, and so is that of every knob that holds something else than before. */
function expectNothingLost(before: ReadonlyMap<string, string>): void {
  const onDisk = originalsOnDisk()
  const missing: string[] = []
  sim.records.at(-1)?.journaled.forEach((group, kind, { original }) => {
    if (onDisk.get(`${group} ${kind}`) !== textOf(original)) missing.push(`${kind} of ${group}`)
  })
  for (const [knob, text] of photograph())
    if (before.has(knob) && before.get(knob) !== text && onDisk.get(knob) !== before.get(knob)) missing.push(knob)
  expect(missing).toEqual([])
}

/** What fails: a call on the file that ends so, with an errno, or after so many bytes. */
type Failing = readonly [FileOperation, typeof FILE | `${typeof FILE}.new` | 'folder', FileFault]

function fail(...calls: readonly Failing[]): { met: number } {
  const counter = { met: 0 }
  fileFaults((operation, path) => {
    const found = calls.find(
      ([name, where]) => name === operation && path === (where === 'folder' ? directory : join(directory, where)),
    )
    if (found !== undefined) counter.met += 1
    return found?.[2]
  })
  return counter
}

async function told(): Promise<{ readonly lines: readonly string[]; readonly metrics: string; readonly problems: string }> {
  const lines: string[] = []
  const logger = createLogger('info', { write: (line) => void lines.push(line) })
  const recorder = new Recorder({ version: '0', nodeName: 'n', logger, maxDecisions: 100, startedWallMs: 0, startedMs: 0 })
  for (const record of sim.records) recorder.tick(record)
  const problems = recorder.status(sim.node.nowMs).problems.map(({ severity, text }) => `${severity} ${text}`)
  return {
    lines: lines.filter((line) => line.includes('restore journal:')),
    metrics: await recorder.metricsText(),
    problems: problems.filter((text) => text.includes('restore journal')).join('\n'),
  }
}

interface Life {
  /** Calls that were made to fail. */
  readonly met: number
  readonly told: Awaited<ReturnType<typeof told>>
  /** Whether the pod that came meanwhile was limited. */
  readonly limited: boolean
}

/** Lives through a minute of failures on a node whose load comes and goes, is killed in it, comes back, and releases the node. */
async function liveThrough(...calls: readonly Failing[]): Promise<Life> {
  for (const uid of ['be', 'ot']) sim.node.addPod(specOf({ uid, asks: { [`${uid}-cpu`]: 20, [`${uid}-memory`]: 8 } }))
  sim.node.addPod(specOf({ uid: 'ls', qos: 'Burstable', requestsMilli: 1000 }))
  sim.node.setDemand('be', 5000, 100 * MIB)
  const before = new Map(photograph())
  sim.run(10_000)
  const counter = fail(...calls)
  sim.node.addPod(specOf({ uid: 'late', asks: { 'be-cpu': 5, 'be-memory': 1 } }))
  for (const [knob, text] of photograph()) if (knob.startsWith(LATE)) before.set(knob, text)
  for (let second = 0; second < 65; second += 1) {
    sim.node.setDemand('ls', second % 8 < 4 ? 500 : 7000)
    sim.run(1000)
    expectNothingLost(before)
  }
  expect(sim.failures.map(messageOf)).toEqual([])
  const limited = photograph().get(`${LATE} quota`) !== before.get(`${LATE} quota`)
  const life = { met: counter.met, told: await told(), limited }
  try {
    sim.restart()
  } catch (thrown) {
    expect(thrown).toBeInstanceOf(AgentError)
    expect(thrown).toMatchObject({ code: 'E_STATE_DIR', message: expect.stringContaining(directory) as string })
  }
  expectNothingLost(before)
  fileFaults()
  sim.restart()
  sim.node.setDemand('ls', 500)
  sim.run(45_000)
  expect(sim.records.at(-1)?.journalHealth?.problem).toBeUndefined()
  expect(photograph().get(`${LATE} quota`)).not.toBe(before.get(`${LATE} quota`))
  expectNothingLost(before)
  expect(sim.failures.map(messageOf)).toEqual([])
  expect(sim.release()).toMatchObject({ failed: [], foreign: [] })
  expect([...photograph()].filter(([knob, text]) => before.get(knob) !== text)).toEqual([])
  return life
}

const failuresIn = (metrics: string): number => Number(/^kube_agent_restore_journal_failures_total (\d+)$/m.exec(metrics)?.[1])

describe('a restore journal that', () => {
  it.each<[string, ...Failing[]]>([
    ['can not be appended to', ['writeSync', FILE, 'ENOSPC']],
    ['gives an IO error', ['writeSync', FILE, 'EIO']],
    ['can not be synced', ['fsyncSync', FILE, 'EIO']],
    ['can neither be synced nor cut', ['fsyncSync', FILE, 'EIO'], ['ftruncateSync', FILE, 'EIO']],
    ['takes no byte of a write', ['writeSync', FILE, 0]],
  ])('%s keeps new pods from being written, and nothing else', async (_, ...calls) => {
    const life = await liveThrough(...calls)
    expect(life.met).toBeGreaterThan(5)
    expect(life.limited).toBe(false)
    expect(failuresIn(life.told.metrics)).toBeGreaterThan(5)
    // One line for each time that it was over, which a rewritten file is, and began anew, or came to more than before; however often it was met.
    expect(life.told.lines.length).toBeGreaterThan(0)
    expect(life.told.lines.length).toBeLessThan(7)
    expect(life.told.lines[0]).toContain(join(directory, FILE))
    expect(life.told.problems).toMatch(
      /^error restore journal: .*(ENOSPC|EIO).* only knobs whose original is on record are written/,
    )
  })

  it.each<[string, ...Failing[]]>([
    ['can not be made anew: no descriptor', ['openSync', `${FILE}.new`, 'EMFILE']],
    ['can not be made anew: read-only', ['openSync', `${FILE}.new`, 'EROFS']],
    ['can not be made anew: full disk', ['writeSync', `${FILE}.new`, 'ENOSPC']],
    ['can not be made anew: not synced', ['fsyncSync', `${FILE}.new`, 'EIO']],
    ['can not be put in place', ['renameSync', `${FILE}.new`, 'EACCES']],
    ['can neither be put in place nor removed', ['renameSync', `${FILE}.new`, 'EIO'], ['rmSync', `${FILE}.new`, 'EIO']],
    ['can not be closed after it failed', ['fsyncSync', `${FILE}.new`, 'EIO'], ['closeSync', `${FILE}.new`, 'EIO']],
  ])('%s goes on with the old file, and limits new pods', async (_, ...calls) => {
    const life = await liveThrough(...calls)
    expect(life.met).toBeGreaterThan(0)
    expect(life.limited).toBe(true)
    expect(failuresIn(life.told.metrics)).toBeGreaterThan(0)
    expect(life.told.lines.length).toBeGreaterThan(0)
    expect(life.told.lines.length).toBeLessThan(4)
    expect(life.told.lines[0]).toMatch(/restore\.journal can't be rewritten: E/)
  })

  it.each<[string, ...Failing[]]>([
    ['takes one byte of each write', ['writeSync', FILE, 1], ['writeSync', `${FILE}.new`, 1]],
    ['takes seven bytes of each write', ['writeSync', FILE, 7], ['writeSync', `${FILE}.new`, 7]],
    ['has a folder that can not be opened', ['openSync', 'folder', 'EMFILE']],
    ['has a folder that can not be synced', ['fsyncSync', 'folder', 'EINVAL']],
    ['has a folder that can not be closed', ['closeSync', 'folder', 'EIO']],
    ['is outgrown and can not be closed', ['closeSync', FILE, 'EIO']],
  ])('%s works as ever', async (_, ...calls) => {
    const life = await liveThrough(...calls)
    expect(life.met).toBeGreaterThan(0)
    expect(life.limited).toBe(true)
    expect(failuresIn(life.told.metrics)).toBe(0)
    expect(life.told.lines).toEqual([])
  })
})

describe('an original that could not be synced', () => {
  it('is not in the file either, however often it is tried: it neither grows nor tells what the agent does not count on', () => {
    sim.node.addPod(specOf({ uid: 'be', asks: { 'be-cpu': 20, 'be-memory': 8 } }))
    sim.run(3000)
    const known = originalsOnDisk()
    const counter = fail(['fsyncSync', FILE, 'EIO'])
    sim.node.addPod(specOf({ uid: 'late', asks: { 'be-cpu': 5, 'be-memory': 1 } }))
    sim.run(20_000)
    expect(counter.met).toBeGreaterThan(10)
    expect(readFileSync(join(directory, FILE), 'utf8')).not.toContain('podlate')
    expect(originalsOnDisk()).toEqual(known)
  })
})

describe('a sick disk', () => {
  it('is tried once a second, also on a hot node: each try may keep the loop for long, and suppression must not wait for it', () => {
    sim.node.addPod(specOf({ uid: 'be', asks: { 'be-cpu': 20, 'be-memory': 8 } }))
    sim.node.addPod(specOf({ uid: 'ls', qos: 'Burstable', requestsMilli: 1000 }))
    sim.node.setDemand('be', 8000)
    sim.node.setDemand('ls', 6000)
    sim.run(20_000)
    const counter = fail(['fsyncSync', FILE, 'EIO'])
    sim.node.addPod(specOf({ uid: 'late', asks: { 'be-cpu': 5, 'be-memory': 1 } }))
    const from = sim.records.length
    sim.run(10_000)
    const ticks = sim.records.slice(from)
    expect(ticks.length).toBeGreaterThan(20)
    expect(counter.met).toBeGreaterThan(8)
    expect(counter.met).toBeLessThanOrEqual(11)
    const failed = ticks.filter(({ results }) =>
      results.some(({ outcome }) => outcome.is === 'failed' && outcome.errno === 'EIO'),
    )
    expect(failed.length).toBeGreaterThan(20)
    fileFaults()
    sim.run(1100)
    expect(originalsOnDisk().has(`${LATE} quota`)).toBe(true)
  })
})

describe('a disk that becomes read-only in mid-run', () => {
  // Kernel: as ext4 does by itself with errors=remount-ro, where nobody is asked whether files are open for writing.
  const CHANGING: readonly FileOperation[] = [
    'writeSync',
    'fsyncSync',
    'ftruncateSync',
    'renameSync',
    'linkSync',
    'rmSync',
    'mkdirSync',
  ]
  const readOnly = (): { met: number } => {
    const counter = { met: 0 }
    fileFaults((operation, path) => {
      const isOpening = operation === 'openSync' && path.endsWith('.new')
      if (!path.startsWith(directory) || !(isOpening || CHANGING.includes(operation))) return undefined
      counter.met += 1
      return 'EROFS'
    })
    return counter
  }

  it('keeps new pods from being written and nothing else; the node can be released, and a later agent knows all', async () => {
    sim.node.addPod(specOf({ uid: 'be', asks: { 'be-cpu': 20, 'be-memory': 8 } }))
    const before = photograph()
    sim.run(10_000)
    const known = originalsOnDisk()
    const text = readFileSync(join(directory, FILE), 'utf8')
    const counter = readOnly()
    sim.node.addPod(specOf({ uid: 'late', asks: { 'be-cpu': 5, 'be-memory': 1 } }))
    const late = photograph().get(`${LATE} quota`)
    sim.node.setDemand('be', 8000)
    sim.run(65_000)
    expect(counter.met).toBeGreaterThan(10)
    expect(sim.failures.map(messageOf)).toEqual([])
    expect(photograph().get(`${LATE} quota`)).toBe(late)
    expectNothingLost(before)
    expect(readFileSync(join(directory, FILE), 'utf8')).toBe(text)
    expect(originalsOnDisk()).toEqual(known)
    expect((await told()).problems).toMatch(/^error restore journal: .*EROFS/)
    expect(() => sim.restart()).toThrow(/EROFS/)
    fileFaults()
    sim.restart()
    expect(sim.release()).toMatchObject({ failed: [], foreign: [] })
    expect([...photograph()].filter(([knob, now]) => before.has(knob) && before.get(knob) !== now)).toEqual([])
  })
})

describe('a start', () => {
  it.each([
    ['is whole again where there is room for that', true],
    ['is not counted on where there is not', false],
  ])('on a disk without room, a last line that lacks its end %s: memory and disk agree', (_, hasRoom) => {
    sim.node.addPod(specOf({ uid: 'be', asks: { 'be-cpu': 20, 'be-memory': 8 } }))
    sim.run(5000)
    sim.end()
    const path = join(directory, FILE)
    const lines = readFileSync(path, 'utf8').trimEnd().split('\n')
    const isOfQuota = (line: string): boolean => line.includes('/podbe"') && line.includes('"quota"')
    const original = lines.find((line) => line.includes('"original"') && isOfQuota(line)) ?? ''
    writeFileSync(path, `${lines.filter((line) => !isOfQuota(line)).join('\n')}\n${original}`)
    fail(['writeSync', `${FILE}.new`, 'ENOSPC'], ...(hasRoom ? [] : [['writeSync', FILE, 'ENOSPC'] as const]))
    sim.restart()
    expect(originalsOnDisk().has(`${OFFLINE_ROOT}/podbe quota`)).toBe(hasRoom)
    expect(readFileSync(path, 'utf8').endsWith('\n')).toBe(true)
    sim.run(1000)
    expect(sim.records.at(-1)?.journaled.get(`${OFFLINE_ROOT}/podbe`, 'quota') !== undefined).toBe(hasRoom)
    fileFaults()
    sim.run(35_000)
    expect(sim.records.at(-1)?.journalHealth?.problem).toBeUndefined()
    expect(originalsOnDisk().size).toBe(sim.records.at(-1)?.journaled.size)
  })

  it.each(['linkSync', 'readdirSync'] as const)(
    'with a damaged journal that can not be kept (%s) goes on with what can be read',
    async (call) => {
      sim.node.addPod(specOf({ uid: 'be', asks: { 'be-cpu': 20, 'be-memory': 8 } }))
      const before = photograph()
      sim.run(5000)
      sim.end()
      const path = join(directory, FILE)
      const text = readFileSync(path, 'utf8')
      writeFileSync(path, `~${text.slice(1)}`)
      fileFaults((operation) => (operation === call ? 'EIO' : undefined))
      sim.restart()
      fileFaults()
      sim.run(2000)
      expect((await told()).problems).toMatch(
        /^error restore journal: .*1 line can't be read, \d+ knobs can be put back; it can't be kept: EIO/,
      )
      expect(sim.release()).toMatchObject({ failed: [], foreign: [] })
      expect(photograph()).toEqual(before)
    },
  )

  it('with a journal of which nothing can be read, and that can not be kept, is refused, and the file stays', () => {
    const path = join(directory, FILE)
    sim.end()
    writeFileSync(path, 'nothing of this\ncan be read\n')
    fileFaults((operation) => (operation === 'linkSync' ? 'EPERM' : undefined))
    const refusal = { code: 'E_STATE_DIR', message: expect.stringMatching(/is damaged, and it can't be kept: EPERM/) as string }
    expect(() => sim.restart()).toThrow(expect.objectContaining(refusal) as Error)
    expect(readFileSync(path, 'utf8')).toBe('nothing of this\ncan be read\n')
    fileFaults()
    sim.restart()
    const kept = readdirSync(directory).filter((name) => name.includes('.damaged-'))
    expect(kept.map((name) => readFileSync(join(directory, name), 'utf8'))).toEqual(['nothing of this\ncan be read\n'])
  })

  it('on a disk without room goes on with the journal of the agent before it; without one it is refused', () => {
    sim.node.addPod(specOf({ uid: 'be', asks: { 'be-cpu': 20, 'be-memory': 8 } }))
    const before = photograph()
    sim.run(5000)
    expect(originalsOnDisk().size).toBeGreaterThan(3)
    fail(['writeSync', `${FILE}.new`, 'ENOSPC'])
    sim.restart()
    expect(sim.release()).toMatchObject({ failed: [], foreign: [], restored: expect.any(Number) as number })
    expect(photograph()).toEqual(before)
    const elsewhere = mkdtempSync(join(directory, 'fresh-'))
    fileFaults((operation, path) => (operation === 'writeSync' && path.startsWith(elsewhere) ? 'ENOSPC' : undefined))
    expect(() => new SimulatedAgent({ dialect: 'v2', directory: elsewhere, config: DEFAULTS })).toThrow(/cannot write .*ENOSPC/)
  })

  it.each(['EIO', 'EACCES', 'EMFILE'])(
    'is refused when the journal can not be read (%s): its originals must not be forgotten',
    (errno) => {
      sim.node.addPod(specOf({ uid: 'be', asks: { 'be-cpu': 20, 'be-memory': 8 } }))
      sim.run(5000)
      const known = originalsOnDisk()
      fail(['openSync', FILE, errno])
      const refusal = { code: 'E_STATE_DIR', message: expect.stringContaining(errno) as string }
      expect(() => sim.restart()).toThrow(expect.objectContaining(refusal) as Error)
      fileFaults()
      sim.restart()
      expect(originalsOnDisk()).toEqual(known)
    },
  )
})
