import { describe, expect, it } from 'vitest'
import { loadConfig, reloadConfig } from '../../../src/config/index.ts'
import { CpuSet } from '../../../src/cpu/index.ts'
import { AgentError } from '../../../src/model/index.ts'
import { writeFileSync } from 'node:fs'
import { failureOf, yamlFile } from './support.ts'

const FULL_NAMES = {
  'be-cpu': 'kube-agent.io/be-cpu',
  'be-memory': 'kube-agent.io/be-memory',
  'ot-cpu': 'kube-agent.io/ot-cpu',
  'ot-memory': 'kube-agent.io/ot-memory',
}

/** A rung: whether it is on, entered at, left at, and its times in seconds. */
const rung = (enabled: boolean, enter: number, exit: number, [enterS, exitS, coolDownS]: readonly [number, number, number]) => ({
  enabled,
  enterPermyriad: enter,
  exitPermyriad: exit,
  enterMs: enterS * 1000,
  exitMs: exitS * 1000,
  coolDownMs: coolDownS * 1000,
})

const SUPPRESSION = {
  pressure: {
    enabled: true,
    boundPermyriad: 2000,
    exitPermyriad: 1000,
    runQueuePermyriad: 30_000,
    cutPermyriad: 7000,
    cutMs: 200,
    futileMs: 30_000,
  },
  steady: { turns: 6, windowMs: 30_000, mostDwellMs: 30_000 },
  cpuNarrow: rung(true, 9000, 8000, [2, 10, 5]),
  cpuFreeze: rung(false, 9500, 8500, [5, 15, 15]),
  cpuEvict: rung(false, 9500, 8500, [60, 60, 30]),
  suppressMemory: {
    enabled: true,
    pressurePermyriad: 2000,
    highPermyriad: 9000,
    protectLowPermyriad: 0,
    protectMinPermyriad: 0,
    staleMs: 10_000,
  },
  memoryHold: rung(true, 1500, 2000, [1, 30, 1]),
  memoryHighOt: rung(true, 1200, 1700, [1, 30, 5]),
  memoryHighBe: rung(true, 1000, 1500, [2, 30, 5]),
  memoryEvictOt: rung(true, 700, 1200, [3, 30, 30]),
  memoryEvictBe: rung(true, 500, 1000, [5, 30, 15]),
  suppressIo: {
    enabled: false,
    beWeight: 20,
    otWeight: 5,
    devices: [],
    readBps: 0,
    writeBps: 0,
    readIops: 0,
    writeIops: 0,
    otSharePermyriad: 5000,
    onlineDevices: [],
    onlineBps: 1_048_576,
    offlineDevices: [],
    pressurePermyriad: 2000,
    exitPermyriad: 1000,
    cutPermyriad: 5000,
    floorPermyriad: 500,
    growthPermyriad: 500,
  },
  evict: {
    enabled: false,
    dryRunCpu: false,
    dryRunMemory: false,
    intervalMs: 10_000,
    perHour: 20,
    holdMs: 12_000,
    minAgeMs: 0,
    gracePeriodSeconds: 30,
    force: false,
    forceAfterMs: 60_000,
  },
  own: { weight: true, nice: -10, realtimePriority: 0 },
}

