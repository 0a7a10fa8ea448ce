import { execFileSync } from 'node:child_process'
import { chmodSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { loadConfig, SETTINGS } from '../../../src/config/index.ts'
import { failureOf, issuesOf, tempDirectory, yamlFile } from './support.ts'

describe('issues', () => {
  it('are all listed, each with its own line and column, in reading order', () => {
    const content = `# a node of the batch pool
mod: enforce
loop:
  guardMs: 25
  hotMs:   fast
suppressCpu:
    watermarkPermyrad: 6000
    staleMs: 1.5
classes:
  namespaces:
    batch: BEST
    "Not A Name": BE
http: { enabled: true, port: 70000 }
`
    expect(issuesOf(content)).toEqual([
      '2:1: mod: unknown key; did you mean mode?',
      '5:12: loop.hotMs: expected an integer from 10 to 1000, got "fast"',
      '7:5: suppressCpu.watermarkPermyrad: unknown key; did you mean watermarkPermyriad?',
      '8:14: suppressCpu.staleMs: expected an integer from 100 to 600000, got 1.5',
      '11:12: classes.namespaces.batch: expected one of LSX, LSR, LS, BE, OT, SYSTEM, UNTAGGED, got "BEST"',
      '12:19: classes.namespaces."Not A Name": not the name of a namespace: "Not A Name"',
      '13:30: http.port: expected an integer from 0 to 65535, got 70000',
    ])
  })

  it('keep their columns in files with CRLF, a byte-order mark, and behind an alias', () => {
    expect(issuesOf('loop:\r\n  hotMs: 1\r\n')).toEqual([expect.stringMatching(/^2:10: loop.hotMs: /)])
    expect(issuesOf('\uFEFFmode: x\n')).toEqual([expect.stringMatching(/^1:7: mode: /)])
    expect(issuesOf('kubelet: &on { enabled: 7 }\nidentity: *on\n')).toEqual([
      '1:25: identity.enabled: expected true or false, got 7',
      '1:25: kubelet.enabled: expected true or false, got 7',
    ])
  })

  it('say where a known key belongs, and which keys there are when none is near', () => {
    expect(issuesOf('hotMs: 50\nloop.calmMs: 2000\nlog: {mode: plan, colour: true}\n')).toEqual([
      '1:1: hotMs: unknown key; hotMs belongs below loop:',
      '2:1: loop.calmMs: unknown key; calmMs belongs below loop:',
      '3:7: log.mode: unknown key; mode belongs at the top level',
      '3:19: log.colour: unknown key; valid keys are level',
    ])
  })

  it('take a swap, a wrong case and a missing letter for slips', () => {
    expect(issuesOf('loop: {ohtMs: 50, HOTMS: 50, gardMs: 50}')).toEqual([
      expect.stringContaining('did you mean hotMs?'),
      expect.stringContaining('did you mean hotMs?'),
      expect.stringContaining('did you mean guardMs?'),
    ])
  })

  it.each([
    ['loop: 5', '1:7: loop: expected a mapping of settings, got 5'],
    ['loop: [1]', '1:7: loop: expected a mapping of settings, got a list'],
    ['loop:\n  hotMs:\n', '2:3: loop.hotMs: expected an integer from 10 to 1000, got nothing'],
    ['loop: {hotMs: .nan}', '1:15: loop.hotMs: expected an integer from 10 to 1000, got NaN'],
    ['loop: {hotMs: [50]}', '1:15: loop.hotMs: expected an integer from 10 to 1000, got a list'],
    ['node: {name: 12}', '1:14: node.name: expected the name of a Kubernetes node, or empty, got 12 (put it in quotes)'],
    ['classes: {namespaces: [BE]}', '1:23: classes.namespaces: expected a mapping of namespaces to classes, got a list'],
    ['resources: {cpuUnit: 0m}', '1:22: resources.cpuUnit: expected a Kubernetes quantity above zero such as 100m, got 0'],
    ['resources: {memoryUnit: 1GB}', '1:25: resources.memoryUnit: not a quantity: "1GB" (write 100m, 1.5 or 512Mi)'],
    ['resources: {domain: foo.kubernetes.io}', expect.stringContaining('expected a DNS domain outside kubernetes.io')],
    ['placement: {reservedCpus: true}', expect.stringContaining('expected a list of CPUs such as 0-3,8, got true')],
    ['placement: {reservedCpus: 0-x}', expect.stringMatching(/^1:27: placement\.reservedCpus: CPU list "0-x", column 3/)],
  ])('explain %j', (content, issue) => {
    expect(issuesOf(content)).toEqual([issue])
  })

  it.each(['proc', '/a/../b', '/a//b', '/a/', '/a/.', '', '/a\0b', 'a/b'])('refuse %j as a path', (path) => {
    expect(issuesOf(`paths: {proc: ${JSON.stringify(path)}}`)).toEqual([expect.stringContaining('expected an absolute path')])
  })

  it.each(['/', '/host/proc', '/.a/..b', '/a b/ü'])('take %j as a path', (path) => {
    expect(loadConfig({ text: `paths: {proc: ${JSON.stringify(path)}}` }).config.paths.proc).toBe(path)
  })

  it('are listed up to a hundred, and the rest counted', () => {
    const issues = issuesOf(Array.from({ length: 5000 }, (_, index) => `key${index}: 1\n`).join(''))
    expect(issues).toHaveLength(101)
    expect(issues.at(-1)).toBe('and 4900 more')
    expect(issues[99]).toMatch(/^100:1: key99: /)
  })

  it('can not be forged by a key or value with line breaks, and are short', () => {
    const key = `x\n/etc/passwd:1:1: ${'y'.repeat(900)}`
    const issues = issuesOf(`${JSON.stringify(key)}: 1\nmode: ${JSON.stringify(key)}\n`)
    expect(issues).toHaveLength(2)
    expect(issues[0]).toMatch(/^1:1: "x\\n\/etc/)
    for (const issue of issues) expect(issue.length).toBeLessThan(500)
  })
})

describe('impossible combinations', () => {
  const broken: [string, string][] = [
    [
      'suppressCpu: {lowWatermarkPermyriad: 6500}',
      'suppressCpu.lowWatermarkPermyriad: 6500 must be below suppressCpu.watermarkPermyriad (6500)',
    ],
    [
      'suppressCpu: {otFloorPermyriad: 201}',
      'suppressCpu.otFloorPermyriad: 201 must not be above suppressCpu.floorPermyriad (200), which OT shares with BE',
    ],
    [
      'suppressCpu: {floorPermyriad: 6250}',
      'suppressCpu.floorPermyriad: 6250 and suppressCpu.marginPermyriad (250) together must be below suppressCpu.watermarkPermyriad (6500)',
    ],
    ['loop: {guardMs: 51}', 'loop.guardMs: 51 must not be above loop.hotMs (50)'],
    ['loop: {calmMs: 100, hotMs: 101}', 'loop.hotMs: 101 must not be above loop.calmMs (100)'],
    [
      'placement: {reservedCpus: "0-3", dedicatedCpus: "2-5"}',
      'placement.reservedCpus: 0-3 shares CPUs 2-3 with placement.dedicatedCpus (2-5)',
    ],
    [
      'placement: {lsSharePermyriad: 0}',
      'placement.lsSharePermyriad: 0 needs CPUs in placement.dedicatedCpus (none): offline pods would have none to run on; name some, or write 1 or more',
    ],
    [
      'identity: {rootIdle: true}',
      'identity.rootIdle: true needs onExit: release, not hold: a kubelet that starts while no agent runs must find the root as it left it',
    ],
    [
      'suppressCpu: {staleMs: 1999}',
      'suppressCpu.staleMs: 1999 must be at least twice loop.calmMs (1000), or calm readings are stale',
    ],
    [
      'suppressCpu: {windowMs: 24}',
      'suppressCpu.windowMs: 24 must not be below loop.guardMs (25), the pace of the readings it averages',
    ],
  ]

  it.each(broken)('%s', (content, issue) => {
    expect(issuesOf(content)).toEqual([expect.stringMatching(/^1:\d+: /)])
    expect(issuesOf(content)[0]?.replace(/^1:\d+: /, '')).toBe(issue)
  })

  it.each([
    'suppressCpu: {lowWatermarkPermyriad: 6499}',
    'suppressCpu: {otFloorPermyriad: 200}',
    'suppressCpu: {floorPermyriad: 6249}',
    'loop: {guardMs: 50}',
    'loop: {hotMs: 100, calmMs: 100}',
    'placement: {reservedCpus: "0-3", dedicatedCpus: "4-5"}',
    'placement: {lsSharePermyriad: 0, dedicatedCpus: "7"}',
    'onExit: release\nidentity: {rootIdle: true}',
    'suppressCpu: {staleMs: 2000}',
    'suppressCpu: {windowMs: 25}',
  ])('%s is just possible', (content) => {
    expect(() => loadConfig({ text: content })).not.toThrow()
  })

  it('stand at the key that was given, and are listed beside other issues but not on top of them', () => {
    expect(issuesOf('suppressCpu: {watermarkPermyriad: 400}\nmode: x\nloop: {guardMs: 60, hotMs: 1}')).toEqual([
      '1:35: suppressCpu.lowWatermarkPermyriad: 5500 must be below suppressCpu.watermarkPermyriad (400)',
      '1:35: suppressCpu.floorPermyriad: 200 and suppressCpu.marginPermyriad (250) together must be below suppressCpu.watermarkPermyriad (400)',
      '2:7: mode: expected one of observe, plan, enforce, got "x"',
      '3:28: loop.hotMs: expected an integer from 10 to 1000, got 1',
    ])
  })
})

describe('YAML that is no configuration', () => {
  it.each([
    ['mode: plan\nloop:\n\thotMs: 5\n', '3:1: a tab in the indentation; YAML wants spaces'],
    ['mode: plan\nlog: {level: info}\nmode: enforce\n', '3:1: mode is given twice'],
    ['loop:\n  hotMs: 50\n  hotMs: 60\n', '3:3: hotMs is given twice'],
    ['mode: plan\n---\nmode: enforce\n', '2:1: a second YAML document; a configuration is one document'],
    ['- mode\n', '1:1: expected a mapping of settings at the top level'],
    ['\n\nplan\n', '3:1: expected a mapping of settings at the top level'],
    ['mode: *later\n', '1:7: no anchor &later stands above *later'],
    ['mode: !!js/function plan\n', expect.stringMatching(/^1:7: Unresolved tag/)],
    ['loop: {hotMs: 5\n', expect.stringMatching(/^\d:\d+: .*}/)],
    ['? [a]\n: 1\n', '1:3: a key must be a text'],
    ['[', expect.stringMatching(/^1:/)],
    ['['.repeat(500_000), '1:17: nested too deeply'],
    ['- '.repeat(500_000), expect.stringMatching(/^1:\d+: nested too deeply/)],
    ['{a: '.repeat(200_000), expect.stringMatching(/^1:\d+: nested too deeply/)],
    [`a: &a 1\nb: [${'*a,'.repeat(101)}]`, expect.stringMatching(/^2:\d+: more than 100 aliases$/)],
  ])('%# is refused with its place', (content, issue) => {
    expect(issuesOf(content)).toEqual([issue])
  })

  it('refuses aliases that multiply', () => {
    const rows = [
      'a: &a [1,1,1,1,1,1,1,1,1]',
      ...['b', 'c', 'd', 'e', 'f'].map((name, row) => `${name}: &${name} [${`*${'abcde'[row]},`.repeat(9)}]`),
    ]
    expect(issuesOf(rows.join('\n'))).toEqual([expect.stringContaining('alias')])
  })

  it('takes an alias to itself for what it is', () => {
    expect(issuesOf('loop: &l\n  hotMs: *l\n')).toEqual([expect.stringMatching(/loop.hotMs: expected an integer|alias/)])
  })

  it('reads the largest file in seconds', () => {
    const namespaces = Array.from({ length: 40_000 }, (_, index) => `    team-${index}: be\n`).join('')
    const startedAt = process.cpuUsage()
    expect(issuesOf(`classes:\n  namespaces:\n${namespaces}`)).toHaveLength(101)
    expect(process.cpuUsage(startedAt).user / 1000).toBeLessThan(10_000)
  })
})

describe('files that can not be read', () => {
  it.each<[string, () => string, RegExp]>([
    ['missing', () => join(tempDirectory(), 'none.yaml'), /^can't read .*none\.yaml: ENOENT/],
    ['a directory', tempDirectory, /is a directory$/],
    ['over 1 MiB', () => yamlFile('#'.repeat(1_048_577)), /is larger than 1 MiB$/],
    ['not text', () => yamlFile(Uint8Array.of(0x6d, 0xff, 0xfe)), /is not UTF-8 text$/],
    ['a character device', () => '/dev/zero', /is not a regular file$/],
  ])('%s', (_name, make, message) => {
    expect(failureOf({ file: make() })).toMatchObject({
      code: 'E_CONFIG_READ',
      exitCode: 3,
      message: expect.stringMatching(message),
    })
  })

  it('a FIFO without a writer does not hang the agent', () => {
    const fifo = join(tempDirectory(), 'fifo')
    execFileSync('mkfifo', [fifo])
    expect(failureOf({ file: fifo })).toMatchObject({ code: 'E_CONFIG_READ' })
  })

  it('forbidden', (context) => {
    if (process.getuid?.() === 0) context.skip('root may read any file')
    const file = yamlFile('')
    chmodSync(file, 0)
    expect(failureOf({ file })).toMatchObject({ code: 'E_CONFIG_READ', message: expect.stringContaining('EACCES') })
  })

  it('exactly 1 MiB is read', () => {
    expect(loadConfig({ file: yamlFile('#'.repeat(1_048_576)) }).config.mode).toBe('observe')
  })
})

describe('a password in a URL', () => {
  const URL_WITH_PASSWORD = 'https://admin:hunter2@10.0.0.1:6443'

  it('is refused as the value of any setting, and quoted by no message', () => {
    for (const { key, path } of SETTINGS) {
      const long = URL_WITH_PASSWORD.replace('hunter2', `hunter2${'x'.repeat(300)}`)
      for (const value of [URL_WITH_PASSWORD, long, [URL_WITH_PASSWORD], { [URL_WITH_PASSWORD]: URL_WITH_PASSWORD }]) {
        const failure = failureOf({ overrides: [{ path, value, origin: '--set' }] })
        expect([key, failure.code]).toEqual([key, 'E_CONFIG'])
        expect(failure.message).not.toContain('hunter2')
      }
    }
  })

  it.each([
    ['a value', `cluster: {server: "${URL_WITH_PASSWORD}"}\n`],
    ['a value that is cut', `cluster: {server: "${URL_WITH_PASSWORD}/${'x'.repeat(80)}"}\n`],
    ['a value whose password is cut', `cluster: {server: "https://admin:hunter2${'x'.repeat(80)}@10.0.0.1"}\n`],
    ['a key', `"${URL_WITH_PASSWORD}": 1\n`],
    ['a text that is no YAML', `mode: observe\n"${URL_WITH_PASSWORD}" : [\n- "${URL_WITH_PASSWORD}"\n`],
    ['a whole file', URL_WITH_PASSWORD],
    ['an anchor', `mode: *${URL_WITH_PASSWORD}\n`],
    ['a block', `loop: ${URL_WITH_PASSWORD}\n`],
  ])('is not quoted where it stands as %s', (_, text) => {
    expect(failureOf({ file: yamlFile(text) }).message).not.toContain('hunter2')
  })
})

describe('issues for programs', () => {
  it('have file, line, column, key and text of each, in the order of the message', () => {
    const file = yamlFile('loop:\n  hotMs: fast\n  "odd key": 1\nmode: *none\n')
    const overrides = [{ path: ['loop', 'guardMs'], value: 'x', origin: '--set' }]
    expect(failureOf({ file })).toMatchObject({
      issues: [{ source: file, line: 4, column: 7, text: 'no anchor &none stands above *none' }],
    })
    const failure = failureOf({ file: yamlFile('loop:\n  hotMs: fast\n  "odd key": 1\n'), overrides })
    expect(failure).toMatchObject({
      issues: [
        { line: 2, column: 10, key: 'loop.hotMs', text: 'expected an integer from 10 to 1000, got "fast"' },
        { line: 3, column: 3, key: 'loop."odd key"', text: expect.stringMatching(/^unknown key/) as unknown },
        { source: '--set', key: 'loop.guardMs', text: expect.stringMatching(/^expected an integer/) as unknown },
      ],
    })
    expect(failure.message.split('\n').map((line) => line.replace(/^.*\.yaml:/, ''))).toEqual([
      '2:10: loop.hotMs: expected an integer from 10 to 1000, got "fast"',
      expect.stringMatching(/^3:3: loop\."odd key": unknown key/),
      expect.stringMatching(/^--set: loop\.guardMs: expected an integer/),
    ])
  })
})
