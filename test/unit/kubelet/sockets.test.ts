import { mkdirSync, mkdtempSync, readdirSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { createServer, type Server } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { readAllocatedIds } from '../../../src/kubelet/checkpoint.ts'
import { DevicePlugins, kubeletSocketProblem } from '../../../src/kubelet/index.ts'
import { removeStaleSockets } from '../../../src/kubelet/sockets.ts'
import { leavingSocket } from '../../../src/sim/kubelet/socket-directory.ts'

let directory = ''
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'ka-'))
})
afterEach(() => rmSync(directory, { recursive: true, force: true }))

function listen(name: string): Promise<Server> {
  return new Promise((resolve) => {
    const server = createServer((socket) => socket.destroy())
    server.listen(join(directory, name), () => resolve(server))
  })
}

const close = (server: Server): Promise<void> => new Promise((resolve) => server.close(() => resolve()))

describe('kubeletSocketProblem', () => {
  it('names each thing that can be wrong, and is silent when nothing is', async () => {
    expect(await kubeletSocketProblem(join(directory, 'none'))).toContain('does not exist')
    expect(await kubeletSocketProblem(directory)).toMatch(/kubelet\.sock does not exist/)
    writeFileSync(join(directory, 'kubelet.sock'), '')
    expect(await kubeletSocketProblem(directory)).toMatch(/is not a socket/)
    expect(await kubeletSocketProblem(join(directory, 'kubelet.sock'))).toMatch(/is not a directory/)
    rmSync(join(directory, 'kubelet.sock'))
    const server = await listen('kubelet.sock')
    expect(await kubeletSocketProblem(directory)).toBeUndefined()
    await leavingSocket(directory, () => close(server))
    expect(await kubeletSocketProblem(directory)).toMatch(/^nothing listens on .*kubelet\.sock/)
  })

  it('names a path that is too long for a socket, and so does start', async () => {
    const long = join(directory, 'x'.repeat(80))
    mkdirSync(long)
    expect(await kubeletSocketProblem(long)).toMatch(/too long for unix sockets by \d+ bytes/)
    const plugins = new DevicePlugins({ directory: long, resources: [], maxUnits: 1, now: () => 0, random: () => 0.5 })
    await expect(plugins.start()).rejects.toMatchObject({
      code: 'E_NO_KUBELET',
      message: expect.stringContaining('too long') as string,
    })
  })
})

describe('removeStaleSockets', () => {
  it('removes our sockets on which nothing listens, and nothing else', async () => {
    const live = await listen('kube-agent-be-cpu-live-1.sock')
    for (const name of ['kube-agent-be-cpu-dead-1.sock', 'other.sock']) {
      const server = await listen('kubelet.sock')
      await leavingSocket(directory, () => close(server))
      renameSync(join(directory, 'kubelet.sock'), join(directory, name))
    }
    writeFileSync(join(directory, 'kube-agent-notes.sock'), '')
    await removeStaleSockets(directory)
    expect(readdirSync(directory).sort()).toEqual(['kube-agent-be-cpu-live-1.sock', 'kube-agent-notes.sock', 'other.sock'])
    await removeStaleSockets(join(directory, 'none'))
    await close(live)
  })
})

describe('readAllocatedIds', () => {
  const write = (value: unknown): void =>
    writeFileSync(join(directory, 'kubelet_internal_checkpoint'), typeof value === 'string' ? value : JSON.stringify(value))

  it('reads what pods hold, by resource', async () => {
    const entry = (ResourceName: string, DeviceIDs: unknown) => ({
      PodUID: 'u',
      ContainerName: 'c',
      ResourceName,
      DeviceIDs,
      AllocResp: '',
    })
    const PodDeviceEntries = [
      entry('kube-agent.io/be-cpu', { '-1': ['bc-0001'] }),
      entry('nvidia.com/gpu', { 0: ['gpu0'] }),
      entry('kube-agent.io/be-cpu', { 0: ['bc-0002'], 1: ['bc-0003', 7] }),
      entry('kube-agent.io/ot-cpu', null),
      null,
    ]
    write({ Data: { PodDeviceEntries, RegisteredDevices: {} }, Checksum: 1 })
    expect(await readAllocatedIds(directory)).toEqual(
      new Map([
        ['kube-agent.io/be-cpu', new Set(['bc-0001', 'bc-0002', 'bc-0003'])],
        ['nvidia.com/gpu', new Set(['gpu0'])],
      ]),
    )
  })

  it('knows a checkpoint without entries from none', async () => {
    write({ Data: { PodDeviceEntries: null, RegisteredDevices: {} }, Checksum: 1 })
    expect(await readAllocatedIds(directory)).toEqual(new Map())
  })

  it.each(['', 'not json', '[]', '{}', '{"Data":null}', '{"Data":{"PodDeviceEntries":{}}}'])(
    'takes %j for none',
    async (text) => {
      write(text)
      expect(await readAllocatedIds(directory)).toBeUndefined()
    },
  )

  it('takes a missing file for none', async () => {
    expect(await readAllocatedIds(directory)).toBeUndefined()
  })
})