describe('defaults', () => {
  it('are what no file, an empty file, a comment, null and empty blocks give', () => {
    const { config } = loadConfig()
    const contents = ['', '\n', '# nothing yet\n', 'null\n', '---\n', '\uFEFF', 'loop:\nsuppressCpu:\nclasses: {namespaces: }\n']
    for (const content of contents) expect(loadConfig({ file: yamlFile(content) }).config).toEqual(config)
  })

  it('change nothing on a node', () => {
    expect(loadConfig().config.mode).toBe('observe')
  })

  it('are the ones of the design', () => {
    expect(loadConfig().config).toEqual({
      mode: 'observe',
      onExit: 'hold',
      observeRules: [],
      node: { name: '', cgroupRoot: '/', cgroupDriver: 'auto' },
      paths: {
        proc: '/proc',
        sys: '/sys',
        cgroup: '/sys/fs/cgroup',
        devicePlugins: '/var/lib/kubelet/device-plugins',
        podResources: '/var/lib/kubelet/pod-resources',
        state: '/run/kube-agent',
      },
      loop: { guardMs: 25, hotMs: 50, calmMs: 1000 },
      pods: { source: 'auto', directory: '/var/lib/kube-agent/pods', rescanMs: 5000, maxPods: 1000 },
      classes: {
        label: 'kube-agent.io/qos-class',
        koordinatorLabel: false,
        levelLabel: 'kube-agent.io/level',
        levels: { P0: 'LSX', P1: 'LSR', P2: 'LS', P3: 'LS', P4: 'LS' },
        priorityClasses: {},
        namespaces: {},
        besteffort: 'UNTAGGED',
      },
      resources: { domain: 'kube-agent.io', fullNames: FULL_NAMES, cpuUnitMilli: 100, memoryUnitBytes: 512 * 2 ** 20 },
      placement: {
        enabled: true,
        reservedCpus: CpuSet.EMPTY,
        dedicatedCpus: CpuSet.EMPTY,
        lsSharePermyriad: 10_000,
        lsrSharePermyriad: 5000,
        bePinning: 'shared',
        strategy: 'pack',
        poolMinCpus: 1,
      },
      identity: { enabled: true, backend: 'auto', rootIdle: false, coreScheduling: false },
      burst: { enabled: false, sharePermyriad: 5000 },
      limits: { enabled: true },
      suppressCpu: {
        enabled: true,
        watermarkPermyriad: 6500,
        lowWatermarkPermyriad: 5500,
        marginPermyriad: 250,
        floorPermyriad: 200,
        otFloorPermyriad: 100,
        growthPermyriad: 1000,
        deadBandPermyriad: 100,
        dwellMs: 1000,
        windowMs: 100,
        jumpPermyriad: 1500,
        beHeadroomPermyriad: 500,
        staleMs: 5000,
      },
      ...SUPPRESSION,
      capacity: {
        enabled: true,
        reclaimCpuPermyriad: 6500,
        reclaimMemoryPermyriad: 6500,
        otRatioPermyriad: 8000,
        peakWindowMs: 60_000,
        warmupMs: 30_000,
        growPermyriad: 500,
        maxUnits: 2048,
      },
      nodeSignals: {
        enabled: true,
        enterMs: 10_000,
        exitMs: 60_000,
        memoryWatermarkPermyriad: 9000,
        memoryLowWatermarkPermyriad: 8500,
      },
      cluster: {
        server: '',
        tokenFile: '/var/run/secrets/kubernetes.io/serviceaccount/token',
        caFile: '/var/run/secrets/kubernetes.io/serviceaccount/ca.crt',
        kubelet: 'https://127.0.0.1:10250',
        kubeletVerify: true,
        requestMs: 10_000,
        writeMs: 10_000,
        annotateMs: 300_000,
        events: true,
        condition: true,
        annotations: true,
        hotLabel: false,
        hotTaint: false,
      },
      kubelet: { enabled: true, waitMs: 5000, pushMs: 10_000 },
      http: { enabled: true, host: '127.0.0.1', port: 9465 },
      metrics: { perPod: false, maxPods: 250 },
      log: { level: 'info' },
      drift: { enabled: true, maxPerMinute: 6, concedeMs: 600_000 },
      failSafe: { afterTicks: 5 },
      journal: { maxBytes: 1_048_576, decisions: 512, marks: false },
      recording: {
        enabled: false,
        directory: '/var/lib/kube-agent/recording',
        maxBytes: 67_108_864,
        segmentBytes: 4_194_304,
        flushMs: 5000,
      },
    })
  })

  it('are each described in one line, with the range for numbers', () => {
    for (const [key, { value, description }] of loadConfig().provenance) {
      expect(description, key).toMatch(/^[A-Z][^\n]+$/)
      if (typeof value === 'number') expect(description, key).toMatch(/\((ms, |bytes, |permyriad, )?-?\d+ to \d+\)$/)
      if (key.endsWith('Permyriad')) expect(description, key).toContain('permyriad')
      if (key.endsWith('Ms')) expect(description, key).toContain('ms')
    }
  })
})

