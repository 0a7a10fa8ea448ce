/** What is sent over gRPC is bounded at 16 MiB, on both ends of a real socket: that call fails, and the connection answers the next one. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { performance } from 'node:perf_hooks'
import { type ChannelOptions, type Client, connectivityState, status } from '@grpc/grpc-js'
import { afterEach, beforeEach, describe, expect, it, onTestFinished } from 'vitest'
import { PluginServer } from '../../../src/kubelet/plugin-server.ts'
import { ResourceDevices } from '../../../src/kubelet/resource-devices.ts'
import { callUnary, DEVICE_PLUGIN, dial, MESSAGE_LIMITS, UNLIMITED } from '../../../src/kubelet/wire.ts'

const MIB = 2 ** 20
const SENT = 16 * MIB

let directory: string

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'kube-agent-limits-'))
})
afterEach(() => rmSync(directory, { recursive: true, force: true }))

interface Plugin {
  readonly client: Client
  readonly devices: ResourceDevices
  readonly allocate: (...ids: readonly string[]) => Promise<unknown>
}

/** A plugin that listens, and a kubelet's connection to it; `nonce` goes into every answer to Allocate. */
async function plugin(limits: ChannelOptions, nonce: () => string): Promise<Plugin> {
  const now = (): number => performance.now()
  const devices = new ResourceDevices({ resource: 'be-cpu', maxUnits: 8, now })
  devices.publish(4)
  const socketPath = join(directory, 'plugin.sock')
  const quiet = { onStreams: () => undefined, onPush: () => undefined }
  const server = await PluginServer.listen({ devices, qosClass: 'BE', socketPath, pushMs: 1000, now, nonce, ...quiet })
  const client = dial(socketPath, limits)
  onTestFinished(async () => {
    client.close()
    await server.close()
  })
  const allocate = (...devicesIds: string[]) =>
    callUnary(client, DEVICE_PLUGIN.Allocate, { containerRequests: [{ devicesIds }] }, { deadline: Date.now() + 15_000 })
  return { client, devices, allocate }
}

describe('a message that is sent', () => {
  it('by a plugin above 16 MiB fails its call, one just below does not, and the connection stays', async () => {
    const lengths = [SENT + 1, SENT - 1000, 1]
    const { client, devices, allocate } = await plugin(UNLIMITED, () => 'n'.repeat(lengths.shift() ?? 1))
    const [first = '', second = ''] = devices.list.map(({ id }) => id)
    await expect(allocate(first)).rejects.toMatchObject({
      code: status.RESOURCE_EXHAUSTED,
      details: expect.stringMatching(/sen[dt].*larger than max \(\d+ vs\.? 16777216\)/i) as string,
    })
    await expect(allocate(second)).resolves.toMatchObject({ containerResponses: [{}] })
    await expect(allocate(second)).resolves.toMatchObject({
      containerResponses: [{ annotations: { 'kube-agent.io/allocation-be-cpu': 'n' } }],
    })
    expect(connectivityState[client.getChannel().getConnectivityState(false)]).toBe('READY')
  })

  it('by a client of the agent above 16 MiB fails its call before it is sent, and the next one is answered', async () => {
    const { devices, allocate } = await plugin(MESSAGE_LIMITS, () => 'n')
    await expect(allocate('x'.repeat(SENT + 1))).rejects.toMatchObject({ code: status.RESOURCE_EXHAUSTED })
    // Below it the plugin is asked, and knows no such device.
    await expect(allocate('x'.repeat(SENT - 1000))).rejects.toMatchObject({ code: status.NOT_FOUND })
    await expect(allocate(devices.list[0]?.id ?? '')).resolves.toMatchObject({ containerResponses: [{}] })
  })

  it('as a list of devices is far below that, with as many as can be configured', () => {
    const devices = new ResourceDevices({ resource: 'be-memory', maxUnits: 10_000, now: () => 0 })
    devices.publish(10_000)
    expect(devices.list).toHaveLength(10_000)
    expect(devices.listBytes.length).toBeLessThan(MIB)
  })
})
