/** The server over real connections on 127.0.0.1: its pages, its refusals, its bounds and its end. */
import { connect } from 'node:net'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { AgentError } from '../../../src/model/index.ts'
import type { Recorder } from '../../../src/record/index.ts'
import { type HttpOptions, type HttpServer, startHttp } from '../../../src/serve/index.ts'
import { capturedLogger, type LogLine, recorder, REGISTERED, STARTED_MS, tick, writingTick } from '../record/fixtures.ts'

let server: HttpServer
let record: Recorder
let lines: LogLine[]
let nowMs: number

async function start(over: Partial<HttpOptions> = {}): Promise<HttpServer> {
  const captured = capturedLogger()
  lines = captured.lines
  return startHttp({
    host: '127.0.0.1',
    port: 0,
    recorder: record,
    configText: () => 'mode: enforce # from agent.yaml\n',
    now: () => ({ nowMs, wallMs: 0 }),
    logger: captured.logger,
    ...over,
  })
}

beforeEach(async () => {
  record = recorder()
  record.tick(writingTick())
  nowMs = 11_200
  server = await start()
})

afterEach(() => server.close())

interface Got {
  readonly status: number
  readonly headers: Headers
  readonly body: string
}

async function get(path: string, init: RequestInit = {}): Promise<Got> {
  const response = await fetch(`http://127.0.0.1:${server.port}${path}`, init)
  return { status: response.status, headers: response.headers, body: await response.text() }
}

/** What the server answers to bytes that no decent client sends. */
function raw(bytes: string): Promise<string> {
  return new Promise((resolve, reject) => {
    let answer = ''
    const socket = connect(server.port, '127.0.0.1', () => socket.write(bytes))
    socket.on('data', (chunk) => (answer += chunk.toString()))
    socket.on('close', () => resolve(answer))
    socket.on('error', reject)
  })
}

