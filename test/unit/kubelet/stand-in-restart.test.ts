/** Kubelet processes come and go: what is wiped, what is remembered, which pods are admitted again and which are lost. */
import { existsSync, lstatSync, mkdirSync, readdirSync, writeFileSync } from 'node:fs'
import { connect } from 'node:net'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import type { KubeletStandIn } from '../../../src/sim/kubelet/index.ts'
import {
  admitted,
  container,
  eventually,
  GPU,
  list,
  listed,
  makeKubelet,
  nodeWith,
  ObedientPlugin,
  pod,
  podOf,
  registered,
  rejection,
} from './stand-in-fixture.ts'

const connectError = (path: string): Promise<string> =>
  new Promise((resolve) => {
    const socket = connect(path, () => {
      socket.destroy()
      resolve('none')
    })
    socket.on('error', (error: NodeJS.ErrnoException) => resolve(error.code ?? ''))
  })

/** To be run before the pods are admitted again: the plugin is back by then. */
const back = (kubelet: KubeletStandIn, directory: string, devices: readonly string[], plugin?: ObedientPlugin) => async () => {
  await listed({ kubelet, directory, devices, endpoint: 'back.sock', ...(plugin === undefined ? {} : { plugin }) })
}

describe('the directory', () => {
  it('keeps a dead kubelet.sock after a crash, with nobody behind it', async () => {
    const { kubelet, directory, gpu } = await nodeWith(['a'])
    const { ino } = lstatSync(join(directory, 'kubelet.sock'))
    await kubelet.crash()
    expect(lstatSync(join(directory, 'kubelet.sock')).ino).toBe(ino)
    expect(await connectError(join(directory, 'kubelet.sock'))).toBe('ECONNREFUSED')
    await eventually(() => expect(gpu.streams.size).toBe(0))
    await kubelet.start()
    expect(await connectError(join(directory, 'kubelet.sock'))).toBe('none')
  })

  it('has no socket at all between the wipe and the new kubelet.sock', async () => {
    const { kubelet, directory } = await nodeWith(['a'])
    const names: string[] = []
    await kubelet.restart({ downMs: 5, gapMs: 5, duringGap: () => void names.push(...readdirSync(directory)) })
    expect(names).toEqual(['kubelet_internal_checkpoint'])
    expect(readdirSync(directory).sort()).toEqual(['kubelet.sock', 'kubelet_internal_checkpoint'])
  })

  it.each([
    { options: {}, left: ['inner', 'kubelet.sock', 'kubelet_internal_checkpoint', 'notes'] },
    { options: { wipe: 'files' }, left: ['inner', 'kubelet.sock', 'kubelet_internal_checkpoint'] },
    { options: { minor: 32 }, left: ['inner', 'kubelet.sock', 'kubelet_internal_checkpoint'] },
  ] as const)('keeps files, directories and the checkpoint as its release does: $options', async ({ options, left }) => {
    const { kubelet, directory } = await nodeWith(['a'], options)
    writeFileSync(join(directory, 'notes'), '')
    mkdirSync(join(directory, 'inner'))
    await kubelet.restart()
    expect(readdirSync(directory).sort()).toEqual(left)
  })

  it('has no socket after a stop', async () => {
    const { kubelet, directory } = await nodeWith(['a'])
    await kubelet.stop()
    expect(existsSync(join(directory, 'kubelet.sock'))).toBe(false)
  })
})

