/** Register: what a kubelet checks, in which order, what it asks the plugin in return, and under which :authority. */
import { mkdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { status } from '@grpc/grpc-js'
import { beforeEach, describe, expect, it } from 'vitest'
import type { KubeletStandIn } from '../../../src/sim/kubelet/index.ts'
import {
  eventually,
  gate,
  GPU,
  list,
  makeKubelet,
  nodeWith,
  ObedientPlugin,
  pod,
  register,
  registered,
} from './stand-in-fixture.ts'

let directory = ''
let kubelet: KubeletStandIn

beforeEach(async () => {
  ;({ kubelet, directory } = makeKubelet())
  await kubelet.start()
})

const refusal = (text: string) => ({ code: status.UNKNOWN, details: expect.stringContaining(text) as string })

describe('the request', () => {
  it.each(['v1', 'v1alpha', '', 'V1BETA1'])('is refused with version %j', async (version) => {
    await new ObedientPlugin().listen(directory, 'a.sock')
    await expect(register(directory, 'a.sock', { version })).rejects.toMatchObject(refusal('not supported'))
    expect(kubelet.registrations).toBe(0)
  })

  it.each([
    'gpu',
    'kubernetes.io/gpu',
    'x.kubernetes.io/gpu',
    'requests.example.com/gpu',
    'Example.com/gpu',
    'example.com/',
    '/gpu',
    'example.com/gpu/a',
    'example.com/-gpu',
    'example.com/gpu_',
    `example.com/${'g'.repeat(64)}`,
    'exa_mple.com/gpu',
    '',
  ])('is refused with the name %j', async (resourceName) => {
    await new ObedientPlugin().listen(directory, 'a.sock')
    await expect(register(directory, 'a.sock', { resourceName })).rejects.toMatchObject(refusal('invalid'))
  })

  it.each(['kube-agent.io/be-cpu', 'example.com/GPU_1.x', `example.com/${'g'.repeat(63)}`])(
    'is taken with the name %j',
    async (resourceName) => {
      await new ObedientPlugin().listen(directory, 'a.sock')
      await expect(register(directory, 'a.sock', { resourceName })).resolves.toBeUndefined()
    },
  )

  it('is checked for its version first, then its name, then its endpoint', async () => {
    const wrong = { version: 'v2', resourceName: 'gpu' }
    const { kubelet: impatient, directory: place } = makeKubelet({ dialTimeoutMs: 200 })
    await impatient.start()
    await expect(register(place, 'none.sock', wrong)).rejects.toMatchObject(refusal('not supported'))
    await expect(register(place, 'none.sock', { resourceName: 'gpu' })).rejects.toMatchObject(refusal('invalid'))
    await expect(register(place, 'none.sock')).rejects.toMatchObject(refusal('dialling'))
  })

  it('may name an endpoint outside the directory', async () => {
    const inner = join(directory, 'inner')
    mkdirSync(inner)
    const { kubelet: other } = makeKubelet({ directory: inner })
    await other.start()
    await new ObedientPlugin().listen(directory, 'a.sock')
    await register(inner, '../a.sock')
    expect(other.registrations).toBe(1)
  })

  it('is refused when the endpoint file is gone, though the plugin listens', async () => {
    const { kubelet: impatient, directory: place } = makeKubelet({ dialTimeoutMs: 200 })
    await impatient.start()
    await new ObedientPlugin().listen(place, 'a.sock')
    rmSync(join(place, 'a.sock'))
    await expect(register(place, 'a.sock')).rejects.toMatchObject(refusal('dialling'))
    expect(impatient.registrations).toBe(0)
  })

  it('can tell no options of its own: only what the plugin answers counts', async () => {
    const plugin = await new ObedientPlugin().listen(directory, 'a.sock')
    const options = { preStartRequired: true, getPreferredAllocationAvailable: true }
    await register(directory, 'a.sock', { options })
    await eventually(() => expect(plugin.streams.size).toBe(1))
    await list(kubelet, plugin, ['a', 'b'])
    expect(await kubelet.admit(pod('p', { [GPU]: 1 }))).toMatchObject({ admitted: true })
    await kubelet.startContainer('p', 'c')
    expect([plugin.preferenceRequests, plugin.preStarted]).toEqual([[], []])
  })
})

describe('the call back for the options', () => {
  it('comes before the answer to Register, and the stream after it', async () => {
    const { opened, open } = gate()
    const plugin = await new ObedientPlugin().listen(directory, 'a.sock')
    plugin.options = async () => {
      await opened
      return {}
    }
    let answered = false
    const registration = register(directory, 'a.sock').then(() => (answered = true))
    await eventually(() => expect(plugin.leftMs.options).toHaveLength(1))
    expect([answered, kubelet.registrations, plugin.streamsOpened]).toEqual([false, 0, 0])
    open()
    await registration
    await eventually(() => expect(plugin.streamsOpened).toBe(1))
    expect(kubelet.registrations).toBe(1)
  })

  it("ends with the plugin's own deadline", async () => {
    const plugin = await new ObedientPlugin().listen(directory, 'a.sock')
    plugin.options = () => new Promise(() => {})
    await expect(register(directory, 'a.sock', { deadlineMs: 1_000 })).rejects.toMatchObject({ code: status.DEADLINE_EXCEEDED })
    await eventually(() => expect(plugin.cancelled).toBe(1))
    expect(plugin.leftMs.options?.[0]).toBeLessThanOrEqual(1_000)
    expect([kubelet.registrations, plugin.streamsOpened]).toEqual([0, 0])
  })

  it('ends when the plugin gives up Register', async () => {
    const plugin = await new ObedientPlugin().listen(directory, 'a.sock')
    plugin.options = () => new Promise(() => {})
    const abort = new AbortController()
    const registration = register(directory, 'a.sock', { signal: abort.signal })
    await eventually(() => expect(plugin.leftMs.options).toHaveLength(1))
    abort.abort()
    await expect(registration).rejects.toMatchObject({ code: status.CANCELLED })
    await eventually(() => expect(plugin.cancelled).toBe(1))
    expect(kubelet.registrations).toBe(0)
  })

  it('fails the registration when the plugin fails it', async () => {
    const plugin = await new ObedientPlugin().listen(directory, 'a.sock')
    plugin.options = () => Promise.reject(new Error('not today'))
    await expect(register(directory, 'a.sock')).rejects.toMatchObject(refusal('not today'))
    expect(kubelet.registrations).toBe(0)
  })
})

describe('registrations', () => {
  it('open one stream each, and the newest is asked for devices', async () => {
    const old = await registered({ directory })
    const fresh = await registered({ directory, endpoint: 'b.sock' })
    await list(kubelet, fresh, ['n'])
    expect(await kubelet.admit(pod('p', { [GPU]: 1 }))).toMatchObject({ admitted: true })
    expect([old.streamsOpened, fresh.streamsOpened]).toEqual([1, 1])
    expect([old.allocated, fresh.allocated]).toEqual([[], [['n']]])
  })
})

describe(':authority', () => {
  it.each([
    { authority: 'localhost', sent: () => 'localhost' },
    { authority: 'percent-encoded', sent: (path: string) => path.replaceAll('/', '%2F') },
  ] as const)('is $authority', async ({ authority, sent }) => {
    const node = await nodeWith(['a'], { authority })
    expect(await node.kubelet.admit(pod('p', { [GPU]: 1 }))).toMatchObject({ admitted: true })
    expect([...node.gpu.authorities]).toEqual([sent(join(node.directory, 'a.sock'))])
  })

  it.each([{ authority: 'raw-path' }, { minor: 25 }] as const)('is the raw path and fails with %j', async (options) => {
    const { kubelet: old, directory: place } = makeKubelet(options)
    await old.start()
    await new ObedientPlugin().listen(place, 'a.sock')
    await expect(register(place, 'a.sock')).rejects.toMatchObject(refusal('PROTOCOL_ERROR'))
    await expect(register(place, 'a.sock')).rejects.toMatchObject(refusal('raw socket path as :authority'))
    expect(old.registrations).toBe(0)
  })
})