describe('pages', () => {
  it('links everything from the landing page, and escapes what it shows', async () => {
    record.tick(tick({ seq: 2, problems: ['<script>alert("1")</script>'] }))
    const { status, headers, body } = await get('/')
    expect(status).toBe(200)
    expect(headers.get('content-type')).toBe('text/html; charset=utf-8')
    for (const path of ['/metrics', '/livez', '/readyz', '/statusz', '/configz', '/journal', '/explain']) {
      expect(body).toContain(`<a href="${path}">`)
    }
    expect(body).toContain('kube-agent on node-a')
    expect(body).not.toContain('<script>')
    expect(body).toContain('&lt;script&gt;')
    const text = await get('/?format=text')
    expect(text.headers.get('content-type')).toBe('text/plain; charset=utf-8')
    expect(text.body).toMatch(/^OK mode enforce[\s\S]*\/metrics {2}metrics for Prometheus[\s\S]*kube-agent {4}0\.1\.0/)
  })

  it('serves metrics with the type that Prometheus wants', async () => {
    const { headers, body } = await get('/metrics')
    expect(headers.get('content-type')).toBe('text/plain; version=0.0.4; charset=utf-8')
    expect(body).toContain('kube_agent_build_info{version="0.1.0",')
  })

  it('is alive while the loop turns', async () => {
    expect(await get('/livez')).toMatchObject({ status: 200, body: 'ok\n' })
    nowMs = 31_000
    expect(await get('/livez')).toMatchObject({
      status: 503,
      body: 'not alive: the last tick was 20.0 s ago, more than 10.0 s\n',
    })
  })

  it('takes the age for liveness from its options', async () => {
    await server.close()
    server = await start({ liveMaxAgeMs: 60_000 })
    nowMs = 31_000
    expect((await get('/livez')).status).toBe(200)
  })

  it('is ready when it is registered, and lists the checks', async () => {
    expect(await get('/readyz')).toMatchObject({ status: 200, body: 'ok\n' })
    record.resources([{ ...REGISTERED, registered: false, lastError: 'no kubelet.sock' }])
    expect(await get('/readyz')).toMatchObject({
      status: 503,
      body: 'not ready: kubelet kube-agent.io/be-cpu: no kubelet.sock\n',
    })
    expect(await get('/readyz?verbose')).toMatchObject({
      status: 503,
      body:
        '[+] tick: the node has been sensed\n[+] pods: 3 pods from /pods\n' +
        '[-] kubelet kube-agent.io/be-cpu: no kubelet.sock\nnot ready\n',
    })
  })

  it('shows the status as text and as JSON', async () => {
    const text = await get('/statusz')
    expect(text.headers.get('content-type')).toBe('text/plain; charset=utf-8')
    expect(text.body).toContain('mode enforce')
    for (const json of [await get('/statusz', { headers: { accept: 'application/json' } }), await get('/statusz?format=json')]) {
      expect(json.headers.get('content-type')).toBe('application/json; charset=utf-8')
      expect(JSON.parse(json.body)).toMatchObject({
        mode: 'enforce',
        uptimeMs: nowMs - STARTED_MS,
        lastTick: { seq: 1, ageMs: 200 },
      })
    }
    expect((await get('/statusz?brief')).body).toMatch(/^OK mode enforce.*\n$/)
    const chosen = await get('/statusz?format=text', { headers: { accept: 'application/json' } })
    expect(chosen.headers.get('content-type')).toBe('text/plain; charset=utf-8')
  })

  it('shows the configuration it was given', async () => {
    expect(await get('/configz')).toMatchObject({ status: 200, body: 'mode: enforce # from agent.yaml\n' })
    await server.close()
    const { configText: _left, ...options } = { configText: undefined, host: '127.0.0.1', port: 0, recorder: record }
    server = await startHttp({ ...options, now: () => ({ nowMs, wallMs: 0 }), logger: capturedLogger().logger })
    expect((await get('/configz')).status).toBe(404)
  })

  it('pages through the journal', async () => {
    const first = JSON.parse((await get('/journal?since=0&limit=3')).body) as { entries: { seq: number }[]; next: number }
    expect(first.entries.map(({ seq }) => seq)).toEqual([1, 2, 3])
    const flink = JSON.parse((await get(`/journal?since=${first.next}&pod=default/flink`)).body) as {
      entries: { kind: string }[]
    }
    expect(flink.entries.map(({ kind }) => kind)).toEqual(['write'])
  })

  it.each(['since=x', 'since=-1', 'limit=0', 'limit=1e3', 'limit='])('refuses /journal?%s', async (query) => {
    expect((await get(`/journal?${query}`)).status).toBe(400)
  })

  it('explains, as text and as JSON', async () => {
    expect((await get('/explain?subject=pod/default/flink')).body).toContain('class         BE: label kube-agent.io/qos-class=BE')
    const json = await get('/explain?subject=cpu%203&format=json')
    expect(JSON.parse(json.body)).toMatchObject({ is: 'cpu', cpu: 3, siblings: '3,7' })
  })

  it('says what it can explain, and what is near', async () => {
    expect((await get('/explain')).status).toBe(400)
    expect(await get('/explain?subject=default/flnk')).toMatchObject({
      status: 404,
      body: expect.stringMatching(/^no pod "default\/flnk"; near matches: default\/flink\nName a pod/) as unknown,
    })
    const json = await get('/explain?subject=cpu/99', { headers: { accept: 'application/json' } })
    expect(json.status).toBe(404)
    expect(JSON.parse(json.body)).toMatchObject({ code: 'E_NO_SUBJECT' })
  })

  it('answers an unknown path with those there are', async () => {
    const { status, body } = await get('/healthz')
    expect(status).toBe(404)
    expect(body).toMatch(/^no such page; there are:\n {2}\/ /)
    expect(body).toContain('/readyz')
  })
})