describe('a restart', () => {
  it('leaves the capacity at 0 until the plugin is back, and pods with what they hold', async () => {
    const { kubelet, directory } = await nodeWith(['a', 'b'], { statusPeriodMs: 0 })
    kubelet.tick(0)
    const { c: held = [] } = await admitted(kubelet, pod('p', { [GPU]: 1 }))
    await kubelet.restart()
    kubelet.tick(1)
    expect(kubelet.nodeStatus()).toEqual({ [GPU]: { capacity: 0, allocatable: 0 } })
    expect(await rejection(kubelet, pod('q', { [GPU]: 1 }))).toContain('no healthy devices present')
    await listed({ kubelet, directory, endpoint: 'b.sock', devices: ['a', 'b'] })
    expect(await rejection(kubelet, pod('r', { [GPU]: 2 }))).toContain('Requested: 2, Available: 1')
    expect(await admitted(kubelet, pod('p', { [GPU]: 1 }))).toEqual({ c: held })
    expect(kubelet.violations).toEqual([])
  })

  it('makes a first list without the devices that pods hold a violation', async () => {
    const { kubelet, directory } = await nodeWith(['a'])
    await admitted(kubelet, pod('p', { [GPU]: 1 }))
    await kubelet.restart()
    await listed({ kubelet, directory, endpoint: 'b.sock', devices: ['b'] })
    expect(kubelet.violations).toEqual([expect.stringContaining('a left the list while held by p')])
  })

  it('passes over a container only while the runtime says that it runs', async () => {
    const { kubelet } = await nodeWith(['a', 'b', 'c'])
    for (const uid of ['runs', 'exited']) await admitted(kubelet, pod(uid, { [GPU]: 1 }))
    kubelet.exitContainer('exited', 'c')
    await kubelet.restart()
    expect(kubelet.podStatus('runs')?.phase).toBe('Running')
    expect(kubelet.podStatus('exited')).toMatchObject({
      phase: 'Failed',
      message: expect.stringContaining('no healthy devices present') as string,
    })
  })

  it('loses running pods too when the runtime does not answer', async () => {
    const { kubelet } = await nodeWith(['a'])
    await admitted(kubelet, pod('p', { [GPU]: 1 }))
    await kubelet.restart({ runtimeAnswers: false })
    expect(kubelet.podStatus('p')?.phase).toBe('Failed')
  })

  it('rejects a running pod whose init container had devices, unless the plugin is back first', async () => {
    const { kubelet, directory } = await nodeWith(['a', 'b'])
    const initOnly = (uid: string) => podOf(uid, container('i', 1, 'init'), { name: 'm', limits: {} })
    await admitted(kubelet, initOnly('p'))
    await kubelet.restart({ beforeReadmission: back(kubelet, directory, ['a', 'b']) })
    expect(kubelet.podStatus('p')?.phase).toBe('Running')
    await kubelet.restart()
    expect(kubelet.podStatus('p')?.phase).toBe('Failed')
  })

  it('does not ask the plugin again for what a pod holds', async () => {
    const { kubelet, directory } = await nodeWith(['a', 'b'])
    const { c: held } = await admitted(kubelet, pod('p', { [GPU]: 1 }))
    kubelet.exitContainer('p', 'c')
    const plugin = new ObedientPlugin()
    await kubelet.restart({ beforeReadmission: back(kubelet, directory, ['a', 'b'], plugin) })
    expect(await admitted(kubelet, pod('p', { [GPU]: 1 }))).toEqual({ c: held })
    expect(plugin.allocated).toEqual([])
  })

  it('rejects a pod whose devices have become unhealthy', async () => {
    const { kubelet, directory } = await nodeWith(['a', 'b'])
    const { c: [held = ''] = [] } = await admitted(kubelet, pod('p', { [GPU]: 1 }))
    kubelet.exitContainer('p', 'c')
    const devices = ['a', 'b'].map((id) => (id === held ? `-${id}` : id))
    await kubelet.restart({ beforeReadmission: back(kubelet, directory, devices) })
    expect(await rejection(kubelet, pod('p', { [GPU]: 1 }))).toContain('previously allocated devices are no longer healthy')
  })

  it('rejects a pod that asks for another number than it holds', async () => {
    const { kubelet, directory } = await nodeWith(['a', 'b'])
    await admitted(kubelet, pod('p', { [GPU]: 1 }))
    await kubelet.stop()
    const { kubelet: next } = makeKubelet({ directory })
    await next.start()
    expect(await rejection(next, pod('p', { [GPU]: 2 }))).toContain('changed its request for example.com/gpu from 1 to 2')
  })

  it('leaves failed pods failed, and does not admit those that have ended', async () => {
    const { kubelet, directory, gpu } = await nodeWith(['a'])
    await rejection(kubelet, pod('failed', { [GPU]: 2 }))
    await admitted(kubelet, pod('done', { [GPU]: 1 }))
    kubelet.finish('done')
    await kubelet.restart({ beforeReadmission: back(kubelet, directory, ['a', 'b']) })
    expect([kubelet.podStatus('failed')?.phase, kubelet.podStatus('done')?.phase]).toEqual(['Failed', 'Succeeded'])
    expect(await rejection(kubelet, pod('failed', { [GPU]: 2 }))).toContain('Requested: 2, Available: 1')
    expect(gpu.allocated).toHaveLength(1)
  })

  it('in the middle of an Allocate leaves the pod to the next process', async () => {
    const { kubelet, directory, gpu } = await nodeWith(['a'])
    gpu.allocate = () => new Promise(() => {})
    const verdict = kubelet.admit(pod('p', { [GPU]: 1 }))
    await eventually(() => expect(gpu.allocated).toHaveLength(1))
    await kubelet.restart({ beforeReadmission: back(kubelet, directory, ['a']) })
    expect(await verdict).toMatchObject({ admitted: true, containers: [{ devices: { [GPU]: ['a'] } }] })
    expect(kubelet.violations).toEqual([])
  })

  it('lets a pod wait that comes while no kubelet runs', async () => {
    const { kubelet, directory } = await nodeWith(['a'])
    await kubelet.crash()
    const verdict = kubelet.admit(pod('p', { [GPU]: 1 }))
    await kubelet.start({ beforeReadmission: back(kubelet, directory, ['a']) })
    expect(await verdict).toMatchObject({ admitted: true })
  })
})

