/** The flags of a command line that stand for settings: what they set, what they win over, and what is said of a wrong one. */
import { describe, expect, it } from 'vitest'
import { CONFIG_FLAGS, type Flags, PATH_FLAGS, parseWords } from '../../src/cli/args.ts'
import { flagsInForce } from '../../src/cli/flags-in-force.ts'
import { VERBS } from '../../src/cli/main.ts'
import { configOf } from '../../src/cli/settings.ts'

const MODE: Flags = { mode: { type: 'string', help: '' } }
const parse = (...words: readonly string[]) => parseWords('run', words, { ...CONFIG_FLAGS, ...PATH_FLAGS, ...MODE }, 0)
const load = (...words: readonly string[]) => configOf(parse(...words))

describe('--path.*', () => {
  it('sets the paths of a host that is mounted elsewhere, and is named as where they come from', () => {
    const words = ['--path.proc', '/host/proc', '--path.sys=/host/sys', '--path.cgroup=/host/cg', '--path.kubelet=/host/kubelet']
    const { config, provenance } = load(...words)
    expect(config.paths).toMatchObject({
      proc: '/host/proc',
      sys: '/host/sys',
      cgroup: '/host/cg',
      devicePlugins: '/host/kubelet/device-plugins',
      podResources: '/host/kubelet/pod-resources',
    })
    const origins = Object.keys(config.paths).map((name) => [name, provenance.get(`paths.${name}`)?.origin])
    expect(Object.fromEntries(origins)).toEqual({
      proc: '--path.proc',
      sys: '--path.sys',
      cgroup: '--path.cgroup',
      devicePlugins: '--path.kubelet',
      podResources: '--path.kubelet',
      state: 'default',
    })
  })

  it('is exactly what the settings would be by --set, and wins over it, whichever stands first', () => {
    const bySet = load('--set=paths.proc=/p,paths.devicePlugins=/k/device-plugins,paths.podResources=/k/pod-resources')
    expect(load('--path.proc=/p', '--path.kubelet=/k').config).toEqual(bySet.config)
    expect(load('--path.proc=/p', '--set=paths.proc=/q').config.paths.proc).toBe('/p')
    expect(load('--set=paths.proc=/q', '--path.proc=/p').config.paths.proc).toBe('/p')
  })

  it('leaves the default where it is the default: --path.kubelet=/var/lib/kubelet changes nothing', () => {
    expect(load('--path.kubelet=/var/lib/kubelet', '--path.proc=/proc', '--path.sys=/sys').config).toEqual(load().config)
  })

  it('takes a directory as shells complete it, with a slash at its end', () => {
    const { config } = load('--path.sys', '/host/sys/', '--path.kubelet', '/host/kubelet/', '--path.cgroup', '/')
    expect(config.paths).toMatchObject({ sys: '/host/sys', devicePlugins: '/host/kubelet/device-plugins', cgroup: '/' })
  })

  it.each([
    ['--path.proc=proc', 'E_CONFIG', /^--path\.proc: paths\.proc: expected an absolute path .*, got "proc"$/],
    ['--path.cgroup=', 'E_CONFIG', /^--path\.cgroup: paths\.cgroup: expected an absolute path .*, got ""$/],
    ['--path.sys=/sys//', 'E_CONFIG', /^--path\.sys: paths\.sys: .* a "\/" at its end, got "\/sys\/"$/],
    ['--path.kubelet=', 'E_USAGE', /^--path\.kubelet wants an absolute path, got ""$/],
    ['--path.kubelet=kubelet', 'E_USAGE', /^--path\.kubelet wants an absolute path, got "kubelet"$/],
    ['--path.kubelet=/k/..', 'E_CONFIG', /^--path\.kubelet: paths\.devicePlugins: expected an absolute path/],
  ])('%s is refused by name', (word, code, message) => {
    expect(() => load(word)).toThrow(expect.objectContaining({ code, message: expect.stringMatching(message) as unknown }))
  })

  it('is there for every verb that reads the host, and for the one that shows what is in force', () => {
    const having = Object.entries(VERBS).flatMap(([name, { flags }]) => ('path.proc' in flags ? [name] : []))
    expect(having).toEqual(expect.arrayContaining(['run', 'plan', 'explain', 'record', 'doctor', 'release', 'config']))
    for (const name of having) expect(VERBS[name]?.flags).toMatchObject(PATH_FLAGS)
  })
})

describe('flags in force', () => {
  const flags = { ...CONFIG_FLAGS, ...PATH_FLAGS }
  const shown = (words: readonly string[], environment: Readonly<Record<string, string>> = {}) =>
    flagsInForce(flags, parse(...words), environment).filter(({ values }) => values.length > 0)

  it('are all that the verb has, those that were given with what they were given, in that order', () => {
    expect(flagsInForce(flags, parse(), {}).map(({ name }) => name)).toEqual(Object.keys(flags))
    expect(shown(['--set=loop.hotMs=60', '-c', 'b.yaml', '--path.proc=/p', '--config=a.yaml'])).toEqual([
      { name: 'config', values: ['b.yaml', 'a.yaml'], from: 'command line' },
      { name: 'set', values: ['loop.hotMs=60'], from: 'command line' },
      { name: 'path.proc', values: ['/p'], from: 'command line' },
    ])
  })

  it('show no secret, though of two values for one setting the first is never looked at', () => {
    const words = ['--set=cluster.server=https://admin:hunter2@10.0.0.1:6443', '--set=cluster.server=https://10.0.0.1:6443']
    expect(load(...words).config.cluster.server).toBe('https://10.0.0.1:6443')
    expect(shown(words)).toEqual([
      {
        name: 'set',
        values: ['cluster.server=https://[redacted]@10.0.0.1:6443', 'cluster.server=https://10.0.0.1:6443'],
        from: 'command line',
      },
    ])
  })

  it.each(['--set=https://u:hunter2@h', '--set=cluster.server=[https://u:hunter2@h'])('%s is refused without it', (word) => {
    const message = expect.not.stringContaining('hunter2') as unknown
    expect(() => load(word)).toThrow(expect.objectContaining({ code: 'E_USAGE', message }))
  })

  it('take the files of KUBE_AGENT_CONFIG for --config where that is not given, and nothing else of the environment', () => {
    const environment = { KUBE_AGENT_CONFIG: '/a.yaml:/b.yaml', TOKEN: 'secret' }
    expect(shown([], environment)).toEqual([{ name: 'config', values: ['/a.yaml', '/b.yaml'], from: 'KUBE_AGENT_CONFIG' }])
    expect(shown(['-c', 'c.yaml'], environment)).toEqual([{ name: 'config', values: ['c.yaml'], from: 'command line' }])
  })
})
