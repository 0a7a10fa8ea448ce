/** The server over real connections on 127.0.0.1: its pages, its refusals, its bounds and its end. */
import { connect } from 'node:net'
import { networkInterfaces } from 'node:os'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { AgentError } from '../../../src/model/index.ts'
import type { Recorder } from '../../../src/record/index.ts'
import { type FlagInForce, type HttpOptions, type HttpServer, startHttp } from '../../../src/serve/index.ts'
import { capturedLogger, type LogLine, recorder, REGISTERED, STARTED_MS, tick, writingTick } from '../record/fixtures.ts'

let server: HttpServer
let record: Recorder
let lines: LogLine[]
let nowMs: number

const FLAGS: readonly FlagInForce[] = [
  { name: 'config', values: ['/etc/a.yaml', '/etc/b.yaml'], from: 'KUBE_AGENT_CONFIG' },
  { name: 'set', values: ['node.name=a\nlivez=ok'], from: 'command line' },
  { name: 'path.proc', values: [] },
]

async function start(over: Partial<HttpOptions> = {}): Promise<HttpServer> {
  const captured = capturedLogger()
  lines = captured.lines
  return startHttp({
    host: '127.0.0.1',
    port: 0,
    recorder: record,
    configText: () => 'mode: enforce # from agent.yaml\n',
    configJson: () => '{"config":{"mode":"enforce"},"origins":{"mode":"agent.yaml:1"}}\n',
    flags: FLAGS,
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
    // Relative, for a proxy that serves the page under a path of its own.
    for (const path of [
      'metrics',
      'livez',
      'healthz',
      'readyz',
      'statusz',
      'configz',
      'flagz',
      'journal',
      'history',
      'explain',
      'loglevel',
    ]) {
      expect(body).toContain(`<a href="${path}">`)
      expect((await get(`/${path}${path === 'explain' ? '?subject=cpu/3' : ''}`)).status).toBe(200)
    }
    expect(body).toContain('kube-agent on node-a')
    expect(body).not.toContain('<script>')
    expect(body).not.toContain('{{')
    expect(body).toContain('&lt;script&gt;')
    const text = await get('/?format=text')
    expect(text.headers.get('content-type')).toBe('text/plain; charset=utf-8')
    expect(text.body).toMatch(/^OK mode enforce[\s\S]*\/metrics +metrics for Prometheus[\s\S]*kube-agent {4}0\.1\.0/)
  })

  it('serves the status page from files of its own, under a policy that lets nothing else in', async () => {
    const { headers, body } = await get('/', { headers: { accept: 'text/html,*/*;q=0.8' } })
    const policy = headers.get('content-security-policy') ?? ''
    for (const rule of [
      "default-src 'none'",
      "script-src 'self'",
      "style-src 'self'",
      "connect-src 'self'",
      "frame-ancestors 'none'",
    ])
      expect(policy).toContain(rule)
    expect(policy).not.toMatch(/unsafe|\*|data:|https?:/)
    const files = [...body.matchAll(/(?:src|href)="(ui\/[^"]+)"/g)].map(([, file = '']) => file)
    expect(files.sort()).toEqual(['ui/status.css', 'ui/status.js', 'ui/uplot.css', 'ui/uplot.js'])
    expect(body).not.toMatch(/<style|style="|\son\w+="|https?:/)
    const seen = new Set<string>()
    for (const file of files) {
      seen.add(file)
      const got = await get(`/${file}`)
      expect(got.status).toBe(200)
      expect(got.headers.get('content-type')).toBe(`text/${file.endsWith('.css') ? 'css' : 'javascript'}; charset=utf-8`)
      // What a script imports is served as well.
      for (const [, name = ''] of got.body.matchAll(/from '\.\/([a-z]+\.js)'/g))
        if (!seen.has(`ui/${name}`)) files.push(`ui/${name}`)
    }
    expect(seen.size).toBeGreaterThan(8)
    expect((await get('/ui/')).status).toBe(404)
    expect((await get('/ui/__proto__')).status).toBe(404)
    expect((await get('/ui/status.js', { method: 'PUT' })).status).toBe(405)
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

  it('answers by the older name of /livez what /livez answers, alive or not', async () => {
    const answers = async () => [await get('/livez'), await get('/healthz')].map(({ status, body }) => ({ status, body }))
    const [live, older] = await answers()
    expect(older).toEqual(live)
    nowMs = 31_000
    const [dead, olderDead] = await answers()
    expect(dead?.status).toBe(503)
    expect(olderDead).toEqual(dead)
    expect((await get('/?format=text')).body).toMatch(/\/healthz +the older name of \/livez, with the same answer/)
  })

  it('takes the age for liveness from its options', async () => {
    await server.close()
    server = await start({ liveMaxAgeMs: 60_000 })
    nowMs = 31_000
    expect((await get('/livez')).status).toBe(200)
    // The status page calls numbers old from the same age on.
    expect((await get('/')).body).toContain('<body data-stale-ms="60000">')
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
    const { pages } = JSON.parse((await get('/?format=json')).body) as { readonly pages: readonly { readonly path: string }[] }
    expect(pages.length).toBeGreaterThan(10)
    expect(text.body.replaceAll(/\n {2,}/g, ' ')).toContain(`\npaths         ${pages.map(({ path }) => path).join(' ')}\n`)
    expect(text.body).toMatch(/\nFor people and not for parsing: the form may change\. \?format=json is for programs\.\n$/)
    const chosen = await get('/statusz?format=text', { headers: { accept: 'application/json' } })
    expect(chosen.headers.get('content-type')).toBe('text/plain; charset=utf-8')
  })

  it('shows the configuration it was given', async () => {
    expect(await get('/configz')).toMatchObject({ status: 200, body: 'mode: enforce # from agent.yaml\n' })
    const json = await get('/configz?format=json')
    expect(json.headers.get('content-type')).toBe('application/json; charset=utf-8')
    expect(JSON.parse(json.body)).toMatchObject({ origins: { mode: 'agent.yaml:1' } })
    await server.close()
    const { configText: _left, ...options } = { configText: undefined, host: '127.0.0.1', port: 0, recorder: record }
    server = await startHttp({ ...options, now: () => ({ nowMs, wallMs: 0 }), logger: capturedLogger().logger })
    expect((await get('/configz')).status).toBe(404)
  })

  it('shows the command line as text that is not for parsing, one flag a line, and as JSON that is', async () => {
    const text = await get('/flagz')
    expect(text.headers.get('content-type')).toBe('text/plain; charset=utf-8')
    expect(text.body).toBe(
      'Flags of this agent, for people and not for parsing: the form may change. ?format=json is for programs.\n' +
        'What each setting has become by them and by files is on /configz.\n\n' +
        '--config=/etc/a.yaml        KUBE_AGENT_CONFIG\n' +
        '--config=/etc/b.yaml        KUBE_AGENT_CONFIG\n' +
        '--set=node.name=a livez=ok  command line\n' +
        '--path.proc                 not given\n',
    )
    const json = await get('/flagz', { headers: { accept: 'application/json' } })
    expect(JSON.parse(json.body)).toEqual({
      flags: { config: ['/etc/a.yaml', '/etc/b.yaml'], set: ['node.name=a\nlivez=ok'], 'path.proc': [] },
    })
    await server.close()
    const { flags: _none, ...options } = { flags: undefined, host: '127.0.0.1', port: 0, recorder: record }
    server = await startHttp({ ...options, now: () => ({ nowMs, wallMs: 0 }), logger: capturedLogger().logger })
    expect(await get('/flagz')).toMatchObject({ status: 404, body: 'the command line is not shown here\n' })
  })

  it('pages through the journal', async () => {
    const first = JSON.parse((await get('/journal?since=0&limit=3')).body) as { entries: { seq: number }[]; next: number }
    expect(first.entries.map(({ seq }) => seq)).toEqual([1, 2, 3])
    const flink = JSON.parse((await get(`/journal?since=${first.next}&pod=default/flink`)).body) as {
      entries: { kind: string }[]
    }
    expect(flink.entries.map(({ kind }) => kind)).toEqual(['write'])
  })

  it('pages without the moves of the allowance', async () => {
    const kinds = async (query: string) =>
      (JSON.parse((await get(`/journal?${query}`)).body) as { entries: { kind: string }[] }).entries.map(({ kind }) => kind)
    expect(await kinds('')).toContain('allowance')
    expect(await kinds('news')).not.toContain('allowance')
    expect(await kinds('news')).toContain('pod')
  })

  it('serves the last minutes, from where the client left off', async () => {
    const first = JSON.parse((await get('/history')).body) as { numbers: number[]; next: number; series: { nodeMilli: number[] } }
    expect(first).toMatchObject({ numbers: [11], next: 10, series: { nodeMilli: [5900] } })
    record.tick(tick({ seq: 2, nowMs: 12_000 }))
    expect(JSON.parse((await get(`/history?since=${first.next + 1}`)).body)).toMatchObject({ numbers: [12] })
    expect((await get('/history?since=x')).status).toBe(400)
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
    const { status, body } = await get('/health')
    expect(status).toBe(404)
    expect(body).toMatch(/^no such page; there are:\n {2}\/ /)
    expect(body).toContain('/readyz')
  })
})

describe('the level of the log', () => {
  const put = (body: string, headers: Record<string, string> = {}) => get('/loglevel', { method: 'PUT', body, headers })

  it('is shown, and changed from the node itself', async () => {
    expect(await get('/loglevel')).toMatchObject({ status: 200, body: 'info\n' })
    expect(await put('debug\n')).toMatchObject({ status: 200, body: 'debug\n' })
    expect(JSON.parse((await get('/loglevel?format=json')).body)).toEqual({
      level: 'debug',
      levels: ['trace', 'debug', 'info', 'warn', 'error'],
    })
    expect(await put('error')).toMatchObject({ status: 200 })
    expect(await put('error')).toMatchObject({ status: 200 })
    expect(lines).toMatchObject([
      { msg: 'log level changed', from: 'info', to: 'debug', by: 'PUT /loglevel' },
      { msg: 'log level changed', from: 'debug', to: 'error' },
    ])
  })

  it.each(['loud', '', 'silent', 'infoinfo', '__proto__'])('is not changed to %j', async (body) => {
    const { status, body: said } = await put(body)
    expect(status).toBe(400)
    expect(said).toContain('trace, debug, info, warn, error')
    expect((await get('/loglevel')).body).toBe('info\n')
  })

  it('is not changed for a page in a browser of the node', async () => {
    expect((await put('debug', { origin: 'http://evil.example' })).status).toBe(403)
    expect((await put('debug', { origin: `http://127.0.0.1:${server.port}` })).status).toBe(403)
    expect((await get('/loglevel')).body).toBe('info\n')
  })

  it('is not changed from elsewhere', async (context) => {
    const elsewhere = Object.values(networkInterfaces())
      .flat()
      .find((address) => address?.internal === false && address.family === 'IPv4')
    if (elsewhere === undefined) context.skip('this machine has no address but its loopback')
    await server.close()
    server = await start({ host: '0.0.0.0' })
    const url = `http://${elsewhere?.address}:${server.port}/loglevel`
    const answer = await fetch(url, { method: 'PUT', body: 'debug' })
    expect(answer.status).toBe(403)
    expect(await answer.text()).toContain('from this node only')
    expect(await (await fetch(url)).text()).toBe('info\n')
  })

  it('takes no body that is longer than a level, or of unknown length', async () => {
    expect((await put('debug'.padEnd(65))).status).toBe(413)
    expect((await put('debug'.padEnd(64))).status).toBe(200)
    expect(await raw('PUT /loglevel HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\ndebug\r\n0\r\n\r\n')).toMatch(
      /^HTTP\/1\.1 413 /,
    )
  })

  it('says what may be done with it', async () => {
    const { status, headers } = await get('/loglevel', { method: 'DELETE' })
    expect(status).toBe(405)
    expect(headers.get('allow')).toBe('GET, HEAD, PUT')
  })
})

describe('the form of a page', () => {
  it('is what Accept weighs most, unless ?format says', async () => {
    const type = async (path: string, accept: string) => (await get(path, { headers: { accept } })).headers.get('content-type')
    expect(await type('/statusz', 'application/json;q=0.2, text/plain')).toContain('text/plain')
    expect(await type('/statusz', 'application/json, text/plain;q=0.9')).toContain('application/json')
    expect(await type('/statusz', 'text/html,application/xml;q=0.9,*/*;q=0.8')).toContain('text/plain')
    expect(await type('/', 'text/plain')).toContain('text/plain')
    expect(await type('/', 'application/json')).toContain('application/json')
    expect(await type('/readyz', 'application/json')).toContain('application/json')
    // Of one form, sent to whoever asks: a scraper may accept what it likes.
    expect(await type('/metrics', 'application/json')).toContain('text/plain')
  })

  it('is refused with what there is when none is accepted, and when ?format names no form', async () => {
    const none = await get('/statusz', { headers: { accept: 'image/png' } })
    expect(none).toMatchObject({ status: 406, body: expect.stringContaining('/statusz comes as text or json') as unknown })
    const asked = await get('/statusz?format=xml')
    expect(asked).toMatchObject({ status: 400, body: 'no format "xml" here\n/statusz comes as ?format=text or ?format=json\n' })
    const json = await get('/nowhere', { headers: { accept: 'application/json' } })
    expect(JSON.parse(json.body)).toMatchObject({ message: 'no such page; there are:' })
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