describe('values', () => {
  it('are parsed where the file holds text', () => {
    const content = `
resources: { cpuUnit: 0.25, memoryUnit: 1Gi }
placement:
  reservedCpus: 0
  dedicatedCpus: 4-7,12
classes:
  namespaces: { batch: BE, constructor: LSR, 123: OT }
`
    const { config } = loadConfig({ file: yamlFile(content) })
    expect(config.resources).toMatchObject({ domain: 'kube-agent.io', cpuUnitMilli: 250, memoryUnitBytes: 2 ** 30 })
    expect(config.placement.reservedCpus.equals(CpuSet.of(0))).toBe(true)
    expect(config.placement.dedicatedCpus.toString()).toBe('4-7,12')
    expect(config.classes.namespaces).toEqual({ batch: 'BE', constructor: 'LSR', 123: 'OT' })
  })

  it('are not found for namespaces that are named like methods of objects', () => {
    for (const name of ['constructor', 'toString', '__proto__']) {
      expect(loadConfig({ text: 'classes: { namespaces: { batch: BE } }' }).config.classes.namespaces[name]).toBeUndefined()
    }
  })

  it('can not be changed by whoever reads them', () => {
    const { config } = loadConfig()
    for (const part of [config, config.loop, config.classes.namespaces]) expect(Object.isFrozen(part)).toBe(true)
    expect(config.placement.reservedCpus.size).toBe(0)
  })

  it('may come from an anchor', () => {
    const { config } = loadConfig({ text: 'loop: { guardMs: &pace 40, hotMs: *pace }' })
    expect(config.loop).toEqual({ guardMs: 40, hotMs: 40, calmMs: 1000 })
  })

  it('follow YAML 1.2 even when the file asks for 1.1', () => {
    expect(failureOf({ text: '%YAML 1.1\n---\nhttp: { enabled: yes }' }).message).toContain('expected true or false, got "yes"')
    expect(loadConfig({ text: 'loop: { calmMs: 0x400 }' }).config.loop.calmMs).toBe(1024)
  })
})

