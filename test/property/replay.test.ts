/**
 * A recording decides again as the agent decided: whole lives of a simulated node, with pods that come and go, settings that change under way and
 * segments that end in the middle of it all, are recorded to files and decided again from nothing but these files.
 */
import { mkdirSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import * as fc from 'fast-check'
import { describe, expect, it, vi } from 'vitest'
import { recordedSink, recordingInto } from '../../src/cli/recording.ts'
import { configsOf, emptyNotes, redecide, type Redecided } from '../../src/cli/replay/redecide.ts'
import { type Config, loadConfig } from '../../src/config/index.ts'
import type { Decision, TickRecord } from '../../src/model/index.ts'
import { type Damage, DirectoryStore, readRecording, recordingFiles } from '../../src/record/index.ts'
import { configOf } from '../support/config.ts'
import { withDirectoryAsync } from '../support/journaled-node.ts'
import { SimulatedAgent } from '../support/simulated-agent.ts'
import { OFFLINE_ROOT, type PodLiteral, specOf } from '../support/snapshots.ts'

vi.setConfig({ testTimeout: 120_000 })

const KINDS: readonly Omit<PodLiteral, 'uid'>[] = [
  { asks: { 'be-cpu': 20, 'be-memory': 2 } },
  { asks: { 'be-cpu': 10, 'be-memory': 1 }, containers: ['a', 'b'] },
  { asks: { 'ot-cpu': 30, 'ot-memory': 1 } },
  { qos: 'Burstable', requestsMilli: 2000 },
  { qos: 'Guaranteed', requestsMilli: 2000, labels: { 'kube-agent.io/qos-class': 'LSX' } },
  { qos: 'Burstable', requestsMilli: 1500, labels: { 'kube-agent.io/qos-class': 'LSR' } },
]
const SETTINGS = [
  {},
  { suppressCpu: { watermarkPermyriad: 5700 }, placement: { bePinning: 'exclusive' } },
  { placement: { dedicatedCpus: '4-5', reservedCpus: '0' }, cpuNarrow: { enterMs: 0 } },
  { cpuFreeze: { enabled: true, enterMs: 0 }, suppressIo: { enabled: true, devices: ['sda'], readBps: 1_000_000 } },
  { placement: { reservedCpus: '0' }, observeRules: ['placement', 'suppressCpu', 'identity'] },
]

const action = fc.oneof(
  fc.record({ do: fc.constant('add' as const), pod: fc.nat(5), kind: fc.nat(KINDS.length - 1) }),
  fc.record({ do: fc.constant('add' as const), pod: fc.nat(5), kind: fc.nat(2) }),
  fc.record({ do: fc.constant('remove' as const), pod: fc.nat(5) }),
  fc.record({ do: fc.constant('load' as const), pod: fc.nat(5), milli: fc.nat(8000) }),
  fc.record({ do: fc.constant('settings' as const), settings: fc.nat(SETTINGS.length - 1) }),
  fc.record({ do: fc.constant('stranger' as const) }),
)
type Action = typeof action extends fc.Arbitrary<infer T> ? T : never

function perform(sim: SimulatedAgent, listed: Set<string>, one: Action): void {
  const uid = 'pod' in one ? `p${one.pod}` : ''
  if (one.do === 'add' && !listed.has(uid)) {
    listed.add(uid)
    sim.node.addPod(specOf({ uid, ...KINDS[one.kind] }))
  } else if (one.do === 'remove' && listed.delete(uid)) sim.node.removePod(uid)
  else if (one.do === 'load') sim.node.setDemand(uid, one.milli)
  else if (one.do === 'settings') sim.reconfigure(configOf(SETTINGS[one.settings]))
  // Somebody else writes what the agent owns.
  else if (one.do === 'stranger') sim.kernel.writeKnob(OFFLINE_ROOT, { kind: 'weight', value: 3 })
}

interface Life {
  readonly actions: readonly (readonly [Action, number])[]
  readonly dialect: 'v1' | 'v2'
}

/** Lives a life in a directory, recording it; answers with what the agent decided. */
async function live({ actions, dialect }: Life, directory: string): Promise<readonly TickRecord[]> {
  const config = configOf(SETTINGS[0])
  const folder = join(directory, 'recording')
  mkdirSync(folder)
  const recording = recordingInto(
    new DirectoryStore(folder, 1 << 26),
    configOf({ recording: { flushMs: 300 } }),
    // So that there are several: the smallest that a configuration allows would hold all of it.
    { segmentBytes: 6000, onChange: ({ pausedBy }) => expect(pausedBy).toBeUndefined() },
  )
  const watch = (sink: Parameters<typeof recordedSink>[0]) => recordedSink(sink, recording)
  const sim = new SimulatedAgent({ dialect, directory, config, tape: recording, watch })
  const listed = new Set<string>()
  for (const [one, ms] of actions) {
    perform(sim, listed, one)
    sim.run(ms)
    await sleep(2)
  }
  await recording.end()
  sim.end()
  expect(sim.failures).toEqual([])
  expect(recording.state).toMatchObject({ ticks: sim.records.length, missedTicks: 0 })
  return sim.records
}

async function again(directory: string, variantOf?: (settings: unknown) => Config): Promise<Redecided[]> {
  const damage: Damage = []
  const notes = emptyNotes()
  const load = (settings: unknown): Config => loadConfig({ file: 'recording', text: JSON.stringify(settings) }).config
  const segments = readRecording(await recordingFiles(join(directory, 'recording')), configsOf(load), damage)
  const options = { fromMs: -Infinity, toMs: Infinity, ...(variantOf === undefined ? {} : { variantOf }) }
  const ticks = [...redecide(segments, options, notes)]
  expect(damage).toEqual([])
  expect(notes).toEqual(emptyNotes())
  return ticks
}

/** Everything that a decision says; layers of a table are no part of that. */
function said({ desired, ...rest }: Decision): object {
  return { ...rest, desired: [...desired.entries()] }
}

const LIFE = fc.record({
  dialect: fc.constantFrom('v1', 'v2'),
  actions: fc.array(fc.tuple(action, fc.constantFrom(50, 300, 1000, 2500)), { minLength: 10, maxLength: 30 }),
})

describe('a recorded life', () => {
  it('is decided again exactly, from its files alone, also where settings or segments change', async () => {
    let segments = 0
    let ticks = 0
    await fc.assert(
      fc.asyncProperty(LIFE, (life) =>
        withDirectoryAsync(async (directory) => {
          const records = await live(life, directory)
          const replayed = await again(directory)
          segments += readdirSync(join(directory, 'recording')).length
          ticks += records.length
          expect(replayed.length).toBe(records.length)
          for (const [index, { recorded, unlike, snapshot }] of replayed.entries()) {
            expect(unlike).toEqual([])
            expect(snapshot.seq).toBe(records[index]?.snapshot.seq)
            expect(said(recorded)).toStrictEqual(said(records[index]?.decision as Decision))
          }
        }),
      ),
      { numRuns: 7 },
    )
    // The lives have something to tell, and more than one segment to tell it in.
    expect(ticks).toBeGreaterThan(100)
    expect(segments).toBeGreaterThan(10)
  })

  it('gives no difference with settings that are the same, carried on from segment to segment', async () => {
    await fc.assert(
      fc.asyncProperty(LIFE, (life) =>
        withDirectoryAsync(async (directory) => {
          await live(life, directory)
          const load = (settings: unknown): Config => loadConfig({ file: 'same', text: JSON.stringify(settings) }).config
          for (const { recorded, replayed } of await again(directory, load)) expect(said(replayed)).toStrictEqual(said(recorded))
        }),
      ),
      { numRuns: 4 },
    )
  })
})
