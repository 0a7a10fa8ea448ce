/** Any text as a manifest, YAML or JSON: pods that make sense and problems of one line each. Nothing is thrown, and nothing takes long. */
import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { stringify } from 'yaml'
import { parseManifest } from '../../src/sense/manifest.ts'
import { checkPod, checkProblem, MIRROR_POD, POD } from './pods.ts'
import { announce, fuzz, spoiltObjects, texts, type Verdict } from './support.ts'

announce('manifests')

const SMALL = stringify({
  kind: 'Pod',
  metadata: { name: 'p', uid: 'u1', labels: { a: 'b' } },
  spec: { containers: [{ name: 'c' }] },
})
const FLOW = '{kind: Pod, metadata: {name: p, uid: u1}, spec: {containers: [{name: c, resources: {limits: {cpu: 1.5}}}]}}'
const ALIASES =
  'kind: Pod\nmetadata: &a\n  name: p\n  uid: u1\nspec:\n  containers:\n    - &c {name: c}\n    - <<: *c\n      name: d\n'

/** Parsing YAML is most of the time here; cluster.test.ts spoils the whole of a pod. */
const SLIM = { ...POD, metadata: { name: 'web-0', uid: POD.metadata.uid, labels: POD.metadata.labels }, status: {} }

function judge(text: string): Verdict {
  const { pods, problems } = parseManifest(text, 'f.yaml')
  for (const pod of pods) checkPod(pod)
  for (const problem of problems) checkProblem(problem)
  for (const problem of problems) expect(problem.slice(0, 7)).toBe('f.yaml:')
  if (problems.length > 21) throw new Error(`${problems.length} problems`)
  return pods.length > 0 ? 'taken' : 'refused'
}

describe('manifests', () => {
  fuzz('of YAML, spoilt as a text', texts(SMALL, FLOW, ALIASES, `${SMALL}---\n${FLOW}\n`), judge)

  const objects = spoiltObjects(SLIM, MIRROR_POD)
  fuzz('of YAML and JSON, spoilt as an object', fc.tuple(objects, fc.boolean()), ([object, asJson]) => {
    // A value that only prints as JSON is written as JSON, which is YAML too.
    const text = JSON.stringify(object) ?? ''
    return judge(asJson || text.length > 4000 ? text : stringify(JSON.parse(text === '' ? 'null' : text)))
  })

  it.each([
    ['brackets', '['.repeat(500_000)],
    ['braces', '{"a":'.repeat(200_000)],
    ['dashes', '- '.repeat(200_000)],
    ['question marks', '? '.repeat(200_000)],
    ['anchors', '&a '.repeat(100_000)],
    ['documents', '---\n'.repeat(200_000)],
    ['a long line', `kind: ${'x'.repeat(2_000_000)}`],
    ['digits', `kind: ${'9'.repeat(1_000_000)}`],
    ['many keys', Array.from({ length: 50_000 }, (_, index) => `k${index}: 1`).join('\n')],
  ])(
    'of %s without end are over soon',
    (_, text) => {
      const before = process.cpuUsage().user
      expect(judge(text)).toBe('refused')
      expect(process.cpuUsage().user - before).toBeLessThan(8_000_000)
    },
    60_000,
  )
})
