/** What is taken out of texts, what is left in them, and how long that takes. */
import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { redact, redactCommand } from '../../../src/model/index.ts'

const JWT = 'eyJhbGciOiJSUzI1NiIsImtpZCI6Ij.eyJpc3MiOiJrdWJlcm5ldGVz.c2lnbmF0dXJl'
const KEY = '-----BEGIN RSA PRIVATE KEY-----\nMIIEpAIBAAKCAQEA\n-----END RSA PRIVATE KEY-----'

describe('redaction', () => {
  it.each([
    ['Authorization: Bearer abcdefgh12345', 'abcdefgh12345'],
    ['authorization: Basic dXNlcjpwYXNz', 'dXNlcjpwYXNz'],
    [`the server said ${JWT} is expired`, JWT],
    ['token=hunter2', 'hunter2'],
    ['"token": "hunter2"', 'hunter2'],
    ["password: 'hunter 2'", 'hunter 2'],
    ['"clientSecret":"hunter2\\"x"', 'hunter2'],
    ['client-key-data: aHVudGVyMg==', 'aHVudGVyMg=='],
    ['AWS_ACCESS_KEY=hunter2', 'hunter2'],
    ['https://user:hunter2@10.0.0.1:6443/api', 'hunter2'],
    ['got "https://user:hunter2hunter2…"', 'hunter2'],
    ['AKIAIOSFODNN7EXAMPLE', 'AKIAIOSFODNN7EXAMPLE'],
    ['https://user:hun/ter2@10.0.0.1:6443/api', 'ter2'],
    ['https://user:hun@ter2@proxy:3128', 'ter2'],
    ['https://user:1@hun:t/er2@proxy:3128', 'er2'],
    ['https://:hunter2@10.0.0.1:6443', 'hunter2'],
    ['https://hunter2@git.example/x', 'hunter2'],
    ['NO=https://a.example,https://user:hunter2@b', 'hunter2'],
    ['https://user:a@hunter2…', 'hunter2'],
    ['https://user:a/hunter2…', 'hunter2'],
    ['pwd=hunter2', 'hunter2'],
    ['user=admin;Pwd="hunter2"', 'hunter2'],
    ['Proxy-Authorization: Negotiate YIIhunter2', 'hunter2'],
    ['authorization=AWS4-HMAC-SHA256 Credential=hunter2/x', 'hunter2'],
    ['Authorization: hunter2', 'hunter2'],
    ["password: 'hunter\"2'", 'hunter'],
    ["password: 'hunter2", 'hunter2'],
    ['password "x": no; token: "hunter2', 'hunter2'],
    ['password: "a https://u:p@h hunter2"', 'hunter2'],
    [JSON.stringify({ log: '{"token":"hunter2"}' }), 'hunter2'],
    [JSON.stringify({ log: 'token="hun\\"ter2"' }), 'ter2'],
    [KEY, 'MIIEpAIBAAKCAQEA'],
    [JSON.stringify({ key: KEY }), 'MIIEpAIBAAKCAQEA'],
  ])('takes the secret out of %j', (text, secret) => {
    const redacted = redact(text)
    expect(redacted.text).not.toContain(secret)
    expect(redacted.text).toContain('[redacted]')
    expect(redacted.count).toBeGreaterThan(0)
  })

  it.each([
    'cluster.tokenFile  /var/run/secrets/kubernetes.io/serviceaccount/token  default',
    '"tokenFile": "/var/run/secrets/token"',
    'https://10.0.0.1:6443 takes the token and knows the node a',
    'kube_agent_cluster_calls_total{operation="getNode",outcome="ok"} 4',
    'got "https://10.0.0.1:6443…"',
    'got "https://10.0.0.1:6443/api/v1/no…"',
    'got "https://[::1]:6443…"',
    'https://[fd00::1]:6443/a@b',
    'pod@node of team@example.org: see http://host/path?x=1 and unix:///run/x.sock',
    'http://127.0.0.1:9465/journal?since=3#end',
    'the pod default/web-0@node-1, 3:4@5',
    'authorization:',
    'token: ""',
    '"token": null',
    'quota 30000 → 20000: watermark 65 % of 8.0 CPU is 5200m',
    '--tls-private-key-file=/etc/kubelet.key',
  ])('leaves %j as it is', (text) => {
    expect(redact(text)).toEqual({ text, count: 0 })
  })

  it('leaves JSON what it was but for the secrets, wherever they stand', () => {
    const secret = fc.stringMatching(/^[a-zA-Z0-9+/"\\ ]{1,20}$/).map((word) => `hunter2${word}`)
    const value = fc.oneof(fc.string(), fc.integer(), fc.constant(null), secret)
    const object = fc.dictionary(fc.constantFrom('name', 'token', 'apiKey', 'note', 'password', 'a"b'), value)
    fc.assert(
      fc.property(fc.array(object), (objects) => {
        const { text } = redact(JSON.stringify(objects, undefined, 2))
        const back = JSON.parse(text) as readonly Readonly<Record<string, unknown>>[]
        expect(back.map((one) => Object.keys(one))).toEqual(objects.map((one) => Object.keys(one)))
        for (const one of back)
          for (const name of ['token', 'apiKey', 'password']) expect(JSON.stringify(one[name] ?? null)).not.toContain('hunter2')
      }),
    )
  })

  it('leaves JSON that quotes any of this JSON, with its keys', () => {
    const fragment = fc.constantFrom(
      'token',
      'pwd',
      'authorization',
      '=',
      ':',
      ' ',
      '"',
      "'",
      '\\',
      ',',
      '}',
      ']',
      '…',
      '@',
      '/',
      '://',
      'https://u',
      'x',
      '\n',
    )
    const text = fc.array(fragment, { maxLength: 12 }).map((parts) => parts.join(''))
    fc.assert(
      fc.property(fc.array(fc.tuple(text, text), { maxLength: 3 }), fc.boolean(), (entries, pretty) => {
        const value = { entries, nested: JSON.stringify(entries), last: 1 }
        const back = JSON.parse(redact(JSON.stringify(value, undefined, pretty ? 2 : 0)).text) as typeof value
        expect(Object.keys(back)).toEqual(Object.keys(value))
        expect(back.entries.map((entry) => entry.length)).toEqual(entries.map(() => 2))
        expect(back.last).toBe(1)
      }),
      { numRuns: 2000 },
    )
  })

  it('leaves nothing of a password in a URL, whatever it holds but blanks and quotes', () => {
    const part = fc.stringMatching(/^[^\s"'…]{0,30}$/)
    const user = fc.stringMatching(/^(?:[^\s"'/@:…[][^\s"'/@:…]{0,9})?$/)
    fc.assert(
      fc.property(user, part, part, fc.constantFrom('', ' ', '"', "'"), (name, before, after, end) => {
        const url = `https://${name}:${before}HUNTER2${after}@proxy:3128`
        expect(redact(`no way to ${url}${end}`).text).not.toContain('HUNTER2')
      }),
    )
  })

  it('takes out no more the second time', () => {
    const piece = fc.constantFrom(
      'https://',
      'u',
      ':',
      '@',
      '/',
      ' ',
      '"',
      '…',
      'token=',
      'Authorization: ',
      'Bearer ',
      'x',
      '12',
      '[',
      '\\',
    )
    fc.assert(
      fc.property(fc.array(piece, { maxLength: 15 }), (pieces) => {
        const once = redact(pieces.join('')).text
        expect(redact(once).text).toBe(once)
      }),
    )
  })

  it('takes time in proportion to the text', () => {
    const texts = [
      'a.b-'.repeat(250_000),
      'token'.repeat(200_000),
      '"'.repeat(500_000),
      `token="${'\\a'.repeat(250_000)}`,
      'eyJaaaaaaaa'.repeat(90_000),
      'a://b:'.repeat(160_000),
      'a://b:@'.repeat(140_000),
      `${'a://b:'.repeat(160_000)}…`,
      `…${'a://b:c'.repeat(140_000)}`,
      `a://${'b'.repeat(1_000_000)}`,
      `a://b:${'@'.repeat(1_000_000)}`,
      'pwd='.repeat(250_000),
      'authorization: a '.repeat(60_000),
      `authorization${' '.repeat(1_000_000)}`,
      `token=\\"${'\\\\\\"'.repeat(250_000)}`,
      `token='${'"'.repeat(500_000)}`,
      `token="${' '.repeat(1_000_000)}`,
      'token="'.repeat(140_000),
      "token='".repeat(140_000),
      'token=\\"'.repeat(120_000),
    ]
    for (const text of texts) {
      const began = performance.now()
      redact(text)
      // Some 50 ms; with the square of the length it would take minutes.
      expect([text.slice(0, 20), performance.now() - began < 3000]).toEqual([text.slice(0, 20), true])
    }
  })

  it('knows flags of a command line, in one word or two', () => {
    const words = [
      'kubelet',
      '--config=/etc/kubelet.yaml',
      '--token=hunter2',
      '--bearer-token',
      'hunter2',
      '--token-file=/t',
      '--v=2',
    ]
    expect(redactCommand(words)).toEqual([
      'kubelet',
      '--config=/etc/kubelet.yaml',
      '--token=[redacted]',
      '--bearer-token',
      '[redacted]',
      '--token-file=/t',
      '--v=2',
    ])
  })
})
