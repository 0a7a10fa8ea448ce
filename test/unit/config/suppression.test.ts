/** The settings of suppression: what is impossible together, lists of devices, rates, and defaults that stand on their own. */
import { describe, expect, it } from 'vitest'
import { adviceOn, type Config, loadConfig, renderConfig } from '../../../src/config/index.ts'
import { CPU_RUNGS, MEMORY_RUNGS } from '../../../src/model/index.ts'
import { issuesOf, yamlFile } from './support.ts'

const configOf = (text: string): Config => loadConfig({ text }).config
const withoutPlace = (text: string): string[] => issuesOf(text).map((issue) => issue.replace(/^\d+:\d+: /, ''))

describe('rungs', () => {
  it.each(CPU_RUNGS)('%s is left below what it is entered at', (rung) => {
    const on = (enter: number, exit: number) => `{${rung}: {enterPermyriad: ${enter}, exitPermyriad: ${exit}}}`
    expect(withoutPlace(on(9500, 9500))).toEqual([`${rung}.exitPermyriad: 9500 must be below ${rung}.enterPermyriad (9500)`])
    expect(configOf(on(9500, 9499))[rung].exitPermyriad).toBe(9499)
  })

  it.each(MEMORY_RUNGS)('%s is left when more memory is available than it is entered at', (rung) => {
    const at = configOf('{}')[rung].enterPermyriad
    expect(withoutPlace(`{${rung}: {exitPermyriad: ${at}}}`)).toEqual([
      `${rung}.enterPermyriad: ${at} must be below ${rung}.exitPermyriad (${at})`,
    ])
    expect(configOf(`{${rung}: {exitPermyriad: ${at + 1}}}`)[rung].exitPermyriad).toBe(at + 1)
  })

  it('are entered in their order, as far as they are on', () => {
    expect(withoutPlace('memoryHighOt: {enterPermyriad: 1501}')).toEqual([
      'memoryHighOt.enterPermyriad: 1501 must not be above memoryHold.enterPermyriad (1500), the rung that is climbed before it',
    ])
    expect(withoutPlace('cpuNarrow: {enterPermyriad: 9501}\ncpuEvict: {enabled: true}')).toEqual([
      'cpuEvict.enterPermyriad: 9500 must not be below cpuNarrow.enterPermyriad (9501), the rung that is climbed before it',
    ])
    expect(() => configOf('cpuNarrow: {enterPermyriad: 9501}')).not.toThrow()
    expect(() =>
      configOf('memoryHighOt: {enterPermyriad: 1500}\nmemoryHighBe: {enterPermyriad: 1500, exitPermyriad: 1501}'),
    ).not.toThrow()
    expect(() => configOf('memoryHold: {enabled: false, enterPermyriad: 100, exitPermyriad: 200}')).not.toThrow()
  })

  it('that are far apart are compared where those between are off, and one mistake is told once', () => {
    const offBetween = ['memoryHighOt', 'memoryHighBe', 'memoryEvictOt'].map((rung) => `${rung}: {enabled: false}`).join('\n')
    expect(withoutPlace(`${offBetween}\nmemoryHold: {enterPermyriad: 499}`)).toEqual([
      'memoryEvictBe.enterPermyriad: 500 must not be above memoryHold.enterPermyriad (499), the rung that is climbed before it',
    ])
    expect(withoutPlace('memoryHold: {enterPermyriad: 499}')).toEqual([
      expect.stringMatching(/^memoryHighOt\.enterPermyriad: 1200 /),
    ])
  })

  it('tell of a mistake where it was made', () => {
    expect(issuesOf('memoryHold:\n  enterPermyriad: 900\n')).toEqual([
      expect.stringMatching(/^2:19: memoryHighOt\.enterPermyriad: 1200 must not be above memoryHold/),
    ])
    expect(issuesOf('memoryHighOt:\n  enabled: true\n  enterPermyriad: 1600\n')).toEqual([
      expect.stringMatching(/^3:19: memoryHighOt\.enterPermyriad: 1600 must not be above/),
    ])
  })
})

