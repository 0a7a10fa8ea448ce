/** What `kubectl get --raw` needs, which shows no body of a failure and prefers JSON: the status within the body, and the journal as text. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { startHttp, type HttpServer } from '../../../src/serve/index.ts'
import { capturedLogger, recorder, tick } from '../record/fixtures.ts'

let server: HttpServer

beforeAll(async () => {
  const record = recorder()
  record.tick(tick())
  server = await startHttp({
    host: '127.0.0.1',
    port: 0,
    recorder: record,
    now: () => ({ nowMs: 11_000, wallMs: 0 }),
    logger: capturedLogger().logger,
    // Every tick is too old.
    liveMaxAgeMs: -1,
  })
})

afterAll(() => server.close())

async function get(path: string, accept = 'application/json, */*'): Promise<{ readonly status: number; readonly body: string }> {
  const answer = await fetch(`http://127.0.0.1:${server.port}${path}`, { headers: { accept } })
  return { status: answer.status, body: await answer.text() }
}

describe('a page asked for with inline', () => {
  it.each([
    ['/explain?subject=pod/none/none&format=text', 404],
    ['/explain?subject=', 400],
    ['/nowhere?a', 404],
    ['/statusz?format=html', 400],
    ['/livez?a', 503],
    ['/statusz?format=text', 200],
  ])('%s is answered with 200, and its own status (%i) and body', async (path, status) => {
    const plain = await get(path)
    expect(plain.status).toBe(status)
    const inline = await get(`${path}&inline`)
    expect(inline.status).toBe(200)
    const [first, ...rest] = inline.body.split('\n')
    expect(first).toBe(String(status))
    expect(rest.join('\n')).toBe(plain.body)
  })
})

describe('/journal', () => {
  it('is JSON for kubectl and for whoever takes anything, and text where that is asked for', async () => {
    expect(JSON.parse((await get('/journal')).body)).toHaveProperty('entries')
    expect(JSON.parse((await get('/journal', '*/*')).body)).toHaveProperty('entries')
    const { body } = await get('/journal?format=text&pod=default/flink&since=0')
    expect(body).toMatch(/^\d{4}-\d\d-\d\dT[\d:.]+Z {2}#\d+ {2}/)
    expect(body).toMatch(/\n\nRead on with: kube-agent journal --since \d+ --pod default\/flink\n$/)
    expect((await get('/journal', 'text/plain')).body).toMatch(/\nRead on with: kube-agent journal --since \d+\n$/)
  })

  it('puts nothing into a text that could speak to a terminal', async () => {
    const { body } = await get('/journal?format=text&pod=%1b%5b2Ja/b%0aforged')
    // eslint-disable-next-line no-control-regex
    expect(body).not.toMatch(/\u001b|^forged/m)
    expect(body).toContain('Nothing was decided about  [2Ja/b forged.')
  })
})
