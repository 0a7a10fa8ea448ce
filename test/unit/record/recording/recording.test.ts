/**
 * Recordings on disk: what is left by a kill, a full disk or another version, the bound on the bytes, and that none of it reaches the agent.
 */
import { spawnSync } from 'node:child_process'
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, symlinkSync, truncateSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import {
  type ConfigObject,
  type Damage,
  DirectoryStore,
  FileStore,
  readRecording,
  Recording,
  recordingFiles,
  type RecordingState,
  type Store,
} from '../../../../src/record/index.ts'
import { type PodLiteral, snapshotOf } from '../../../support/snapshots.ts'
import { tick } from '../fixtures.ts'

const CONFIG: ConfigObject = { mode: 'observe', loop: { calmMs: 1000 } }

let directory: string

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'kube-agent-recording-'))
})
afterEach(() => rmSync(directory, { recursive: true, force: true }))

interface Recorded {
  readonly recording: Recording
  readonly states: RecordingState[]
}

function recordingInto(store: Store, segmentBytes = Infinity): Recorded {
  const states: RecordingState[] = []
  const recording = new Recording({
    store,
    header: { version: '1.2.3', nodeName: 'node-a', session: 's' },
    segmentBytes,
    flushMs: 1000,
    settingsOf: (config) => config,
    lasting: (memory) => memory,
    onChange: (state) => states.push(state),
  })
  return { recording, states }
}

/** Pods whose use gzip finds nothing in. */
function noise(seq: number): readonly PodLiteral[] {
  return Array.from({ length: 20 }, (_, index) => ({ uid: `p${index}`, usesMilli: Math.abs(Math.sin(seq * 97 + index)) * 1000 }))
}

/** Records ticks a second apart, and lets what is written beside them be written. */
async function record({ recording }: Recorded, seqs: readonly number[]): Promise<void> {
  for (const seq of seqs) {
    const snapshot = { ...snapshotOf({ nowMs: seq * 1000, pods: noise(seq) }), seq }
    recording.sensed(snapshot, { seq }, CONFIG)
    recording.tick(tick({ seq }))
    await settled()
  }
}

/** Some turns of the event loop, until what waits for files and zlib has got its turn. */
async function settled(): Promise<void> {
  for (let turn = 0; turn < 4; turn += 1) await new Promise((resolve) => setTimeout(resolve, 1))
}

const upTo = (count: number, from = 1): number[] => Array.from({ length: count }, (_, index) => from + index)

async function seqsOf(path: string): Promise<{ readonly seqs: readonly number[]; readonly damage: Damage }> {
  const damage: Damage = []
  const seqs: number[] = []
  for (const { entries } of readRecording(await recordingFiles(path), () => CONFIG, damage))
    for (const entry of entries) if (entry.is === 'tick') seqs.push(entry.snapshot.seq)
  return { seqs, damage }
}

describe('a recording', () => {
  it('is a file for its user alone, whose first lines tell what it is and who made it', async () => {
    const path = join(directory, 'a.recording')
    const recorded = recordingInto(new FileStore(path, 1 << 20))
    await record(recorded, upTo(3))
    await recorded.recording.end()
    expect(statSync(path).mode & 0o777).toBe(0o600)
    const [first, second = ''] = readFileSync(path, 'latin1').split('\n')
    expect(first).toBe('kube-agent recording 1')
    expect(JSON.parse(second)).toMatchObject({ version: '1.2.3', nodeName: 'node-a', segment: 1 })
    expect(await seqsOf(path)).toEqual({ seqs: [1, 2, 3], damage: [] })
  })

  it('does not follow a link, nor write over a file that is there', async () => {
    const target = join(directory, 'target')
    writeFileSync(target, 'precious')
    for (const make of [(path: string) => symlinkSync(target, path), (path: string) => writeFileSync(path, 'precious')]) {
      const path = join(directory, 'a.recording')
      make(path)
      const recorded = recordingInto(new FileStore(path, 1 << 20))
      await record(recorded, upTo(2))
      await vi.waitFor(() => expect(recorded.states[0]?.pausedBy).toMatch(/EEXIST|ELOOP/))
      await recorded.recording.end()
      expect(readFileSync(target, 'utf8')).toBe('precious')
      expect(readFileSync(path, 'utf8')).toBe('precious')
      rmSync(path)
    }
  })

  it('of which the end is torn off gives all that was whole, and says what it left out', async () => {
    const path = join(directory, 'a.recording')
    const recorded = recordingInto(new FileStore(path, 1 << 20))
    await record(recorded, upTo(5))
    await recorded.recording.end()
    const whole = readFileSync(path)
    const frames: number[] = []
    for (let at = whole.indexOf('\n', whole.indexOf('\n') + 1) + 1; at < whole.length; at += 4 + whole.readUInt32LE(at))
      frames.push(at)
    expect(frames.length).toBeGreaterThan(2)
    for (const length of [whole.length - 1, (frames.at(-1) ?? 0) + 3, (frames.at(-1) ?? 0) + 5]) {
      writeFileSync(path, whole)
      truncateSync(path, length)
      const { seqs, damage } = await seqsOf(path)
      expect(seqs.length).toBeGreaterThan(2)
      expect(seqs).toEqual(upTo(seqs.length))
      expect(damage).toEqual([expect.stringContaining(`${path}: it ends within a record; the `)])
    }
  })

  it('with a damaged record gives what comes before it', async () => {
    const path = join(directory, 'a.recording')
    const recorded = recordingInto(new FileStore(path, 1 << 20))
    await record(recorded, upTo(5))
    await recorded.recording.end()
    const bytes = readFileSync(path)
    const last = bytes.length - 40
    bytes[last] = (bytes[last] ?? 0) ^ 0xff
    writeFileSync(path, bytes)
    const { seqs, damage } = await seqsOf(path)
    expect(seqs).toEqual(upTo(seqs.length))
    expect(damage[0]).toContain('a record is damaged')
  })

  it.each([
    ['kube-agent recording 2\n{}\n', /of recording format 2, this version reads format 1/],
    ['kube-agent recording 1\n{}\n', /second line does not say who made it/],
    ['hello', /is not a recording/],
    ['', /is not a recording/],
  ])('is told from %j', async (text, message) => {
    const path = join(directory, 'other')
    writeFileSync(path, text)
    await expect(seqsOf(path)).rejects.toMatchObject({ code: 'E_RECORDING', message: expect.stringMatching(message) as string })
  })

  it('that is not there, or a directory without one, is named', async () => {
    await expect(recordingFiles(join(directory, 'none'))).rejects.toMatchObject({ code: 'E_RECORDING' })
    await expect(recordingFiles(directory)).rejects.toThrow(`no recording in ${directory}`)
    spawnSync('mkfifo', [join(directory, 'fifo')])
    await expect(seqsOf(join(directory, 'fifo'))).rejects.toThrow('is not a regular file')
  })
})