describe('a reboot', () => {
  it('fails pods for good that are admitted before the plugin registers, running or not', async () => {
    const { kubelet, directory } = await nodeWith(['a', 'b'])
    await admitted(kubelet, pod('p', { [GPU]: 1 }))
    await kubelet.reboot()
    expect(kubelet.podStatus('p')?.phase).toBe('Failed')
    await listed({ kubelet, directory, endpoint: 'b.sock', devices: ['a', 'b'] })
    expect(await rejection(kubelet, pod('p', { [GPU]: 1 }))).toContain('no healthy devices present')
    expect(await admitted(kubelet, pod('q', { [GPU]: 2 }))).toMatchObject({ c: expect.arrayContaining(['a', 'b']) as string[] })
  })

  it('keeps pods that are admitted after the plugin has listed', async () => {
    const { kubelet, directory } = await nodeWith(['a', 'b'])
    const held = await admitted(kubelet, pod('p', { [GPU]: 1 }))
    await kubelet.reboot({ beforeReadmission: back(kubelet, directory, ['a', 'b']) })
    expect(await admitted(kubelet, pod('p', { [GPU]: 1 }))).toEqual(held)
  })
})

describe('a stand-in made anew on the same directory', () => {
  it('knows from the checkpoint what pods hold that it has never seen, until they are removed', async () => {
    const { kubelet, directory } = await nodeWith(['a', 'b'])
    await admitted(kubelet, pod('p', { [GPU]: 1 }))
    await kubelet.stop()
    const { kubelet: next } = makeKubelet({ directory })
    await next.start()
    const plugin = await listed({ kubelet: next, directory, endpoint: 'b.sock', devices: ['a', 'b'] })
    expect(await rejection(next, pod('q', { [GPU]: 2 }))).toContain('Requested: 2, Available: 1')
    next.remove('p')
    expect(await admitted(next, pod('r', { [GPU]: 2 }))).toMatchObject({ c: expect.arrayContaining(['a', 'b']) as string[] })
    await list(next, plugin, ['a', 'b'])
    expect(next.violations).toEqual([])
  })

  it('takes over pods that run', async () => {
    const { kubelet, directory } = await nodeWith(['a'])
    const wanted = pod('p', { [GPU]: 1 })
    await admitted(kubelet, wanted)
    await kubelet.stop()
    const { kubelet: next } = makeKubelet({ directory })
    await next.start({ pods: [wanted] })
    expect(await admitted(next, wanted)).toEqual({ c: ['a'] })
    await registered({ directory, endpoint: 'b.sock' })
  })
})