describe('layers', () => {
  const mode = (value: unknown, origin = '--mode') => ({ path: ['mode'], value, origin })

  it('go default < file < flag, and each value knows its origin', () => {
    const file = yamlFile('mode: plan\nloop:\n  guardMs: 30\n  hotMs: 60\n')
    const flags = [mode('observe'), mode('enforce'), { path: ['loop', 'hotMs'], value: 70, origin: '--hot-ms' }]
    const loaded = loadConfig({ file, overrides: flags })
    expect(loaded.config.mode).toBe('enforce')
    expect(loaded.files).toEqual([file])
    expect(loaded.provenance.get('mode')).toMatchObject({ value: 'enforce', origin: '--mode' })
    expect(loaded.provenance.get('loop.guardMs')).toMatchObject({ value: 30, origin: `${file}:3` })
    expect(loaded.provenance.get('loop.hotMs')).toMatchObject({ value: 70, origin: '--hot-ms' })
    expect(loaded.provenance.get('loop.calmMs')).toMatchObject({ value: 1000, origin: 'default' })
  })

  it('are files of which a later one wins, setting by setting: cluster < pool < node', () => {
    const cluster = yamlFile('mode: plan\nloop: { guardMs: 30, hotMs: 60 }\nclasses: { namespaces: { a: BE, b: BE } }\n')
    const pool = yamlFile('# pool\nloop:\n  hotMs: 70\nclasses: { namespaces: { c: LS } }\n')
    const node = yamlFile('mode: enforce\n')
    const loaded = loadConfig({ file: [cluster, pool, node] })
    expect(loaded.files).toEqual([cluster, pool, node])
    const given = ['mode', 'loop.guardMs', 'loop.hotMs', 'loop.calmMs'].map((key) => loaded.provenance.get(key))
    expect(given.map((setting) => [setting?.value, setting?.origin])).toEqual([
      ['enforce', `${node}:1`],
      [30, `${cluster}:2`],
      [70, `${pool}:3`],
      [1000, 'default'],
    ])
    // A mapping is one setting, taken as a whole.
    expect(Object.keys(loaded.config.classes.namespaces)).toEqual(['c'])
    expect(loadConfig({ file: [node, pool, cluster] }).config.mode).toBe('plan')
    expect(loadConfig({ file: [cluster] })).toEqual(loadConfig({ file: cluster }))
  })

  it('tell the issues of all files at once, in their order, each at its place', () => {
    const cluster = yamlFile('loop:\n  hotMs: 2000\nmod: plan\n')
    const broken = yamlFile('mode: [plan\n')
    const pool = yamlFile('log: { level: 3 }\nloop: { calmMs: 900 }\n')
    expect(failureOf({ file: [cluster, pool] }).message.split('\n')).toEqual([
      `${cluster}:2:10: loop.hotMs: expected an integer from 10 to 1000, got 2000`,
      `${cluster}:3:1: mod: unknown key; did you mean mode?`,
      `${pool}:1:15: log.level: expected one of trace, debug, info, warn, error, got 3`,
    ])
    const places = failureOf({ file: [cluster, broken, pool] })
      .message.split('\n')
      .map((line) => line.split(':')[0])
    expect(new Set(places)).toEqual(new Set([cluster, broken]))
    expect(failureOf({ file: [yamlFile('loop: {hotMs: 40}'), yamlFile('loop: {guardMs: 50}')] }).message).toMatch(
      /^\S+config\.yaml:1:17: loop\.guardMs: 50 must not be above loop\.hotMs \(40\)$/,
    )
    expect(failureOf({ file: [cluster, `${pool}.gone`] })).toMatchObject({ code: 'E_CONFIG_READ' })
  })

  it('keep what was written in provenance, also of values that are parsed and of mappings', () => {
    const { provenance } = loadConfig({ file: 'f', text: 'resources: {memoryUnit: 1Gi}\nclasses:\n\n  namespaces: {a: BE}\n' })
    expect(provenance.get('resources.memoryUnit')).toMatchObject({ value: '1Gi', origin: 'f:1' })
    expect(provenance.get('classes.namespaces')).toMatchObject({ value: { a: 'BE' }, origin: 'f:4' })
  })

  it('let a flag mend a bad value of the file, but not a bad key', () => {
    expect(loadConfig({ text: 'mode: x', overrides: [mode('plan')] }).config.mode).toBe('plan')
    expect(failureOf({ text: 'mod: x', overrides: [mode('plan')] }).message).toContain('mod: unknown key')
  })

  it('name the flag in its issues, after those of the file', () => {
    const overrides = [
      mode('force'),
      { path: ['loop', 'hotMS'], value: 1, origin: '--set' },
      { path: ['a', 'b', 'c'], value: 1, origin: '--x' },
    ]
    expect(failureOf({ file: 'f', text: 'log: {level: 3}', overrides }).message.split('\n')).toEqual([
      'f:1:14: log.level: expected one of trace, debug, info, warn, error, got 3',
      '--set: loop.hotMS: unknown key; did you mean hotMs?',
      expect.stringMatching(/^--x: a\.b\.c: unknown key/),
      '--mode: mode: expected one of observe, plan, enforce, got "force"',
    ])
  })

  it('point an impossible combination at the layer that made it', () => {
    const overrides = [{ path: ['loop', 'calmMs'], value: 3000, origin: '--calm-ms' }]
    expect(failureOf({ overrides }).message).toBe(
      '--calm-ms: suppressCpu.staleMs: 5000 must be at least twice loop.calmMs (3000), or calm readings are stale',
    )
  })
})

describe('reload', () => {
  it('gives the new configuration and the names of what changed', () => {
    const file = yamlFile('mode: plan\nclasses: {namespaces: {a: BE}}\n')
    const previous = loadConfig({ file })
    writeFileSync(file, '# moved down a line\nmode: enforce\nclasses: {namespaces: {a: BE}}\n')
    const result = reloadConfig(previous, { file })
    expect(result).toMatchObject({ loaded: { config: { mode: 'enforce' } }, changed: ['mode'] })
  })

  it('keeps the last good one when the new one is bad or gone', () => {
    const file = yamlFile('mode: plan\n')
    const previous = loadConfig({ file })
    writeFileSync(file, 'mode: forward\n')
    const bad = reloadConfig(previous, { file })
    expect('kept' in bad && bad.kept).toBe(previous)
    expect('error' in bad && bad.error).toMatchObject({ code: 'E_CONFIG', message: expect.stringContaining('"forward"') })
    const gone = reloadConfig(previous, { file: `${file}.gone` })
    expect('kept' in gone && gone.kept).toBe(previous)
    expect('error' in gone && gone.error).toBeInstanceOf(AgentError)
  })
})
