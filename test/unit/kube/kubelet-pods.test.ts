/** Pods by polling the kubelet: parsed when they changed, kept when it is lost, and no token to anyone who can't show a certificate. */
import { beforeEach, describe, expect, it, onTestFinished, vi } from 'vitest'
import { Credentials } from '../../../src/kube/credentials.ts'
import { KubeletPods } from '../../../src/kube/kubelet-pods.ts'
import { openKubeletPods } from '../../../src/kube/index.ts'
import { AgentError } from '../../../src/model/index.ts'
import { type ApiObject, KubeletHttpsDouble } from '../../support/api-server/index.ts'
import { planted } from '../../support/trees-on-disk.ts'
import { haveOpenssl, hurriedClock, NODE, pod, SOON } from './support.ts'

const openssl = haveOpenssl()
beforeEach((context) => {
  if (!openssl) context.skip('needs openssl')
})

async function startKubelet() {
  const kubelet = await KubeletHttpsDouble.start({ directory: planted() })
  onTestFinished(() => kubelet.stop())
  return kubelet
}

function opened(
  server: { url: string; tokenFile: string; caFile: string },
  options: Partial<ConstructorParameters<typeof KubeletPods>[0]> = {},
) {
  const source = new KubeletPods({
    kubelet: server.url,
    verify: true,
    credentials: new Credentials({ ...server, now: hurriedClock() }),
    nodeName: NODE,
    version: '1',
    requestMs: 10_000,
    rescanMs: 5,
    maxPods: 100,
    now: () => performance.now(),
    random: () => 0,
    ...options,
  })
  onTestFinished(() => source.close())
  return source
}

const names = (source: KubeletPods) => source.list().pods.map(({ name }) => name)

/** As the kubelet shows a pod from a file: its UID is the hash, the annotations tell where it came from. */
function staticPod(name: string, hash: string): ApiObject {
  const object = pod(name, { uid: hash })
  const annotations = { 'kubernetes.io/config.hash': hash, 'kubernetes.io/config.source': 'file' }
  return { ...object, metadata: { ...object.metadata, annotations } }
}

const shown = (count: number) => Array.from({ length: count }, (_, index) => pod(`p${index}`, { uid: `u${index}` }))

/** Waits until the kubelet has been asked some more times. */
async function asked(kubelet: KubeletHttpsDouble, times = 3): Promise<void> {
  const from = kubelet.requests.length
  await vi.waitFor(() => expect(kubelet.requests.length).toBeGreaterThanOrEqual(from + times), SOON)
}