describe('impossible combinations', () => {
  it.each([
    ['pressure: {exitPermyriad: 2000}', 'pressure.exitPermyriad: 2000 must be below pressure.boundPermyriad (2000)'],
    ['suppressIo: {exitPermyriad: 2000}', 'suppressIo.exitPermyriad: 2000 must be below suppressIo.pressurePermyriad (2000)'],
    [
      'nodeSignals: {memoryLowWatermarkPermyriad: 9000}',
      'nodeSignals.memoryLowWatermarkPermyriad: 9000 must be below nodeSignals.memoryWatermarkPermyriad (9000)',
    ],
    [
      'suppressMemory: {staleMs: 1999}',
      'suppressMemory.staleMs: 1999 must be at least twice loop.calmMs (1000), or calm readings are stale',
    ],
    ['steady: {mostDwellMs: 999}', 'steady.mostDwellMs: 999 must not be below suppressCpu.dwellMs (1000), which it widens'],
    ['pressure: {cutMs: 24}', 'pressure.cutMs: 24 must not be below loop.guardMs (25), the shortest time between two readings'],
    [
      'pressure: {cutMs: 1000, futileMs: 1000}',
      'pressure.futileMs: 1000 must be above pressure.cutMs (1000), or no cut has the time to show',
    ],
    [
      'suppressIo: {devices: [sda, sdb], onlineDevices: [sdc, sdb, sda]}',
      'suppressIo.devices: sda, sdb stand in suppressIo.onlineDevices too',
    ],
    ['suppressIo: {devices: [sda], offlineDevices: [sda]}', 'suppressIo.devices: sda stands in suppressIo.offlineDevices too'],
    [
      'suppressIo: {onlineDevices: ["8:0"], offlineDevices: ["8:0"]}',
      'suppressIo.onlineDevices: 8:0 stands in suppressIo.offlineDevices too',
    ],
  ])('%s', (content, issue) => {
    expect(withoutPlace(content)).toEqual([issue])
  })

  it.each([
    'pressure: {exitPermyriad: 1999}',
    'suppressIo: {exitPermyriad: 1999}',
    'nodeSignals: {memoryLowWatermarkPermyriad: 8999}',
    'suppressMemory: {staleMs: 2000}',
    'steady: {mostDwellMs: 1000}',
    'pressure: {cutMs: 25}',
    'pressure: {cutMs: 999, futileMs: 1000}',
    'suppressIo: {devices: [sda], onlineDevices: [sdb], offlineDevices: [sdc]}',
  ])('%s is just possible', (content) => {
    expect(() => configOf(content)).not.toThrow()
  })
})

describe('a cut', () => {
  it.each(['pressure', 'suppressIo'])('of %s that would leave everything is refused', (key) => {
    expect(withoutPlace(`${key}: {cutPermyriad: 10000}`)).toEqual([expect.stringMatching(/cutPermyriad.* 9999.*got 10000/)])
    expect(() => configOf(`${key}: {cutPermyriad: 9999}`)).not.toThrow()
  })
})