describe('the bound', () => {
  it('of a directory holds at every moment: the oldest segments go, and the newest ticks stay', async () => {
    const maxBytes = 20_000
    const recorded = recordingInto(new DirectoryStore(directory, maxBytes), 4000)
    const sizes: number[] = []
    const count = 60
    for (const seq of upTo(count)) {
      await record(recorded, [seq])
      sizes.push(readdirSync(directory).reduce((sum, name) => sum + statSync(join(directory, name)).size, 0))
    }
    await recorded.recording.end()
    expect(Math.max(...sizes)).toBeLessThanOrEqual(maxBytes)
    expect(Math.max(...sizes)).toBeGreaterThan(maxBytes / 2)
    const { seqs, damage } = await seqsOf(directory)
    expect(damage).toEqual([])
    expect(seqs[0]).toBeGreaterThan(1)
    expect(seqs).toEqual(upTo(count - (seqs[0] ?? 0) + 1, seqs[0]))
    expect(recorded.states).toEqual([])
  })

  it('counts what an agent before has left, and names segments on from there', async () => {
    for (const round of [0, 1]) {
      const recorded = recordingInto(new DirectoryStore(directory, 1 << 20))
      await record(recorded, upTo(2, 1 + round * 10))
      await recorded.recording.end()
    }
    writeFileSync(join(directory, 'notes.txt'), 'not ours')
    expect(readdirSync(directory).sort()).toEqual(['00000001.recording', '00000002.recording', 'notes.txt'])
    expect((await seqsOf(directory)).seqs).toEqual([1, 2, 11, 12])
  })

  it('of a file ends the recording, which is good up to there', async () => {
    const path = join(directory, 'a.recording')
    const recorded = recordingInto(new FileStore(path, 6000))
    await record(recorded, upTo(40))
    await vi.waitFor(() => expect(recorded.recording.state.over).toBe(true))
    await recorded.recording.end()
    expect(statSync(path).size).toBeLessThanOrEqual(6000)
    const { seqs, damage } = await seqsOf(path)
    expect(seqs.length).toBeGreaterThan(1)
    expect(damage).toEqual([])
  })
})

