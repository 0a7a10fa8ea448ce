/** Whatever a node is like, `doctor` has something to say of all of it: no fact makes it throw, contradict itself or leave the page. */
import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { paint } from '../../src/cli/colour.ts'
import { AREAS } from '../../src/cli/doctor/finding.ts'
import { exitCodeOf, judge } from '../../src/cli/doctor/judge.ts'
import { renderFindings } from '../../src/cli/doctor/text.ts'
import { CpuSet } from '../../src/cpu/index.ts'
import { KNOB_KINDS } from '../../src/model/index.ts'
import { configOf } from '../support/config.ts'
import { type FactsLiteral, factsOf } from '../support/node-facts.ts'

const maybe = <Value>(value: fc.Arbitrary<Value>): fc.Arbitrary<Value | undefined> => fc.option(value, { nil: undefined })
const anyProblem = maybe(fc.string({ maxLength: 200 }))
const sound = factsOf()

const anyManager = maybe(
  fc.oneof(
    fc.record({ problem: fc.string() }),
    fc.record({
      path: fc.constant('/state'),
      policy: fc.constantFrom('none', 'static', 'None', 'Static', ''),
      exclusive: anySet(),
    }),
  ),
)

function anySet(): fc.Arbitrary<CpuSet> {
  return fc.array(fc.nat(300), { maxLength: 5 }).map((ids) => CpuSet.from(ids))
}

const anyNode: fc.Arbitrary<FactsLiteral> = fc.record({
  dialect: fc.constantFrom('v1', 'v2'),
  topology: fc.constantFrom('twoCpuVm', 'desktop', 'smtOff', 'ragged'),
  without: fc.dictionary(fc.constantFrom(...KNOB_KINDS), fc.string()),
  cgroups: fc.record({
    offlineRootExists: fc.boolean(),
    driverFound: fc.constantFrom(undefined, 'cgroupfs', 'systemd'),
    controllers: fc.subarray(['cpu', 'cpuacct', 'cpuset', 'memory', 'freezer', 'blkio', 'io', 'pids'] as const),
    forbidden: fc.constantFrom(undefined, 'EROFS', 'EACCES'),
    groupPressure: fc.boolean(),
    tasks: fc.boolean(),
    hidesProcesses: fc.boolean(),
  }),
  kernel: fc.record({
    release: fc.oneof(fc.string(), fc.constantFrom('3.10.0', '5.14.0', '6.1.0-18-amd64')),
    nodePressure: fc.subarray(['cpu', 'memory', 'io'] as const),
    runQueue: fc.boolean(),
    swapBytes: maybe(fc.nat(2 ** 31)),
    clock: maybe(fc.record({ current: fc.constantFrom('tsc', 'hpet', 'jiffies'), available: fc.array(fc.string()) })),
    memory: fc.constantFrom(undefined, sound.kernel.memory),
  }),
  kubelet: fc.record({
    socketProblem: anyProblem,
    directoryProblem: maybe(fc.constantFrom('ENOENT', 'EACCES')),
    podResourcesProblem: anyProblem,
    file: fc.oneof(fc.record({ path: fc.string() }), fc.record({ path: fc.string(), problem: fc.string() })),
    settings: fc.dictionary(
      fc.constantFrom(
        'cpuManagerPolicy',
        'memoryManagerPolicy',
        'cgroupDriver',
        'cgroupRoot',
        'reservedSystemCPUs',
        'cpuCFSQuota',
      ),
      fc.record({ value: fc.oneof(fc.string(), fc.constantFrom('static', 'none', '0-3', 'false')), from: fc.string() }),
    ),
    cpuManager: anyManager,
    memoryManager: anyManager,
  }),
  pods: fc.oneof(
    fc.record({ source: fc.string(), everRead: fc.boolean(), pods: fc.nat(300), problems: fc.array(fc.string()) }),
    fc.record({ problem: fc.string(), hint: fc.constant('Set pods.source.') }),
  ),
  api: fc.record({ server: fc.constantFrom('', 'https://x'), problem: anyProblem }),
  http: fc.constantFrom(undefined, 'nobody', 'agent', 'other'),
})

const anySettings = fc.record({
  mode: fc.constantFrom('observe', 'enforce'),
  identity: fc.record({
    backend: fc.constantFrom('auto', 'bvt', 'qosLevel', 'offline', 'idle', 'weight', 'none'),
    coreScheduling: fc.boolean(),
  }),
  placement: fc.record({ enabled: fc.boolean(), reservedCpus: anySet().map(String) }),
  kubelet: fc.record({ enabled: fc.boolean() }),
  suppressIo: fc.record({ enabled: fc.boolean() }),
  resources: fc.record({ cpuUnit: fc.constantFrom('100m', '300m') }),
})

describe('doctor', () => {
  it('speaks of every area, once of each thing, with a way out of what costs something, on a page of 100 columns', () => {
    fc.assert(
      fc.property(anyNode, anySettings, (literal, settings) => {
        const findings = judge(factsOf(literal), configOf(settings))
        const ids = findings.map(({ id }) => id)
        expect(ids).toEqual([...new Set(ids)])
        expect([...new Set(findings.map(({ area }) => area))]).toEqual([...AREAS])
        for (const { state, remedy = '' } of findings) if (state === 'warn' || state === 'fail') expect(remedy).toMatch(/\w{2,}/)
        const fails = findings.some(({ state }) => state === 'fail')
        expect(exitCodeOf(findings, { strict: false })).toBe(fails ? 4 : 0)
        for (const line of renderFindings(findings, paint(false)).split('\n')) expect(line.length).toBeLessThanOrEqual(100)
      }),
      { numRuns: 50 },
    )
  })
})