describe('lists of devices', () => {
  const of = (list: string): string => `suppressIo: {devices: ${list}}`
  const what = 'suppressIo.devices: expected a list of block devices such as [nvme0n1, "259:3"]'

  it.each(['[]', '[sda]', '[nvme0n1p2, dm-0, md127, "259:3", cciss!c0d0, mmcblk0, nbd1.x_y]', '[259:3]'])('%s is one', (list) => {
    expect(configOf(of(list)).suppressIo.devices).toEqual(
      list
        .replaceAll(/["[\]]/g, '')
        .split(', ')
        .filter(Boolean),
    )
  })

  it.each([
    ['[8]', `${what}, got 8 as number 1 of it`],
    ['["8"]', `${what}, got "8" as number 1 of it`],
    ['[sda, true]', `${what}, got true as number 2 of it`],
    ['[/dev/sda]', `${what}, got "/dev/sda" as number 1 of it`],
    ['[sda, mapper/vg-lv]', `${what}, got "mapper/vg-lv" as number 2 of it`],
    ['[..]', `${what}, got ".." as number 1 of it`],
    ['["sd a"]', `${what}, got "sd a" as number 1 of it`],
    ['["sda\\n8:0 rbps=max"]', `${what}, got "sda\\n8:0 rbps=max" as number 1 of it`],
    ['[""]', `${what}, got "" as number 1 of it`],
    ['["8:"]', `${what}, got "8:" as number 1 of it`],
    ['["99999:0"]', `${what}, got "99999:0" as number 1 of it`],
    ['[[sda]]', `${what}, got a list as number 1 of it`],
    ['[{sda: 1}]', `${what}, got a mapping as number 1 of it`],
    ['sda', `${what}, got "sda"`],
    ['{sda: 1}', `${what}, got a mapping`],
    ['[sda, sdb, sda]', 'suppressIo.devices: sda is listed twice'],
  ])('%s is none, and it is said which entry is wrong', (list, issue) => {
    expect(withoutPlace(of(list))).toEqual([issue])
  })

  it('hold at most 64 devices', () => {
    const names = (count: number) => `[${Array.from({ length: count }, (_, index) => `dm-${index}`).join(', ')}]`
    expect(configOf(of(names(64))).suppressIo.devices).toHaveLength(64)
    expect(withoutPlace(of(names(65)))).toEqual([`${what}, at most 64, got 65`])
  })

  it('that are empty in the file are empty', () => {
    expect(configOf('suppressIo:\n  devices:\n').suppressIo.devices).toEqual([])
  })

  it('are shown as they would stand in a file', () => {
    const lines = renderConfig(loadConfig({ text: of('[sda, "8:16"]') }))
      .split('\n')
      .map((line) => line.split(/ {2,}/))
    expect(lines.find(([key]) => key === 'suppressIo.devices')?.[1]).toBe('[sda, 8:16]')
    expect(lines.find(([key]) => key === 'suppressIo.onlineDevices')?.slice(1)).toEqual(['[]', 'default'])
  })

  it('can not be changed by who reads them', () => {
    const { devices } = configOf(of('[sda]')).suppressIo
    expect(() => (devices as string[]).push('sdb')).toThrow(TypeError)
    expect(configOf('{}').suppressIo.devices).toEqual([])
  })
})

describe('rates', () => {
  it.each([
    ['readBps', 65_535, 65_536],
    ['writeBps', 1, 65_536],
    ['readIops', 15, 16],
    ['writeIops', 1, 16],
  ])('%s is 0 for none, or large enough that no lock is held for seconds', (key, tooLow, least) => {
    for (const rate of [0, least, 2 ** 40]) expect(() => configOf(`suppressIo: {${key}: ${rate}}`)).not.toThrow()
    for (const rate of [tooLow, -1, 1e300, 0.5])
      expect(withoutPlace(`suppressIo: {${key}: ${rate}}`)).toEqual([
        expect.stringMatching(new RegExp(`^suppressIo\\.${key}: expected 0 or an integer from ${least} to \\d+, got `)) as string,
      ])
  })
})

describe('the nice value of the agent', () => {
  it.each([-21, 1, 0.5, '"-5"'])('%s is refused with what was found', (nice) => {
    const found = nice === '"-5"' ? nice : String(nice)
    expect(withoutPlace(`own: {nice: ${nice}}`)).toEqual([`own.nice: expected an integer from -20 to 0, got ${found}`])
  })
})

describe('the defaults', () => {
  it('evict, force, limit and freeze nothing', () => {
    const { evict, cpuEvict, cpuFreeze, suppressIo, suppressMemory, own } = configOf('{}')
    expect([evict.enabled, evict.force, cpuEvict.enabled, cpuFreeze.enabled, suppressIo.enabled]).toEqual(Array(5).fill(false))
    expect([suppressMemory.protectLowPermyriad, suppressMemory.protectMinPermyriad, own.realtimePriority]).toEqual([0, 0, 0])
  })
})

describe('advice on suppression', () => {
  const adviceFor = (text: string): string[] => adviceOn(configOf(text))

  it('has nothing to say about evictions that are off, nor about any rung alone that is on by default', () => {
    expect(adviceFor('{}')).toEqual([])
    expect(adviceFor('evict: {enabled: true}\ncpuEvict: {enabled: true}')).toEqual([])
  })

  it('names what does nothing while evict.enabled is false', () => {
    expect(adviceFor('cpuEvict: {enabled: true}')).toEqual([
      expect.stringMatching(/^cpuEvict\.enabled: .* evict\.enabled is false/),
    ])
    expect(adviceFor('evict: {force: true}')).toEqual([expect.stringMatching(/^evict\.force: .* evict\.enabled is false/)])
  })

  it('warns of a rung that is left below what offline pods may fill the node up to', () => {
    expect(adviceFor('suppressCpu: {watermarkPermyriad: 8001}')).toEqual([
      expect.stringMatching(/^cpuNarrow\.exitPermyriad: 8000 is below suppressCpu\.watermarkPermyriad \(8001\)/),
    ])
    expect(adviceFor('suppressCpu: {watermarkPermyriad: 8000}')).toEqual([])
    expect(adviceFor('suppressCpu: {watermarkPermyriad: 9900}\ncpuNarrow: {enabled: false}')).toEqual([])
  })

  it('warns of devices without a limit, and of limits without a device', () => {
    const of = (rest: string) => adviceFor(`suppressIo: {enabled: true, ${rest}}`)
    expect(of('devices: [sda]')).toEqual([expect.stringMatching(/^suppressIo\.devices: sda without a limit/)])
    expect(of('readIops: 100')).toEqual([expect.stringMatching(/^suppressIo\.devices: empty/)])
    expect(of('devices: [sda], writeBps: 1048576')).toEqual([])
    expect(adviceFor('suppressIo: {devices: [sda]}')).toEqual([])
  })
})

describe('the example', () => {
  it('loads without advice, and says the defaults', () => {
    const loaded = loadConfig({ file: 'deploy/config.example.yaml' })
    expect(adviceOn(loaded.config)).toEqual([])
    expect(loaded.config).toEqual(configOf('{}'))
    expect(loadConfig({ file: yamlFile('') }).config).toEqual(loaded.config)
  })
})
