/** The client against servers with real TLS: what it sends, what it makes of each kind of failure, and that it holds nothing back at the end. */
import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import type { ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import { join } from 'node:path'
import { beforeEach, describe, expect, it, onTestFinished, vi } from 'vitest'
import { ApiContentError, ApiError } from '../../../src/kube/api.ts'
import { OPERATIONS } from '../../../src/kube/operations.ts'
import { makeCertificates, replaceFile } from '../../support/api-server/certificates.ts'
import { clientOf, haveOpenssl, pod, SOON, startDouble, startServer } from './support.ts'

const openssl = haveOpenssl()
beforeEach((context) => {
  if (!openssl) context.skip('needs openssl')
})

const NODE_PATH = { path: '/api/v1/nodes/n' }
const LIST = { path: '/api/v1/pods' }

const failureOf = async (call: Promise<unknown>): Promise<ApiError> => {
  const thrown = await call.then(
    () => undefined,
    (error: unknown) => error,
  )
  expect(thrown).toBeInstanceOf(Error)
  return thrown as ApiError
}

describe('a call', () => {
  it('sends the verb, the query and the body of its operation, and who it is', async () => {
    const seen: unknown[] = []
    const server = await startServer((request, response) => {
      const { authorization, 'user-agent': agent, 'content-type': type, accept } = request.headers
      void request.toArray().then((parts) => {
        seen.push([request.method, request.url, authorization, agent, accept, type, Buffer.concat(parts as Buffer[]).toString()])
        response.end('{"ok":true}')
      })
    })
    const client = clientOf(server)
    expect(await client.call('listPods', { ...LIST, query: { fieldSelector: 'spec.nodeName=n&x', limit: '1' } })).toEqual({
      ok: true,
    })
    await client.call('patchNodeStatus', {
      path: '/api/v1/nodes/n/status',
      body: { é: 1 },
      contentType: 'application/strategic-merge-patch+json',
    })
    await client.call('createEvent', { path: '/api/v1/namespaces/ns/events', body: [] })
    await client.call('deletePod', { path: '/api/v1/namespaces/ns/pods/p', body: { kind: 'DeleteOptions' } })
    const common = ['Bearer secret-token', 'kube-agent/1.2.3', 'application/json']
    expect(seen).toEqual([
      ['GET', '/api/v1/pods?fieldSelector=spec.nodeName%3Dn%26x&limit=1', ...common, undefined, ''],
      ['PATCH', '/api/v1/nodes/n/status', ...common, 'application/strategic-merge-patch+json', '{"é":1}'],
      ['POST', '/api/v1/namespaces/ns/events', ...common, 'application/json', '[]'],
      ['DELETE', '/api/v1/namespaces/ns/pods/p', ...common, 'application/json', '{"kind":"DeleteOptions"}'],
    ])
    expect(await server.connections()).toBe(1)
  })

  it.each([
    ['getNode', '/api/v1/pods'],
    ['getNode', '/api/v1/nodes'],
    ['getNode', '/api/v1/nodes/..'],
    ['getNode', '/api/v1/nodes/n/proxy'],
    ['getNode', '/api/v1/nodes/n?watch=1'],
    ['patchNode', '/api/v1/nodes/n/status'],
    ['patchNodeStatus', '/api/v1/nodes/n'],
    ['listPods', '/api/v1/secrets'],
    ['listPods', '/apis/v1/pods'],
    ['createEvent', '/api/v1/namespaces/ns/events/e'],
    ['createEviction', '/api/v1/namespaces/ns/pods/p'],
    ['createEviction', '/api/v1/namespaces/ns/pods/eviction'],
    ['createEviction', '/api/v1/namespaces/ns/pods/p/exec'],
    ['createEviction', '/api/v1/pods/p/eviction'],
    ['deletePod', '/api/v1/namespaces/ns/pods'],
    ['deletePod', '/api/v1/pods/p'],
    ['deletePod', '/api/v1/namespaces/ns/pods/p/eviction'],
    ['deletePod', '/api/v1/namespaces/ns/secrets/p'],
    ['getKubeletPods', '/runningpods/'],
    ['getKubeletPods', '/api/v1/nodes/n/pods'],
  ] as const)('of %s does not ask for %s', async (operation, path) => {
    const server = await startServer(() => expect.unreachable('nothing may be sent'))
    const error = await failureOf(clientOf(server).call(operation, { path }))
    expect(error).toMatchObject({ code: 'E_BUG' })
    expect(error.message).toContain(path)
  })

  it('has a path for every operation', async () => {
    const paths: Record<keyof typeof OPERATIONS, string> = {
      listPods: '/api/v1/pods',
      watchPods: '/api/v1/namespaces/ns/pods',
      getKubeletPods: '/pods',
      getNode: '/api/v1/nodes/ip-10-0-0-1.ec2.internal',
      patchNode: '/api/v1/nodes/n',
      patchNodeStatus: '/api/v1/nodes/n/status',
      createEvent: '/api/v1/namespaces/ns/events',
      patchEvent: '/api/v1/namespaces/ns/events/p.17a',
      createEviction: '/api/v1/namespaces/ns/pods/p/eviction',
      deletePod: '/api/v1/namespaces/ns/pods/p',
    }
    const server = await startServer((_request, response) => response.end('{}'))
    const client = clientOf(server)
    for (const [operation, path] of Object.entries(paths)) await client.call(operation as keyof typeof OPERATIONS, { path })
  })
})

describe('a refusal', () => {
  it('tells the status, the reason, the wait that was asked for, and what to do', async () => {
    const api = await startDouble()
    const client = clientOf(api)
    expect(await failureOf(client.call('getNode', NODE_PATH))).toMatchObject({ status: 404, reason: 'NotFound' })
    api.fail({ status: 429, retryAfterSeconds: 7 })
    expect(await failureOf(client.call('listPods', LIST))).toMatchObject({
      status: 429,
      reason: 'TooManyRequests',
      retryAfterMs: 7000,
    })
    api.fail({ status: 403 })
    const forbidden = await failureOf(client.call('listPods', LIST))
    expect(forbidden.message).toMatch(
      new RegExp(`^${api.url}: GET /api/v1/pods: 403 Forbidden: .*Grant the verb "list" on "pods"`),
    )
    api.fail({ status: 502, html: '<h1>\nBad\tGateway</h1>' })
    const proxy = await failureOf(client.call('listPods', LIST))
    expect(proxy).toMatchObject({ status: 502, reason: '', retryAfterMs: undefined })
    expect(proxy.message).toContain('502: <h1> Bad Gateway</h1>')
  })

  it.each([
    ['3', 3000],
    ['0', 0],
    ['999999999', 600_000],
    ['Fri, 31 Dec 1999 23:59:59 GMT', 0],
    ['soon', undefined],
  ])('with Retry-After: %s asks for %s ms', async (header, retryAfterMs) => {
    const server = await startServer((_request, response) => response.writeHead(503, { 'Retry-After': header }).end())
    expect(await failureOf(clientOf(server).call('listPods', LIST))).toMatchObject({ status: 503, retryAfterMs })
  })

  it('tells the causes that the server gives, in words of one line and without the token', async () => {
    const causes = [{ reason: 'DisruptionBudget', message: 'needs 2\nBearer secret-token' }, { message: 7 }, 'nonsense']
    const body = JSON.stringify({ kind: 'Status', reason: 'TooManyRequests', message: 'no', details: { causes } })
    const server = await startServer((_request, response) => response.writeHead(429).end(body))
    const { causes: told } = await failureOf(clientOf(server).call('listPods', LIST))
    expect(told).toEqual([
      { reason: 'DisruptionBudget', message: 'needs 2 Bearer <token>' },
      { reason: '', message: '' },
      { reason: '', message: '' },
    ])
  })

  it('within an answer of 201 is a refusal all the same', async () => {
    const status = { kind: 'Status', status: 'Failure', code: 500, message: 'two budgets' }
    const server = await startServer((_request, response) => response.writeHead(201).end(JSON.stringify(status)))
    const eviction = { path: '/api/v1/namespaces/ns/pods/p/eviction', body: {} }
    expect(await failureOf(clientOf(server).call('createEviction', eviction))).toMatchObject({
      status: 500,
      message: `${server.url}: POST /api/v1/namespaces/ns/pods/p/eviction: 500: two budgets`,
    })
  })

  it('that sends the token back does not bring it into the message', async () => {
    const server = await startServer((request, response) => {
      response.writeHead(400).end(JSON.stringify({ kind: 'Status', message: `bad header ${request.headers.authorization}` }))
    })
    const error = await failureOf(clientOf(server).call('listPods', LIST))
    expect(error.message).toContain('bad header Bearer <token>')
  })

  it('of the token has the file read again, and the call made again, once', async () => {
    const api = await startDouble()
    // A clock that stands: only the refusal can have the file read again.
    const client = clientOf(api, { now: () => 0 })
    await client.call('listPods', LIST)
    api.rotateToken()
    await client.call('listPods', LIST)
    expect(api.requests.map(({ status }) => status)).toEqual([200, 401, 200])
    replaceFile(api.tokenFile, 'wrong')
    await client.call('listPods', LIST)
    api.rotateToken()
    replaceFile(api.tokenFile, 'wrong')
    const error = await failureOf(client.call('listPods', LIST))
    expect(error).toMatchObject({ status: 401 })
    expect(error.message).toContain('cluster.tokenFile')
    expect(error.message).not.toContain('wrong')
    expect(api.requests.map(({ status }) => status).slice(-2)).toEqual([401, 401])
  })
})

describe('a connection', () => {
  it('to nowhere names the server and the setting', async () => {
    const server = await startServer(() => {})
    const url = 'https://127.0.0.1:9'
    const error = await failureOf(clientOf({ ...server, url }).call('listPods', LIST))
    expect(error.message).toMatch(/^https:\/\/127\.0\.0\.1:9: GET \/api\/v1\/pods: .*ECONNREFUSED.*cluster\.server/)
  })

  it('to a server that nobody vouches for sends no token', async () => {
    const handle = vi.fn()
    const server = await startServer(handle)
    const { ca } = await makeCertificates(server.directory)
    replaceFile(server.caFile, ca)
    const error = await failureOf(clientOf(server).call('listPods', LIST))
    expect(error.message).toContain('cluster.caFile')
    expect(handle).not.toHaveBeenCalled()
    const unverified = clientOf(server, { verify: false })
    void unverified.call('listPods', LIST).catch(() => {})
    await vi.waitFor(() => expect(handle).toHaveBeenCalledTimes(1), SOON)
  })

  it('checks the name in the certificate, or the other name that it may have', async () => {
    const server = await startServer((_request, response) => response.end('{}'))
    const url = server.url.replace('127.0.0.1', 'localhost')
    await clientOf({ ...server, url }).call('listPods', LIST)
    // Linux: all of 127/8 is this machine, and the certificate is for one address of it.
    const other = { ...server, url: server.url.replace('127.0.0.1', '127.0.0.2') }
    expect((await failureOf(clientOf(other).call('listPods', LIST))).message).toContain('cluster.server')
    expect((await failureOf(clientOf(other, { alsoNamed: 'node-1' }).call('listPods', LIST))).message).toContain('node-1')
    await clientOf(other, { alsoNamed: 'localhost' }).call('listPods', LIST)
  })

  it('follows a rotated authority, and drops the idle connections of the one before', async () => {
    const api = await startDouble()
    const client = clientOf(api)
    await client.call('listPods', LIST)
    await api.rotateCa()
    expect(await client.call('listPods', LIST)).toMatchObject({ kind: 'PodList' })

    const closed = vi.fn()
    const server = await startServer((request, response) => {
      request.socket.on('close', closed)
      response.end('{}')
    })
    const other = clientOf(server)
    await other.call('listPods', LIST)
    const { ca } = await makeCertificates(server.directory)
    replaceFile(server.caFile, `${ca}${readFileSync(server.caFile, 'utf8')}`)
    await other.call('listPods', LIST)
    await vi.waitFor(() => expect(closed).toHaveBeenCalledTimes(1), SOON)
    expect(await server.connections()).toBe(1)
  })

  it('that the server closed while it was idle is no failure of a read, and a write is not made twice', async () => {
    const served = new Map<Socket, number>()
    const server = await startServer((request, response) => {
      const count = (served.get(request.socket) ?? 0) + 1
      served.set(request.socket, count)
      if (count > 1) request.socket.destroy()
      else response.end('{}')
    })
    const client = clientOf(server)
    await client.call('listPods', LIST)
    await client.call('listPods', LIST)
    expect(served.size).toBe(2)
    const write = await failureOf(client.call('createEvent', { path: '/api/v1/namespaces/ns/events', body: {} }))
    expect(write.message).toContain(server.url)
    expect(served.size).toBe(2)
  })

  it('that goes silent, or trickles, ends at the deadline', async () => {
    const server = await startServer((request, response) => {
      if (request.url === NODE_PATH.path) return
      response.writeHead(200)
      const timer = setInterval(() => response.write(' '), 10)
      response.on('close', () => clearInterval(timer))
    })
    const client = clientOf(server, { requestMs: 300 })
    expect((await failureOf(client.call('getNode', NODE_PATH))).message).toContain('no answer within 300 ms')
    expect((await failureOf(client.call('listPods', LIST))).message).toContain('no answer within 300 ms')
    await vi.waitFor(async () => expect(await server.connections()).toBe(0), SOON)
  })

  it('without token or certificates names the file', async () => {
    const server = await startServer(() => expect.unreachable('nothing may be sent'))
    const nowhere = join(server.directory, 'nowhere')
    expect((await failureOf(clientOf({ ...server, tokenFile: nowhere }).call('listPods', LIST))).message).toContain(nowhere)
    expect((await failureOf(clientOf({ ...server, caFile: nowhere }).call('listPods', LIST))).message).toContain(nowhere)
  })

  it('speaks to a server on IPv6', async (context) => {
    try {
      execFileSync('grep', ['-q', ' lo$', '/proc/net/if_inet6'])
    } catch {
      context.skip('needs ::1')
    }
    const server = await startServer(() => {})
    const error = await failureOf(clientOf({ ...server, url: 'https://[::1]:9' }).call('listPods', LIST))
    expect(error.message).toMatch(/ECONNREFUSED ::1:9/)
  })
})

describe('an answer', () => {
  it.each([
    ['no JSON', '<html>', 'not JSON'],
    ['too long', ' '.repeat(1024 * 1024 + 1), 'longer than 1048576 bytes'],
  ])('that is %s is a failure', async (_what, body, said) => {
    const server = await startServer((_request, response) => response.end(body))
    const error = await failureOf(clientOf(server).call('getNode', NODE_PATH))
    expect(error).toBeInstanceOf(ApiContentError)
    expect(error.message).toContain(said)
  })

  it('that breaks off is a failure', async () => {
    const server = await startServer((_request, response) => {
      response.writeHead(200, { 'Content-Length': 100 }).write('{', () => response.destroy())
    })
    expect((await failureOf(clientOf(server).call('getNode', NODE_PATH))).message).toContain('broke')
  })

  it('may be long for a list', async () => {
    const server = await startServer((_request, response) => response.end(`{"a":"${'x'.repeat(5_000_000)}"}`))
    expect(await clientOf(server).call('listPods', LIST)).toMatchObject({ a: expect.any(String) })
  })
})

describe('close', () => {
  it('ends what is under way, and what is idle, and refuses the rest', async () => {
    const api = await startDouble()
    const client = clientOf(api)
    await client.call('listPods', LIST)
    const watching = client.watch('watchPods', LIST, { onObject: () => {}, signal: new AbortController().signal })
    await vi.waitFor(() => expect(api.watching).toBe(1), SOON)
    api.hang()
    const hanging = client.call('listPods', LIST)
    client.close()
    for (const ended of await Promise.allSettled([watching, hanging, client.call('listPods', LIST)])) {
      expect(ended).toMatchObject({ status: 'rejected', reason: { message: expect.stringContaining('closed') as unknown } })
    }
    await vi.waitFor(() => expect(api.watching).toBe(0), SOON)
  })
})

describe('a watch', () => {
  function watched(server: Parameters<typeof clientOf>[0], options: Parameters<typeof clientOf>[1] = {}) {
    const stop = new AbortController()
    const objects: unknown[] = []
    const opened = vi.fn()
    const client = clientOf(server, options)
    const ended = client.watch('watchPods', LIST, {
      signal: stop.signal,
      onOpen: opened,
      onObject: (object) => objects.push(object),
    })
    ended.catch(() => {})
    onTestFinished(() => stop.abort())
    return { client, stop, objects, ended, opened }
  }

  it('asks to end after 4 to 8 minutes, spread', async () => {
    const seconds: number[] = []
    const server = await startServer((request, response) => {
      const { searchParams } = new URL(request.url ?? '', 'https://h')
      expect(searchParams.get('watch')).toBe('true')
      seconds.push(Number(searchParams.get('timeoutSeconds')))
      response.end()
    })
    for (const random of [0, 0.5, 0.999]) await watched(server, { random: () => random }).ended
    expect(seconds).toEqual([240, 360, 479])
  })

  it('gives each line, whole, and resolves when the server ends it', async () => {
    const server = await startServer((_request, response) => {
      const bytes = Buffer.from('{"a":"é"}\n\n{"b":2}\n{"c":"😀"}\n')
      let at = 0
      const next = (): void => {
        if (at === bytes.length) response.end()
        else response.write(bytes.subarray(at, (at += 1)), () => setImmediate(next))
      }
      next()
    })
    const { objects, ended, opened } = watched(server)
    await ended
    expect(objects).toEqual([{ a: 'é' }, { b: 2 }, { c: '😀' }])
    expect(opened).toHaveBeenCalledTimes(1)
  })

  it.each([
    ['breaks within a line', (write: Write) => write('{"a":1}\n{"b', 'destroy'), 'broke'],
    ['ends within a line', (write: Write) => write('{"a":1}\n{"b', 'end'), 'within a line'],
    ['sends a line that is no JSON', (write: Write) => write('{"a":1}\nhello\n', 'end'), 'not JSON'],
    [
      'sends a line without end',
      (write: Write) => write(`{"a":1}\n${'x'.repeat(5 * 1024 * 1024)}`, 'end'),
      'longer than 4194304',
    ],
    ['falls silent', (write: Write) => write('{"a":1}\n'), 'nothing came for 1000 ms'],
  ])('rejects when the server %s, with what came before', async (_what, act, said) => {
    const server = await startServer((_request, response) => {
      act((text, then) => void response.write(text, () => (then === undefined ? undefined : response[then]())))
    })
    const { client, objects, ended } = watched(server, { watchSeconds: { min: 1, max: 1, grace: 0 } })
    const error = await failureOf(ended)
    expect(error.message).toContain(server.url)
    expect(error.message).toContain(said)
    expect(objects).toEqual([{ a: 1 }])
    client.close()
    await vi.waitFor(async () => expect(await server.connections()).toBe(0), SOON)
  })

  it('lives as long as something comes, and no longer', async () => {
    let answered: (response: ServerResponse) => void = () => {}
    const answer = new Promise<ServerResponse>((resolve) => (answered = resolve))
    const server = await startServer((_request, response) => {
      response.flushHeaders()
      answered(response)
    })
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] })
    onTestFinished(() => void vi.useRealTimers())
    let came = (): void => {}
    const client = clientOf(server, { watchSeconds: { min: 1, max: 1, grace: 0 } })
    const ended = client.watch('watchPods', LIST, { signal: new AbortController().signal, onObject: () => came() })
    const failed = failureOf(ended)
    for (let count = 0; count < 5; count += 1) {
      const next = new Promise<void>((resolve) => (came = resolve))
      ;(await answer).write('{}\n')
      await next
      vi.advanceTimersByTime(900)
    }
    vi.advanceTimersByTime(100)
    expect((await failed).message).toContain('nothing came for 1000 ms')
  })

  it('that does not begin ends at the deadline', async () => {
    const server = await startServer(() => {})
    expect((await failureOf(watched(server, { requestMs: 300 }).ended)).message).toContain('did not begin within 300 ms')
  })

  it('resolves when it is stopped, before, at and after its beginning, and frees its connection', async () => {
    const api = await startDouble()
    const before = watched(api)
    before.stop.abort()
    await before.ended
    const running = watched(api)
    await vi.waitFor(() => expect(api.watching).toBe(1), SOON)
    api.put('pods', pod('a'))
    await vi.waitFor(() => expect(running.objects).toHaveLength(1), SOON)
    running.stop.abort()
    await running.ended
    await vi.waitFor(() => expect(api.watching).toBe(0), SOON)
    api.put('pods', pod('b'))
    expect(running.objects).toHaveLength(1)
    const stopped = new AbortController()
    stopped.abort()
    const count = api.requests.length
    await clientOf(api).watch('watchPods', LIST, { onObject: () => {}, signal: stopped.signal })
    expect(api.requests).toHaveLength(count)
  })

  it('that is stopped by its own reader gives no more', async () => {
    const stop = new AbortController()
    const objects: unknown[] = []
    const server = await startServer((_request, response) => void response.write('{"a":1}\n{"a":2}\n'))
    await clientOf(server).watch('watchPods', LIST, {
      signal: stop.signal,
      onObject: (object) => {
        objects.push(object)
        stop.abort()
      },
    })
    expect(objects).toEqual([{ a: 1 }])
  })

  it('whose reader throws ends with what it threw', async () => {
    const server = await startServer((_request, response) => void response.write('{"a":1}\n'))
    const onObject = () => {
      throw new ApiError(410, 'Expired', 'too old')
    }
    const ended = clientOf(server).watch('watchPods', LIST, { signal: new AbortController().signal, onObject })
    expect(await failureOf(ended)).toMatchObject({ status: 410 })
    await vi.waitFor(async () => expect(await server.connections()).toBe(0), SOON)
  })

  it('has its token read again when it is refused', async () => {
    const api = await startDouble()
    const { opened } = watched(api, { now: () => 0 })
    await vi.waitFor(() => expect(opened).toHaveBeenCalled(), SOON)
    const client = clientOf(api, { now: () => 0 })
    await client.call('listPods', LIST)
    api.rotateToken()
    const stop = new AbortController()
    onTestFinished(() => stop.abort())
    const again = vi.fn()
    void client.watch('watchPods', LIST, { signal: stop.signal, onOpen: again, onObject: () => {} })
    await vi.waitFor(() => expect(again).toHaveBeenCalled(), SOON)
  })
})

type Write = (text: string, then?: 'destroy' | 'end') => void
