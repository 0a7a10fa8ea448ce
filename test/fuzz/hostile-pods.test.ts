/**
 * Pods that mean harm, by their UID, names, labels, container ids and the names of their groups: no field of a pod leads to a path outside
 * the cgroup root, to another pod's group, or to another request at the API server.
 */
import { mkdirSync, mkdtempSync, rmdirSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import * as fc from 'fast-check'
import { beforeAll, describe, expect, it } from 'vitest'
import { detectMounts } from '../../src/kernel/mounts.ts'
import { openKernel } from '../../src/kernel/index.ts'
import { processesBelow } from '../../src/kernel/processes.ts'
import { assertPathFits } from '../../src/kube/operation-paths.ts'
import {
  AgentError,
  bytes,
  childGroup,
  containerIdOf,
  errnoOf,
  type GroupLayout,
  isPodGroupName,
  type KernelPort,
  milliCpu,
  podFromObject,
  podGroup,
  podsRoot,
  type PodSpec,
  qosRoot,
} from '../../src/model/index.ts'
import { KnobReadings } from '../../src/sense/knob-readings.ts'
import { PodReadings } from '../../src/sense/pod-readings.ts'
import { TOPOLOGIES } from '../support/topologies.ts'
import { Link, plant, PROC, sysfsOf, V2_GROUP, v2Tree } from '../support/trees-on-disk.ts'
import { checkPod, expectBelow, MIRROR_POD, POD } from './pods.ts'
import { announce, fuzz, scratchDirectory, spoilt, spoiltObjects, texts } from './support.ts'

announce('hostile-pods')

const LAYOUTS: readonly GroupLayout[] = [
  { root: '/', driver: 'cgroupfs' },
  { root: '/', driver: 'systemd' },
  { root: '/kubelet', driver: 'cgroupfs' },
  { root: '/a/b', driver: 'systemd' },
]
const QOS = fc.constantFrom('Guaranteed', 'Burstable', 'BestEffort' as const)
const UID = '0f9d3c1e-6b7a-4f6e-9a52-3f1f4b1d2c3e'
const uids = texts(UID, '3b0c3b0c3b0c3b0c3b0c3b0c3b0c3b0c', `${UID}.slice`, UID.replaceAll('-', '_'), '../pod', 'a/../../b')

describe("a pod's UID", () => {
  fuzz(
    'is a group of its own below the root of all pods, or is refused',
    fc.tuple(uids, QOS, fc.constantFrom(...LAYOUTS)),
    ([uid, qos, layout]) => {
      let group: string
      try {
        group = podGroup(layout, qos, uid)
      } catch (thrown) {
        expect(thrown).toBeInstanceOf(AgentError)
        expect((thrown as AgentError).code).toBe('E_GROUP_NAME')
        expect((thrown as AgentError).message.length).toBeLessThan(1000)
        return 'refused'
      }
      expectBelow(qosRoot(layout, qos), group)
      expectBelow(podsRoot(layout), group)
      if (!isPodGroupName(group.slice(group.lastIndexOf('/') + 1))) throw new Error(`not known as a pod's: ${group}`)
      return 'taken'
    },
  )

  const alike = fc.tuple(spoilt(UID), spoilt(UID, UID.replaceAll('-', '_'), UID.toUpperCase()), QOS, fc.constantFrom(...LAYOUTS))
  fuzz('names no group that another UID names', alike, ([one, other, qos, layout]) => {
    const groupOf = (uid: string): string | undefined => {
      try {
        return podGroup(layout, qos, uid)
      } catch {
        return undefined
      }
    }
    const [first, second] = [groupOf(one), groupOf(other)]
    if (first === undefined || second === undefined) return 'refused'
    if ((first === second) !== (one === other)) throw new Error(`${one} and ${other} both are ${first}`)
    return 'taken'
  })
})

describe('names', () => {
  const names = texts('4f4f4f4f4f4f', 'cri-containerd-4f4f4f4f4f4f.scope', '..', '.', 'a/b', 'pod1')
  fuzz(
    'of groups stay one directory entry',
    fc.tuple(names, fc.constantFrom('/', '/kubepods', '/kubepods/besteffort/pod1')),
    ([name, parent]) => {
      const id = containerIdOf(name)
      if (id !== undefined) expect(id).toMatch(/^[0-9a-f]{12,64}$/)
      try {
        const group = childGroup(parent, name)
        expectBelow(parent === '/' ? '' : parent, group)
        expect(group.split('/').length).toBe(parent === '/' ? 2 : parent.split('/').length + 1)
        return 'taken'
      } catch (thrown) {
        expect(thrown).toBeInstanceOf(AgentError)
        return 'refused'
      }
    },
  )

  fuzz('of pods ask the API server for that pod and nothing else', spoiltObjects(POD, MIRROR_POD), (object) => {
    let pod: PodSpec | undefined
    try {
      pod = podFromObject(object, 'o', 'Pod')
    } catch {
      return 'refused'
    }
    if (pod === undefined) return 'refused'
    const path = `/api/v1/namespaces/${pod.namespace}/pods/${pod.name}`
    assertPathFits('deletePod', path)
    expect(new URL(path, 'https://server').pathname).toBe(path)
    return 'taken'
  })
})

/** A kernel that has whatever it is asked for, and notes the groups that its calls are about: each call's first argument. */
function listening(children: readonly string[], asked: Set<string>): KernelPort {
  const answers: Readonly<Record<string, unknown>> = {
    readCpuUsageUs: 5,
    listChildren: children,
    readThrottling: true,
    readGroupMemory: true,
    exists: true,
  }
  return new Proxy({} as KernelPort, {
    get: (_, name) => {
      if (name === 'capabilities') return { nestedQuota: true, knobs: {} }
      return (group: unknown): unknown => {
        if (typeof group === 'string') asked.add(group)
        return answers[String(name)]
      }
    },
  })
}

describe('a sweep over hostile pods', () => {
  // What readdir can give: any name but the two dot entries, without a slash and a NUL.
  const entry = spoilt('4f4f4f4f4f4f', 'cri-containerd-4f4f4f4f4f4f.scope', 'pod1', '...', '-', '~')
    .map((name) => name.replaceAll(/[/\0]/g, '').slice(0, 200))
    .filter((name) => name !== '' && name !== '.' && name !== '..')
  const sweeps = fc.tuple(
    fc.array(spoiltObjects(POD, MIRROR_POD), { maxLength: 4 }),
    fc.array(entry, { maxLength: 4 }),
    fc.constantFrom(...LAYOUTS),
  )
  fuzz('reads groups below the root of all pods only', sweeps, ([objects, children, layout]) => {
    const pods = objects.flatMap((object) => {
      try {
        return podFromObject(object, 'o', 'Pod') ?? []
      } catch {
        return []
      }
    })
    const asked = new Set<string>()
    const kernel = listening(children, asked)
    const readings = new PodReadings(kernel, layout, new KnobReadings(kernel))
    readings.readsBandwidth = true
    for (const nowMs of [0, 1000])
      readings.sweep({ pods, everRead: true, revision: 1, atMs: nowMs, source: 's', problems: [] }, nowMs)
    for (const pod of pods) checkPod(pod)
    for (const { group, childGroups } of readings.readings)
      for (const path of [group, ...childGroups]) expectBelow(podsRoot(layout), path)
    for (const path of asked) if (path !== podsRoot(layout)) expectBelow(podsRoot(layout), path)
    return pods.length > 0 ? 'taken' : 'refused'
  })
})

describe('a tree with traps', () => {
  const root = scratchDirectory()
  const GROUP = '/kubepods/besteffort'

  beforeAll(() => {
    const outside = { ...V2_GROUP, 'cgroup.procs': '4242\n', 'cpu.weight': '77\n' }
    const trap = {
      ...V2_GROUP,
      'cgroup.procs': '1\n',
      ['4f'.repeat(32)]: new Link(join(root, 'outside')),
      up: new Link('../../..'),
    }
    const odd = {
      'line\nbreak': { ...V2_GROUP },
      ['x'.repeat(255)]: { ...V2_GROUP },
      '\u{1F600}': { ...V2_GROUP },
      '..x': { ...V2_GROUP },
    }
    const cgroup = v2Tree(GROUP, { ...V2_GROUP, podabc: { ...trap, ...odd }, podlink: new Link(join(root, 'outside')) })
    plant(root, { outside, cgroup, proc: PROC, sys: sysfsOf(TOPOLOGIES.twoCpuVm) })
    // A name that is no UTF-8.
    mkdirSync(Buffer.concat([Buffer.from(join(root, 'cgroup', GROUP, 'podabc/')), Buffer.from([0x62, 0xff, 0xfe])]))
    writeFileSync(join(root, 'cgroup', GROUP, 'podabc', 'line\nbreak', 'cgroup.procs'), '7\n')
  })

  const open = () => {
    const at = (name: string): string => join(root, name)
    return openKernel({ cgroupPath: at('cgroup'), procPath: at('proc'), sysPath: at('sys'), cgroupRoot: '/', driver: 'auto' })
  }

  it('lists no symbolic link for a group, and follows none when it looks for processes', () => {
    const { kernel } = open()
    const children = kernel.listChildren(`${GROUP}/podabc`)
    expect(children).toEqual(expect.arrayContaining(['line\nbreak', 'x'.repeat(255), '..x', '\u{1F600}']))
    expect(children).not.toContain('4f'.repeat(32))
    expect(children).not.toContain('up')
    expect(kernel.listChildren(GROUP)).not.toContain('podlink')
    expect(processesBelow(join(root, 'cgroup', GROUP, 'podabc')).toSorted((one, other) => one - other)).toEqual([1, 7])
  })

  it('is swept with every odd name, and each pod keeps to itself', () => {
    const { kernel, layout } = open()
    const readings = new PodReadings(kernel, layout, new KnobReadings(kernel))
    const pod: PodSpec = {
      uid: 'abc',
      namespace: 'n',
      name: 'p',
      labels: { constructor: 'BE', ['__proto__']: 'x' },
      kubeletQos: 'BestEffort',
      requests: { cpuMilli: milliCpu(0), memoryBytes: bytes(0) },
      extended: {},
      phase: 'Running',
      containers: [{ name: 'c', kind: 'main', extended: {}, id: 'containerd://../../../outside' }],
      origin: 'o',
    }
    readings.sweep({ pods: [pod], everRead: true, revision: 1, atMs: 0, source: 's', problems: [] }, 0)
    const [reading] = readings.readings
    expect(reading?.present).toBe(true)
    expect(reading?.childGroups).toHaveLength(5)
    for (const group of reading?.childGroups ?? []) expectBelow(`${GROUP}/podabc`, group)
    expect(readings.unlisted).toEqual([])
  })

  it('can hold no symbolic link where it is the kernel that keeps it', (context) => {
    let tree: string | undefined
    try {
      tree = detectMounts('/sys/fs/cgroup').controllers.cpu
    } catch {
      context.skip('no cgroup tree here')
    }
    let group: string
    try {
      group = mkdtempSync(join(tree ?? '', 'kube-agent-fuzz-'))
    } catch (thrown) {
      context.skip(`no group can be made here: ${errnoOf(thrown)}`)
      return
    }
    try {
      // Kernel: kernfs has no symlink operation for cgroups. So a path below the mount never leads out of it.
      expect(() => symlinkSync('/etc', join(group, 'pod1'))).toThrow(/EPERM|EACCES/)
    } finally {
      rmdirSync(group)
    }
  })
})
