/** What `doctor` reads of a node, from trees planted on disk and real sockets: nothing is written, and what is missing is told, not thrown. */
import { chmodSync, chownSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { RestoreJournal, surveyState, takeLock } from '../../../src/actuate/index.ts'
import { gatherFacts } from '../../../src/cli/doctor/gather.ts'
import { judge } from '../../../src/cli/doctor/judge.ts'
import { CpuSet } from '../../../src/cpu/index.ts'
import { surveyKernel } from '../../../src/kernel/index.ts'
import { surveyKubelet } from '../../../src/kubelet/index.ts'
import { configOf } from '../../support/config.ts'
import { factsOf } from '../../support/node-facts.ts'
import { TOPOLOGIES } from '../../support/topologies.ts'
import { planted, PROC, sysfsOf, type Tree, V1_COMMON, v1Tree, V2_GROUP, v2Tree } from '../../support/trees-on-disk.ts'
import type { ApiServerDouble } from '../../support/api-server/index.ts'
import { haveOpenssl, NODE, pod, startDouble } from '../kube/support.ts'

const OFFLINE = '/kubepods/besteffort'
const BURSTABLE = { kubepods: { burstable: V2_GROUP, besteffort: V2_GROUP } }
const SYS: Tree = {
  devices: {
    system: {
      ...((sysfsOf(TOPOLOGIES.desktop)['devices'] as Tree)['system'] as Tree),
      clocksource: { clocksource0: { current_clocksource: 'hpet\n', available_clocksource: 'hpet acpi_pm \n' } },
    },
  },
}
const SWAPS = 'Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n/dev/sda2 partition\t2097148\t\t0\t\t-2\n/swap file\t4\t0\t-3\n'

function kernelOf(cgroup: Tree, proc: Tree = PROC) {
  const root = planted({ cgroup, proc, sys: SYS })
  return surveyKernel({
    cgroupPath: join(root, 'cgroup'),
    procPath: join(root, 'proc'),
    sysPath: join(root, 'sys'),
    cgroupRoot: '/',
    driver: 'auto',
  })
}

function cgroupsOf(cgroup: Tree) {
  const { cgroups } = kernelOf(cgroup)
  if ('problem' in cgroups) throw new Error(cgroups.problem)
  return cgroups
}

describe('the survey of the kernel', () => {
  it('reads clock, swap, memory and topology, and the command line of the kubelet', () => {
    const kubelet = { comm: 'kubelet\n', cmdline: '/usr/bin/kubelet\0--config=/etc/k.yaml\0--cgroup-driver\0systemd\0' }
    const others = { '17': { comm: 'kubelet-helper\n', cmdline: 'x\0' }, '18': kubelet, self: { comm: 'kubelet\n' } }
    const survey = kernelOf(v2Tree(OFFLINE), { ...PROC, ...others, swaps: SWAPS })
    expect(survey.clock).toEqual({ current: 'hpet', available: ['hpet', 'acpi_pm'] })
    expect(survey.swapBytes).toBe((2_097_148 + 4) * 1024)
    expect(survey.memory).toEqual({ totalBytes: 16_384 * 1024, availableBytes: 8192 * 1024 })
    expect('smt' in survey.topology && survey.topology.smt).toBe(true)
    expect(survey.kubeletCommand).toEqual(['/usr/bin/kubelet', '--config=/etc/k.yaml', '--cgroup-driver', 'systemd'])
    // PROC has no pressure/io.
    expect(survey.nodePressure).toEqual(['cpu', 'memory'])
  })

  it('tells v2, v1 and hybrid apart, whose groups are there, and whether groups count stalls', () => {
    const v2 = { 'cgroup.controllers': 'cpuset cpu io memory pids\n', ...BURSTABLE }
    expect(cgroupsOf(v2)).toMatchObject({ dialect: 'v2', hybrid: false, driverFound: 'cgroupfs', groupPressure: true })
    expect(cgroupsOf(v1Tree(OFFLINE))).toMatchObject({ dialect: 'v1', hybrid: false, groupPressure: false, tasks: true })
    expect(cgroupsOf(v1Tree('/other'))).toMatchObject({ tasks: false })
    expect(cgroupsOf({ ...v1Tree(OFFLINE), unified: v2Tree('/x') })).toMatchObject({ dialect: 'v1', hybrid: true })
    expect(cgroupsOf(v2Tree('/kubepods.slice/kubepods-besteffort.slice')).driverFound).toBe('systemd')
  })

  it('goes on where the kubelet has made no groups, or there is no tree at all', () => {
    expect(cgroupsOf(v2Tree('/other'))).toMatchObject({ offlineRootExists: false, driverFound: undefined, forbidden: 'ENOENT' })
    const bare = kernelOf({ cpu: V1_COMMON })
    expect(bare.cgroups).toMatchObject({ problem: expect.stringContaining('no cgroup tree') as string })
    expect('smt' in bare.topology).toBe(true)
  })

  it('knows which controllers v2 has', () => {
    expect(cgroupsOf({ ...v2Tree(OFFLINE), 'cgroup.controllers': 'cpu memory\n' }).controllers).toEqual([
      'cpu',
      'cpuacct',
      'memory',
      'freezer',
    ])
  })
})

describe('the survey of the kubelet', () => {
  const HEAD = 'apiVersion: kubelet.config.k8s.io/v1beta1\nkind: KubeletConfiguration\n'
  const CONFIG = `${HEAD}cpuManagerPolicy: static\ncgroupDriver: systemd\ncpuCFSQuota: false\nmemorySwap: { swapBehavior: NoSwap }\n`

  async function survey(tree: Tree, command?: readonly string[]) {
    const root = planted(tree)
    const words = command?.map((word) => word.replaceAll('ROOT', root))
    const places = { devicePlugins: join(root, 'dp'), podResources: join(root, 'pr'), rootDirectory: root, command: words }
    return { root, kubelet: await surveyKubelet(places) }
  }

  it('reads its configuration file, of which its flags and drop-ins make something else', async () => {
    const { root, kubelet } = await survey({ 'config.yaml': CONFIG })
    expect(kubelet.settings).toMatchObject({
      cpuManagerPolicy: { value: 'static', from: join(root, 'config.yaml') },
      cgroupDriver: { value: 'systemd' },
      cpuCFSQuota: { value: 'false' },
      swapBehavior: { value: 'NoSwap' },
    })
    const tree = {
      'k.yaml': CONFIG,
      d: {
        '10-a.conf': `${HEAD}cpuManagerPolicy: none\n`,
        '20-b.conf': `${HEAD}memoryManagerPolicy: Static\n`,
        'x.yaml': 'cgroupDriver: x\n',
      },
    }
    const flags = ['kubelet', '--config', 'ROOT/k.yaml', '--config-dir=ROOT/d', '--cgroup-driver=cgroupfs', '--reserved-cpus=0,1']
    const other = await survey(tree, [...flags, '--feature-gates=A=false,MemoryQoS=true', '--fail-swap-on'])
    expect(other.kubelet.settings).toMatchObject({
      cpuManagerPolicy: { value: 'none', from: join(other.root, 'd/10-a.conf') },
      memoryManagerPolicy: { value: 'Static' },
      cgroupDriver: { value: 'cgroupfs', from: 'its flag --cgroup-driver' },
      reservedSystemCPUs: { value: '0,1' },
      memoryQoS: { value: 'true', from: 'its flag --feature-gates' },
    })
  })

  it.each([
    ['a kubeconfig', 'apiVersion: v1\nkind: Config\ncpuManagerPolicy: none\n', 'its kind is Config'],
    ['a text', 'hello world\n', 'it has no kind'],
    ['an empty file', '', 'it has no kind'],
    ['a list', '- kind: KubeletConfiguration\n', 'it has no kind'],
    ['the configuration of this agent', 'mode: enforce\n', 'it has no kind'],
    ['settings without a kind', 'cpuManagerPolicy: none\n', 'it has no kind'],
    ['a kind that would reach the terminal', 'kind: "a\\u001b[31mb"\n', 'it has no kind'],
    [
      'a kind of another group',
      'apiVersion: v1\nkind: KubeletConfiguration\n',
      'its apiVersion is not kubelet.config.k8s.io/v1beta1',
    ],
  ])('takes %s for no configuration of a kubelet, as the kubelet itself does', async (_, text, why) => {
    const { root, kubelet } = await survey({ 'config.yaml': text })
    expect(kubelet.file).toEqual({ path: join(root, 'config.yaml'), problem: `this is no KubeletConfiguration (${why})` })
    expect(kubelet.settings).toEqual({})
    const found = judge({ ...factsOf(), kubelet: { ...kubelet, socketProblem: undefined } }, configOf({ mode: 'enforce' }))
    expect(found.find(({ id }) => id === 'kubelet-config')?.state).toBe('note')
    expect(found.find(({ id }) => id === 'kubelet-cpu-manager')).toMatchObject({
      state: 'warn',
      found: expect.stringMatching(
        /policy is not known: no cpu_manager_state, and .*config\.yaml: this is no KubeletConf/,
      ) as string,
    })
  })

  it('names the drop-in that is none', async () => {
    const tree = { 'config.yaml': CONFIG, d: { '10-a.conf': 'cpuManagerPolicy: none\n' } }
    const { root, kubelet } = await survey(tree, ['kubelet', '--config-dir=ROOT/d'])
    expect(kubelet.file.problem).toBe(`${join(root, 'd/10-a.conf')}: this is no KubeletConfiguration (it has no kind)`)
  })

  it('reads what its managers have on record, and which CPUs are given away', async () => {
    const cpu = { policyName: 'static', defaultCpuSet: '0-1', entries: { u1: { a: '2-3' }, u2: { b: '5', c: '2' } }, checksum: 1 }
    const { root, kubelet } = await survey({
      cpu_manager_state: JSON.stringify(cpu),
      memory_manager_state: '{"policyName":"None"}',
    })
    expect(kubelet.cpuManager).toEqual({
      path: join(root, 'cpu_manager_state'),
      policy: 'static',
      exclusive: CpuSet.parse('2-3,5'),
    })
    expect(kubelet.memoryManager).toMatchObject({ policy: 'None' })
  })

  it.each<[string, Tree]>([
    ['nothing', {}],
    ['a configuration that is no YAML', { 'config.yaml': 'a: [\n' }],
    ['a configuration that is a list', { 'config.yaml': '- a\n' }],
    ['a state that is no JSON', { cpu_manager_state: '{' }],
    ['a state without a policy', { cpu_manager_state: '{"entries":{"u":{"c":"x"}}}' }],
    ['directories in the place of files', { 'config.yaml': {}, cpu_manager_state: {} }],
  ])('says what is wrong with %s, and throws nothing', async (_, tree) => {
    const { kubelet } = await survey(tree)
    expect(kubelet.settings).toEqual({})
    expect(kubelet.cpuManager === undefined || 'problem' in kubelet.cpuManager).toBe(true)
    expect(kubelet.socketProblem).toMatch(/does not exist/)
  })
})

describe('the survey of the state directory', () => {
  const asRoot = process.geteuid?.() === 0

  it('makes nothing where there is none, and says whether it could be made', async () => {
    const root = planted()
    expect(await surveyState(join(root, 'a/b'), 'boot-1')).toEqual({ is: 'missing' })
    expect(readdirSync(root)).toEqual([])
  })

  it('refuses what the agent would refuse', async () => {
    const root = planted({ state: {}, file: 'x' })
    chmodSync(join(root, 'state'), 0o777)
    expect(await surveyState(join(root, 'state'), 'boot-1')).toMatchObject({
      is: 'unusable',
      problem: expect.stringContaining('others may write') as string,
    })
    expect(await surveyState(join(root, 'file'), 'boot-1')).toMatchObject({ is: 'unusable' })
  })

  it('may be of another user, and then says so', async (context) => {
    if (!asRoot) context.skip('needs root, to make a directory of another user')
    const root = planted({ state: {} })
    chownSync(join(root, 'state'), 65_534, 65_534)
    expect(await surveyState(join(root, 'state'), undefined)).toMatchObject({
      problem: expect.stringContaining('belongs to user 65534') as string,
    })
  })

  it('counts what the journal has to put back without touching it, and names who holds the lock', async () => {
    const directory = join(planted(), 'state')
    mkdirSync(directory, { mode: 0o700 })
    const journal = new RestoreJournal({ stateDirectory: directory, bootId: 'boot-1', maxBytes: 1e6, groupId: () => 7 })
    journal.saveOriginals([
      { group: '/a', kind: 'weight', value: 100 },
      { group: '/a', kind: 'idle', value: 0 },
      { group: '/b', kind: 'idle', value: 0 },
    ])
    journal.close('/a', 'idle')
    journal.end()
    const file = join(directory, 'restore.journal')
    writeFileSync(file, 'torn', { flag: 'a' })
    const before = readFileSync(file, 'utf8')
    const unlock = await takeLock(directory)
    const survey = await surveyState(directory, 'boot-1')
    unlock()
    expect(survey).toMatchObject({ is: 'there', mode: 0o700, lockedBy: process.pid })
    expect('journal' in survey && survey.journal).toEqual({
      path: file,
      bytes: before.length,
      outstanding: 2,
      groups: 2,
      damagedLines: 1,
      boot: 'this',
    })
    expect(readFileSync(file, 'utf8')).toBe(before)
    expect(await surveyState(directory, 'boot-2')).toMatchObject({ journal: { outstanding: 0, boot: 'another' } })
  })
})

describe('the survey of a damaged journal', () => {
  it('tells whether its boot is known, and which damaged ones are kept of this boot', async () => {
    const directory = join(planted(), 'state')
    mkdirSync(directory, { mode: 0o700 })
    const file = join(directory, 'restore.journal')
    const open = () => new RestoreJournal({ stateDirectory: directory, bootId: 'boot-1', maxBytes: 1e6, groupId: () => 7 })
    const journal = open()
    journal.saveOriginals([{ group: '/a', kind: 'weight', value: 100 }])
    journal.end()
    const lines = readFileSync(file, 'utf8').split('\n')
    const [header = '', original = ''] = [lines[0], lines.find((line) => line.includes('"original"'))]
    const found = async (text: string) => {
      writeFileSync(file, text)
      return surveyState(directory, 'boot-1')
    }
    const spoilt = `~${header.slice(1)}\n`
    expect(await found(spoilt)).toMatchObject({ journal: { boot: 'unknown', outstanding: 0 }, damagedJournals: [] })
    expect(await found(`${spoilt}${original}\n`)).toMatchObject({ journal: { boot: 'this', outstanding: 1, damagedLines: 1 } })
    open().end()
    const kept = readdirSync(directory).filter((name) => name.includes('.damaged-'))
    expect(kept).toHaveLength(1)
    expect(await surveyState(directory, 'boot-1')).toMatchObject({ damagedJournals: [join(directory, kept[0] ?? '')] })
    expect(await surveyState(directory, 'boot-2')).toMatchObject({ damagedJournals: [], journal: { boot: 'another' } })
  })

  it.each(['/proc/state', '/proc/sys/kernel/state/deep', '/sys/state'])(
    'is not begun where there can be none: %s lies in a pseudo file system',
    async (path) => {
      expect(await surveyState(path, 'boot-1')).toMatchObject({
        is: 'unusable',
        problem: expect.stringMatching(/ lies in (procfs|sysfs), which keeps no files$/) as string,
      })
    },
  )

  it('nor where its lock would have too long a name', async () => {
    expect(await surveyState(`/tmp/${'x'.repeat(90)}`, 'boot-1')).toMatchObject({
      is: 'unusable',
      problem: expect.stringContaining('is too long for the socket of the lock, by ') as string,
    })
  })
})

describe('the facts of a node in a cluster', () => {
  async function clusterFacts(over: Readonly<Record<string, unknown>> = {}, prepare: (api: ApiServerDouble) => void = () => {}) {
    const api = await startDouble()
    prepare(api)
    api.put('pods', pod('a'))
    const root = planted({ cgroup: v2Tree(OFFLINE), proc: PROC, sys: SYS })
    const paths = { cgroup: join(root, 'cgroup'), proc: join(root, 'proc'), sys: join(root, 'sys'), state: join(root, 'state') }
    const cluster = { server: api.url, tokenFile: api.tokenFile, caFile: api.caFile, ...over }
    const settings = { paths, cluster, node: { name: NODE }, http: { enabled: false } }
    const facts = await gatherFacts(configOf(settings), { environment: {} })
    return { api, facts, root }
  }

  it('are its pods, whether the server knows it, and what may be written there, by requests that change nothing', async (context) => {
    if (!haveOpenssl()) context.skip('needs openssl')
    const { api, facts, root } = await clusterFacts()
    expect(facts.pods).toMatchObject({ everRead: true, pods: 1, problems: [] })
    expect(facts.api).toEqual({ server: api.url, nodeName: NODE, problem: undefined, condition: 'permitted' })
    expect(facts.http).toBeUndefined()
    const asked = api.requests.filter(({ verb }) => !['list', 'watch', 'get'].includes(verb))
    expect(asked.map(({ verb, resource, query }) => [verb, resource, query])).toEqual([
      ['patch', 'nodes/status', { dryRun: 'All' }],
    ])
    expect(readdirSync(root).sort()).toEqual(['cgroup', 'proc', 'sys'])
  })

  it('are that conditions may not be written, where the right is not granted', async (context) => {
    if (!haveOpenssl()) context.skip('needs openssl')
    const { facts } = await clusterFacts({}, (api) => api.fail({ status: 403, verb: 'patch', message: 'no such right' }))
    expect(facts.api.problem).toBeUndefined()
    expect(facts.api.condition).toMatchObject({ problem: expect.stringMatching(/403.*no such right/) as string })
  })

  it('are nothing of conditions where none are kept', async (context) => {
    if (!haveOpenssl()) context.skip('needs openssl')
    const { api, facts } = await clusterFacts({ condition: false })
    expect(facts.api.condition).toBeUndefined()
    expect(api.requests.some(({ verb }) => verb === 'patch')).toBe(false)
  })

  it('are why not, within seconds, where the token is refused or missing', { timeout: 20_000 }, async (context) => {
    if (!haveOpenssl()) context.skip('needs openssl')
    const wrong = join(planted({ token: 'another' }), 'token')
    const refused = await clusterFacts({ tokenFile: wrong })
    expect(refused.facts.api.problem).toMatch(/401/)
    expect(refused.facts.pods).toMatchObject({ everRead: false })
    const missing = await clusterFacts({ tokenFile: '/nonexistent' })
    expect(missing.facts.api.problem).toMatch(/\/nonexistent: ENOENT/)
  })
})