describe('refusals', () => {
  it.each(['POST', 'PUT', 'DELETE', 'PATCH', 'OPTIONS'])('%s is not allowed', async (method) => {
    const { status, headers } = await get('/statusz', { method })
    expect(status).toBe(405)
    expect(headers.get('allow')).toBe('GET, HEAD')
  })

  it('HEAD has the headers and no body', async () => {
    const head = await get('/statusz', { method: 'HEAD' })
    expect(head.status).toBe(200)
    expect(head.body).toBe('')
    expect(head.headers.get('content-length')).toBe(String(Buffer.byteLength((await get('/statusz')).body)))
  })

  it('sends headers that keep browsers from guessing, caching and framing', async () => {
    for (const path of ['/', '/metrics', '/nowhere']) {
      const { headers } = await get(path)
      expect(headers.get('x-content-type-options')).toBe('nosniff')
      expect(headers.get('cache-control')).toBe('no-store')
      expect(headers.get('x-frame-options')).toBe('DENY')
      expect(headers.get('content-security-policy')).toContain("default-src 'none'")
    }
  })

  it('a URL above 2 KiB', async () => {
    expect((await get(`/explain?subject=${'x'.repeat(2048)}`)).status).toBe(414)
  })

  it('headers above 8 KiB', async () => {
    expect((await get('/livez', { headers: { 'x-long': 'x'.repeat(9000) } })).status).toBe(431)
  })

  it.each(['Content-Length: 1000000\r\n', 'Transfer-Encoding: chunked\r\n'])('a body, without reading it: %j', async (header) => {
    const answer = await raw(`GET /livez HTTP/1.1\r\nHost: x\r\n${header}\r\n`)
    expect(answer).toMatch(/^HTTP\/1\.1 413 /)
    expect(answer).toContain('Connection: close')
  })

  it('a path that is no URL', async () => {
    expect(await raw('GET http://[ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n')).toMatch(/^HTTP\/1\.1 400 /)
  })

  it('more than 64 connections at once', async () => {
    const sockets = Array.from({ length: 80 }, () => connect(server.port, '127.0.0.1'))
    const closed = sockets.map(
      (socket) =>
        new Promise<boolean>((resolve) => {
          socket.on('error', () => resolve(true))
          socket.on('close', () => resolve(true))
          setTimeout(() => resolve(false), 500)
        }),
    )
    const dropped = (await Promise.all(closed)).filter(Boolean).length
    for (const socket of sockets) socket.destroy()
    expect(dropped).toBe(16)
  })

  it('tells a fault of its own shortly, and the log the rest', async () => {
    await server.close()
    server = await start({
      configText: () => {
        throw new Error('secret detail')
      },
    })
    const { status, body } = await get('/configz')
    expect(status).toBe(500)
    expect(body).toBe('internal error, see the log of the agent\n')
    expect(lines).toMatchObject([{ level: 'error', msg: 'http request failed', path: '/configz' }])
    expect((await get('/livez')).status).toBe(200)
  })
})

describe('listening', () => {
  it('names the address that is taken', async () => {
    const error = await start({ port: server.port }).then(
      () => undefined,
      (thrown: unknown) => thrown,
    )
    expect(error).toBeInstanceOf(AgentError)
    expect(error).toMatchObject({ code: 'E_HTTP_LISTEN', message: `can't listen on 127.0.0.1 port ${server.port}: EADDRINUSE` })
  })

  it('names an address that is not of this host', async () => {
    await expect(start({ host: '192.0.2.1' })).rejects.toMatchObject({ code: 'E_HTTP_LISTEN' })
  })

  it('closes at once, with connections open', async () => {
    const idle = connect(server.port, '127.0.0.1')
    await new Promise((resolve) => idle.once('connect', resolve))
    const ended = new Promise((resolve) => idle.once('close', resolve))
    idle.on('error', () => {})
    const from = performance.now()
    await server.close()
    await ended
    expect(performance.now() - from).toBeLessThan(1000)
    await expect(get('/livez')).rejects.toThrow()
  })
})