describe('trouble', () => {
  it('on a full disk pauses the recording, is told of once, and passes', async (context) => {
    const disk = join(directory, 'disk')
    spawnSync('mkdir', ['-m', '700', disk])
    if (spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=64k,mode=700', 'tmpfs', disk]).status !== 0)
      context.skip('needs root, to mount a small file system')
    try {
      writeFileSync(join(disk, 'filler'), Buffer.alloc(52 * 1024))
      const recorded = recordingInto(new DirectoryStore(disk, 1 << 20))
      await record(recorded, upTo(60))
      await vi.waitFor(() => expect(recorded.states[0]?.pausedBy).toContain('ENOSPC'))
      // Every retry on the full disk fails too, leaves nothing behind, and is not told of.
      await record(recorded, upTo(80, 100))
      expect(recorded.states.length).toBe(1)
      expect(recorded.recording.state.missedTicks).toBeGreaterThan(60)
      expect(readdirSync(disk).length).toBeLessThan(4)
      rmSync(join(disk, 'filler'))
      await record(recorded, upTo(5, 400))
      await vi.waitFor(() => expect(recorded.states.at(-1)).toMatchObject({ over: false }))
      expect(recorded.states.at(-1)?.pausedBy).toBeUndefined()
      await recorded.recording.end()
      const { seqs, damage } = await seqsOf(disk)
      expect(seqs.slice(-5)).toEqual(upTo(5, 400))
      expect(damage).toEqual([])
    } finally {
      spawnSync('umount', [disk])
    }
  })

  it('with ticks, all of which fail, is written all the same: nothing gathers in memory', async () => {
    const path = join(directory, 'a.recording')
    const recorded = recordingInto(new FileStore(path, 1 << 20))
    for (const seq of upTo(30)) {
      recorded.recording.sensed({ ...snapshotOf({ nowMs: seq * 1000, pods: noise(seq) }), seq }, {}, CONFIG)
      await settled()
    }
    const { seqs, damage } = await seqsOf(path)
    expect(seqs.length).toBeGreaterThan(25)
    expect(seqs).toEqual(upTo(seqs.length))
    expect(damage).toEqual([])
    await recorded.recording.end()
    expect((await seqsOf(path)).seqs).toEqual(upTo(30))
    expect(recorded.states).toEqual([])
  })

  it('leaves room to others on the disk, and begins no file where there is none', async () => {
    const modest = recordingInto(new DirectoryStore(directory, 1 << 20, Number.MAX_SAFE_INTEGER))
    await record(modest, upTo(3))
    await vi.waitFor(() => expect(modest.states[0]?.pausedBy).toMatch(/has less than \d+ bytes free$/))
    await modest.recording.end()
    expect(readdirSync(directory)).toEqual([])
    const content = recordingInto(new DirectoryStore(directory, 1 << 20, 1))
    await record(content, upTo(3))
    await content.recording.end()
    expect((await seqsOf(directory)).seqs).toEqual([1, 2, 3])
  })

  it('with a value that can’t be recorded never reaches the tick', async () => {
    const recorded = recordingInto(new DirectoryStore(directory, 1 << 20))
    recorded.recording.sensed(snapshotOf({ nowMs: 1 }), { odd: () => 1 }, CONFIG)
    recorded.recording.tick(tick())
    await settled()
    expect(recorded.states).toMatchObject([{ pausedBy: expect.stringContaining("a function can't be recorded") as string }])
    await recorded.recording.end()
  })

  it('with a disk that hangs for half a minute is told of, begins nothing meanwhile, and goes on when it answers again', async () => {
    const disk = new DirectoryStore(directory, 1 << 20)
    let answer: () => void = () => undefined
    let hangs = false
    const begun: number[] = []
    let seq = 0
    const hanging: Store = {
      begin: () => {
        begun.push(seq)
        return disk.begin()
      },
      append: async (bytes) => {
        if (hangs) await new Promise<void>((resolve) => (answer = resolve))
        await disk.append(bytes)
      },
      end: () => disk.end(),
      get bytes() {
        return disk.bytes
      },
      get segmentBytes() {
        return disk.segmentBytes
      },
    }
    const recorded = recordingInto(hanging)
    const until = async (last: number): Promise<void> => {
      while (seq < last) {
        seq += 1
        await record(recorded, [seq])
      }
    }
    await until(5)
    hangs = true
    await until(35)
    expect(recorded.states).toEqual([])
    await until(150)
    expect(recorded.states.map(({ pausedBy }) => pausedBy)).toEqual(['the disk has not answered for 30 s'])
    expect(begun).toEqual([1])
    expect(recorded.recording.state.missedTicks).toBeGreaterThan(100)
    hangs = false
    answer()
    await until(160)
    await recorded.recording.end()
    expect(recorded.states.at(-1)?.pausedBy).toBeUndefined()
    const { seqs, damage } = await seqsOf(directory)
    expect(damage).toEqual([])
    expect(seqs.slice(-5)).toEqual(upTo(5, 156))
  })

  it('with a disk that hangs bounds what waits for it', async () => {
    const never: Store = {
      begin: () => new Promise(() => undefined),
      append: () => Promise.resolve(),
      end: () => Promise.resolve(),
      bytes: 0,
      segmentBytes: 0,
    }
    const recorded = recordingInto(never)
    const pods = Array.from({ length: 400 }, (_, index) => ({ uid: `p${index}`, usesMilli: index + 0.123 }))
    for (const seq of upTo(500)) {
      recorded.recording.sensed({ ...snapshotOf({ nowMs: seq * 1000, pods }), seq }, {}, CONFIG)
      recorded.recording.tick(tick({ seq }))
    }
    await settled()
    expect(recorded.states).toMatchObject([{ pausedBy: 'the disk is too slow' }])
    expect(recorded.recording.state.missedTicks).toBeGreaterThan(0)
  })
})
