/**
 * Any objects, bodies and watch lines from an API server: pods that make sense and problems of one line each. What can't be used is told, and
 * never ends the source.
 */
import type { IncomingMessage } from 'node:http'
import * as fc from 'fast-check'
import { describe, expect } from 'vitest'
import { type Asked, failureOf, failureWithin, parseBody, statusFailure } from '../../src/kube/api-answers.ts'
import { ApiContentError, ApiError, type ApiWatcher } from '../../src/kube/api.ts'
import { ApiPods } from '../../src/kube/api-pods.ts'
import { PodKeeper } from '../../src/kube/pod-list.ts'
import { LineSplitter } from '../../src/kube/watch-lines.ts'
import { podFromObject } from '../../src/model/index.ts'
import { checkPod, checkProblem, MIRROR_POD, POD } from './pods.ts'
import { announce, byteStrings, expectAmount, fuzz, fuzzAsync, spoilt, spoiltObjects, texts, type Verdict } from './support.ts'

announce('cluster')

describe('Pod objects', () => {
  fuzz('are pods, or refused with the field', spoiltObjects(POD, MIRROR_POD), (object) => {
    try {
      const pod = podFromObject(object, 'origin', 'Pod')
      if (pod === undefined) return 'refused'
      checkPod(pod)
      return 'taken'
    } catch (thrown) {
      // A TypeError or a RangeError is a slip of ours, and names no field.
      if (!(thrown instanceof Error) || thrown.constructor !== Error) throw thrown
      if (!/^(document|expected|metadata|spec|status|resources)/.test(thrown.message) || thrown.message.length > 500) throw thrown
      return 'refused'
    }
  })

  const changes = fc.array(fc.tuple(fc.constantFrom('put', 'remove', 'replace'), spoiltObjects(POD, MIRROR_POD)), {
    maxLength: 6,
  })
  fuzz('in any order are kept once each, with what is wrong in a line', changes, (all) => {
    const keeper = new PodKeeper({
      maxPods: 3,
      nodeName: 'node-1',
      source: 'api',
      originOf: (namespace, name) => `api/${namespace}/${name}`,
      versioned: true,
    })
    for (const [how, object] of all) {
      if (how === 'put') keeper.put(object)
      else if (how === 'remove') keeper.remove(object)
      else {
        const { key, pod } = keeper.read(object)
        keeper.replace(new Map([[key, pod]]))
      }
    }
    for (const pod of keeper.pods) checkPod(pod)
    for (const problem of keeper.problems) checkProblem(problem)
    expect(keeper.pods.length).toBeLessThanOrEqual(3)
    expect(new Set(keeper.pods.map(({ uid }) => uid)).size).toBe(keeper.pods.length)
    return keeper.pods.length > 0 ? 'taken' : 'refused'
  })
})

const ASKED: Asked = { server: 'https://10.0.0.1:6443', operation: 'listPods', method: 'GET', path: '/api/v1/pods' }
const LIST = { kind: 'PodList', metadata: { resourceVersion: '10' }, items: [POD, MIRROR_POD] }
const EVENTS = [
  { type: 'ADDED', object: POD },
  { type: 'MODIFIED', object: MIRROR_POD },
  { type: 'DELETED', object: POD },
  { type: 'BOOKMARK', object: { kind: 'Pod', metadata: { resourceVersion: '12' } } },
  { type: 'ERROR', object: { kind: 'Status', code: 410, reason: 'Expired', message: 'too old' } },
]

interface Script {
  readonly body: string
  readonly watch: Buffer
  readonly cuts: readonly number[]
}

/** An API server that plays a script once: a list, then a watch in chunks. Afterwards it waits. */
function player({ body, watch, cuts }: Script, done: (failure: unknown) => void): ApiWatcher {
  const play = <Result>(act: () => Result): Result => {
    try {
      return act()
    } catch (thrown) {
      done(thrown)
      throw thrown
    }
  }
  return {
    problems: [],
    call: async (operation) => (operation === 'listPods' ? play(() => parseBody(body, ASKED)) : {}),
    watch: async (_operation, _request, { onObject }) => {
      play(() => {
        const lines = new LineSplitter(1 << 16)
        let start = 0
        for (const length of [...cuts, watch.length]) {
          for (const line of lines.push(watch.subarray(start, start + length))) onObject(parseBody(line, ASKED))
          start += length
        }
      })
      done(undefined)
    },
  }
}