describe('the pods of a kubelet', () => {
  it('are read and followed, static ones under their hash', async () => {
    const kubelet = await startKubelet()
    kubelet.setPods([pod('a', { uid: 'ua' }), staticPod('etcd', 'abc')])
    const source = opened(kubelet)
    const changed = vi.fn()
    source.onChange(changed)
    await vi.waitFor(() => expect(source.list().pods.map(({ uid }) => uid)).toEqual(['ua', 'abc']), SOON)
    expect(source.list()).toMatchObject({ everRead: true, source: kubelet.url, problems: [] })
    expect(source.list().pods[0]).toMatchObject({ origin: `${kubelet.url}/pods` })
    await vi.waitFor(() => expect(changed).toHaveBeenCalledTimes(1), SOON)
    kubelet.setPods([pod('a', { uid: 'ua', phase: 'Failed' })])
    await vi.waitFor(() => expect(source.list().pods).toMatchObject([{ uid: 'ua', phase: 'Failed' }]), SOON)
    expect(kubelet.requests.every(({ path, status }) => path === '/pods' && status === 200)).toBe(true)
  })

  it('are not parsed again while they are the same in whatever order, and prove life', async () => {
    const kubelet = await startKubelet()
    const pods = shown(20)
    kubelet.setPods(pods)
    let nowMs = 0
    const source = opened(kubelet, { now: () => nowMs })
    await vi.waitFor(() => expect(names(source)).toHaveLength(20), SOON)
    const before = source.list()
    const json = vi.spyOn(JSON, 'parse')
    nowMs = 1000
    kubelet.setPods(pods.toReversed())
    await asked(kubelet)
    await vi.waitFor(() => expect(source.list().atMs).toBe(1000), SOON)
    expect(json).not.toHaveBeenCalled()
    json.mockRestore()
    expect(source.list()).toMatchObject({ revision: before.revision })
    expect(source.list().pods).toBe(before.pods)
    // One pod has changed: the others are the very same objects.
    kubelet.setPods([...pods.slice(1).toReversed(), pod('p0', { uid: 'u0', phase: 'Failed' })])
    await vi.waitFor(() => expect(source.list().pods[0]?.phase).toBe('Failed'), SOON)
    expect(
      source
        .list()
        .pods.slice(1)
        .every((one, index) => one === before.pods[index + 1]),
    ).toBe(true)
  })

  it('stay when it is lost, which is told, and are fresh when it is back', async () => {
    const kubelet = await startKubelet()
    kubelet.setPods(shown(2))
    let nowMs = 0
    const source = opened(kubelet, { now: () => nowMs })
    await vi.waitFor(() => expect(names(source)).toHaveLength(2), SOON)
    nowMs = 1000
    const before = source.list()
    for (const [answer, said] of [
      [{ status: 500, body: 'oops' }, '500'],
      [{ status: 200, body: '{"kind":"PodList","items":[' }, 'not JSON'],
      [{ status: 200, body: '{"kind":"Status"}' }, 'no PodList'],
      [{ status: 200, body: 'null' }, 'no PodList'],
    ] as const) {
      kubelet.answer = answer
      await asked(kubelet)
      await vi.waitFor(() => expect(source.list().problems).toEqual([expect.stringContaining(said)]), SOON)
    }
    kubelet.answer = undefined
    kubelet.allowed = false
    await vi.waitFor(() => expect(source.list().problems[0]).toContain('Grant the verb "get" on "nodes/pods"'), SOON)
    expect(source.list().pods).toBe(before.pods)
    kubelet.allowed = true
    await vi.waitFor(() => expect(source.list()).toMatchObject({ problems: [], atMs: 1000 }), SOON)
    kubelet.setPods([])
    await vi.waitFor(() => expect(names(source)).toEqual([]), SOON)
  })

  it('survive a rotated token', async () => {
    const kubelet = await startKubelet()
    const source = opened(kubelet)
    await vi.waitFor(() => expect(source.list().everRead).toBe(true), SOON)
    kubelet.rotateToken()
    kubelet.setPods(shown(1))
    await vi.waitFor(() => expect(names(source)).toEqual(['p0']), SOON)
    expect(source.list().problems).toEqual([])
  })

  it('may be none, as Go writes that', async () => {
    const kubelet = await startKubelet()
    kubelet.answer = { status: 200, body: '{"kind":"PodList","apiVersion":"v1","metadata":{},"items":null}\n' }
    const source = opened(kubelet)
    await vi.waitFor(() => expect(source.list()).toMatchObject({ everRead: true, pods: [], problems: [] }), SOON)
  })

  it('are no more than there may be', async () => {
    const kubelet = await startKubelet()
    kubelet.setPods(shown(3))
    const source = opened(kubelet, { maxPods: 2 })
    await vi.waitFor(() => expect(names(source)).toHaveLength(2), SOON)
    expect(source.list().problems).toEqual([expect.stringContaining('default/p2 is left out')])
  })

  it('come no more after close, also when an answer is under way', async () => {
    const kubelet = await startKubelet()
    const source = opened(kubelet)
    await asked(kubelet)
    kubelet.hang()
    source.close()
    kubelet.setPods(shown(3))
    kubelet.resume()
    const { length } = kubelet.requests
    const other = opened(kubelet)
    await vi.waitFor(() => expect(names(other)).toHaveLength(3), SOON)
    expect(names(source)).toEqual([])
    expect(kubelet.requests.length).toBeGreaterThan(length)
  })
})

describe('the certificate of a kubelet', () => {
  it('that is of another authority is refused, and on the loopback may go unchecked', async () => {
    const [kubelet, other] = [await startKubelet(), await startKubelet()]
    const foreign = { url: kubelet.url, tokenFile: kubelet.tokenFile, caFile: other.caFile }
    const source = opened(foreign)
    await vi.waitFor(() => expect(source.list().problems[0]).toContain('kubeletVerify'), SOON)
    expect(kubelet.requests).toEqual([])
    const unchecked = opened(foreign, { verify: false })
    await vi.waitFor(() => expect(unchecked.list().everRead).toBe(true), SOON)
  })

  it.each(['https://10.0.0.1:10250', 'https://127.0.0.1.example.org', 'https://localhost.example.org', 'https://[::2]:1'])(
    'must be checked on %s',
    (url) => {
      const files = { tokenFile: '/nowhere', caFile: '/nowhere' }
      expect(() => opened({ url, ...files }, { verify: false })).toThrow(AgentError)
      const cluster = { ...files, requestMs: 1, nodeName: NODE, version: '1', now: () => 0 }
      const open = () => openKubeletPods(cluster, { kubelet: url, verify: false, rescanMs: 5, maxPods: 1 })
      expect(open).toThrow(/cluster\.kubeletVerify: false needs a loopback address/)
    },
  )

  it.each(['https://127.0.0.1:9', 'https://127.8.9.1:9', 'https://[::1]:9', 'https://localhost:9'])(
    'may go unchecked on %s',
    (url) => {
      opened({ url, tokenFile: '/nowhere', caFile: '/nowhere' }, { verify: false })
    },
  )
})