async function playOut(script: Script): Promise<Verdict> {
  let fail: unknown
  const failures: unknown[] = []
  let source: ApiPods | undefined
  try {
    await new Promise<void>((resolve, reject) => {
      const timer = setTimeout(() => reject(new Error('neither the list nor the watch ended')), 10_000)
      const over = (failure: unknown): void => {
        clearTimeout(timer)
        failures.push(failure)
        setImmediate(resolve)
      }
      const logger = { info: () => {}, warn: ({ why }: { why?: unknown }) => over(why) }
      source = new ApiPods({
        api: player(script, over),
        server: ASKED.server,
        nodeName: 'node-1',
        maxPods: 100,
        now: () => 0,
        random: () => 0.5,
        backoffMs: { firstMs: 60_000, maxMs: 60_000 },
        logger,
      })
    })
    const list = source?.list()
    for (const pod of list?.pods ?? []) checkPod(pod)
    for (const problem of list?.problems ?? []) checkProblem(problem)
    for (const failure of failures) {
      const known =
        failure === undefined || typeof failure === 'string' || failure instanceof ApiContentError || failure instanceof ApiError
      if (!known) fail = failure
    }
    if (fail !== undefined) throw fail
    return (list?.pods.length ?? 0) > 0 ? 'taken' : 'refused'
  } finally {
    source?.close()
  }
}

const lineOf = (value: unknown): string => `${JSON.stringify(value) ?? ''}\n`
const bodies = fc.oneof(
  { arbitrary: fc.constant(JSON.stringify(LIST)), weight: 2 },
  { arbitrary: spoiltObjects(LIST).map((value) => JSON.stringify(value) ?? ''), weight: 3 },
  { arbitrary: spoilt(JSON.stringify(LIST)), weight: 1 },
)
const watches = fc.oneof(
  fc.array(spoiltObjects(...EVENTS), { maxLength: 4 }).map((events) => Buffer.from(events.map(lineOf).join(''))),
  byteStrings(Buffer.from(EVENTS.map(lineOf).join(''))),
)

describe('the pods of an API server', () => {
  const scripts = fc.record({ body: bodies, watch: watches, cuts: fc.array(fc.nat(300), { maxLength: 5 }) })
  fuzzAsync('survive any list and any watch', scripts, playOut)

  fuzz(
    'lines are the same however the bytes are cut, and no longer than they may be',
    fc.tuple(watches, fc.array(fc.nat(64))),
    ([bytes, cuts]) => {
      const expected = bytes
        .toString('utf8')
        .split('\n')
        .slice(0, -1)
        .filter((line) => line.trim() !== '')
      const lines = new LineSplitter(4096)
      const got: string[] = []
      try {
        let start = 0
        for (const length of [...cuts, bytes.length]) {
          got.push(...lines.push(bytes.subarray(start, start + length)))
          start += length
        }
      } catch (thrown) {
        expect(thrown).toBeInstanceOf(ApiContentError)
        expect(
          Math.max(
            ...bytes
              .toString('latin1')
              .split('\n')
              .map((line) => line.length),
          ),
        ).toBeGreaterThan(4096)
        return 'refused'
      }
      // A character that was cut by a newline byte can't be: newline bytes stand for nothing else in UTF-8.
      expect(got).toEqual(expected)
      return 'taken'
    },
  )
})

const STATUS = {
  kind: 'Status',
  status: 'Failure',
  message: 'pods is forbidden',
  reason: 'Forbidden',
  code: 403,
  details: { retryAfterSeconds: 5, causes: [{ reason: 'DisruptionBudget', message: 'no' }] },
}

function checkError(error: ApiError | undefined): Verdict {
  if (error === undefined) return 'refused'
  checkProblem(error.message)
  expectAmount(error.status, 'status')
  expectAmount(error.retryAfterMs, 'retryAfterMs')
  expect(error.retryAfterMs ?? 0).toBeLessThanOrEqual(600_000)
  expect(error.causes.length).toBeLessThanOrEqual(10)
  return 'taken'
}

describe('failures of an API server', () => {
  const answers = fc.tuple(
    fc.oneof(
      texts(JSON.stringify(STATUS), '<html>502</html>', ''),
      spoiltObjects(STATUS).map((value) => JSON.stringify(value) ?? ''),
    ),
    fc.option(texts('5', '120', 'Wed, 21 Oct 2026 07:28:00 GMT'), { nil: undefined }),
  )
  fuzz(
    'are told in one line, with a wait that is no longer than ten minutes and without the token',
    answers,
    ([body, retryAfter]) => {
      const headers = retryAfter === undefined ? {} : { 'retry-after': retryAfter }
      const response = { statusCode: 403, statusMessage: 'Forbidden', headers } as unknown as IncomingMessage
      const error = failureOf(response, `${body} secret-token`, { ...ASKED, secret: 'secret-token' })
      expect(error.message).not.toContain('secret-token')
      return checkError(error)
    },
    { reaches: ['taken'] },
  )

  fuzz('within an answer or a watch are told as well', spoiltObjects(STATUS), (status) => {
    checkError(statusFailure(status, ASKED.server))
    return checkError(failureWithin(status, { ...ASKED, secret: 'secret-token' }))
  })
})
