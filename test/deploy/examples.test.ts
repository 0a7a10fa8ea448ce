/**
 * The example pods: valid by Kubernetes' schema, and to the agent what their first line says they are, by its own reading of pods, its own classes,
 * its own arithmetic and without a finding.
 */
import { readdirSync, readFileSync } from 'node:fs'
import { resolve } from 'node:path'
import { describe, expect, it } from 'vitest'
import { parseAllDocuments } from 'yaml'
import type { Manifest } from '../../scripts/chart/render.ts'
import { classify } from '../../src/decide/classify.ts'
import { findingsOf } from '../../src/decide/findings.ts'
import { memoryLimits, quotaLimits } from '../../src/decide/limits.ts'
import { wantsOf } from '../../src/decide/placement/wants.ts'
import type { ClassifiedPod, PodSpec } from '../../src/model/index.ts'
import { bytes, milliCpu, podFromObject, podGroup } from '../../src/model/index.ts'
import { DEFAULTS } from '../support/config.ts'
import { schemaProblems } from '../support/kubernetes-schema.ts'
import { LAYOUT, snapshotOf } from '../support/snapshots.ts'

const DEPLOY = resolve(import.meta.dirname, '../../deploy')
const EXAMPLES = readdirSync(resolve(DEPLOY, 'examples')).sort()
const UID = 'abababab-0000-4000-8000-000000000001'
const BY: Readonly<Record<string, string>> = {
  resources: 'resources',
  label: 'label',
  level: 'level',
  'kubelet QoS': 'kubeletQos',
}

const textOf = (file: string): string => readFileSync(resolve(DEPLOY, file), 'utf8')
const objectsOf = (text: string): Manifest[] => parseAllDocuments(text, { uniqueKeys: true }).map((one) => one.toJS() as Manifest)

interface Workload {
  readonly spec: { readonly template: { readonly metadata: object; readonly spec: object } }
}

/** The pod of a workload's template, as the agent would see it. */
function classified(workload: Manifest): ClassifiedPod {
  const { metadata, spec } = (workload as unknown as Workload).spec.template
  const named = { ...metadata, name: `${workload.metadata.name}-0`, namespace: 'default', uid: UID }
  const read = podFromObject({ kind: 'Pod', metadata: named, spec }, 'example')
  if (read === undefined) throw new Error(`${workload.metadata.name}: no pod`)
  const pod: PodSpec = read
  return classify({ spec: pod, group: podGroup(LAYOUT, pod.kubeletQos, pod.uid), childGroups: [], present: true }, DEFAULTS)
}

describe.each(EXAMPLES)('deploy/examples/%s', (file) => {
  const text = textOf(`examples/${file}`)
  const [workload] = objectsOf(text)
  const said = /^# Class (\w+), by its ([\w ]+): (?:(\d+)m CPU and (\d+)Mi memory|(\d+) CPUs? of its own)?/.exec(text)
  const [, qosClass, by = '', milli, mebibytes, cpus] = said ?? []

  it('is of the class that its first line names, by what it names, and odd in nothing', () => {
    if (workload === undefined) throw new Error('no object')
    const pod = classified(workload)
    expect([pod.qosClass, pod.because.by]).toEqual([qosClass, BY[by]])
    expect(file).toBe(`${(qosClass ?? '').toLowerCase()}.yaml`)
    expect(findingsOf([pod], DEFAULTS)).toEqual([])
  })

  it('asks for what its first line says, and is limited to that', () => {
    if (workload === undefined) throw new Error('no object')
    const pod = classified(workload)
    const [asked, askedBytes] = [Number(milli ?? 0), Number(mebibytes ?? 0) * 2 ** 20]
    expect([pod.askedMilli, pod.askedBytes]).toEqual([asked, askedBytes])
    const quotas = quotaLimits([pod], DEFAULTS).map(({ value }) => value)
    expect(quotas).toHaveLength(asked > 0 ? 1 : 0)
    for (const quota of quotas) expect(quota).toMatchObject({ quotaUs: asked * 100 })
    const snapshot = snapshotOf({})
    const value = { cpuMilli: milliCpu(0), workingSetBytes: bytes(0), workingSetAtMs: snapshot.nowMs, throttledPermyriad: 0 }
    const used: ClassifiedPod = { ...pod, reading: { ...pod.reading, use: { value, atMs: snapshot.nowMs, source: 'test' } } }
    const limits = memoryLimits(snapshot, [used], DEFAULTS, []).claims.map((claim) => claim.value)
    expect(limits).toEqual(asked > 0 ? [askedBytes] : [])
    expect(wantsOf([pod], DEFAULTS).exclusive.map(({ count }) => count)).toEqual(cpus === undefined ? [] : [Number(cpus)])
  })
})

it('there is an example of every class that users give to pods', () => {
  expect(EXAMPLES).toEqual(['be.yaml', 'ls.yaml', 'lsr.yaml', 'lsx.yaml', 'ot.yaml'])
})

it('the examples and the other manifests of deploy are valid by the schema of Kubernetes', { timeout: 120_000 }, () => {
  const objects = [...EXAMPLES.map((file) => `examples/${file}`), 'rbac.yaml'].flatMap((file) => objectsOf(textOf(file)))
  expect(objects.length).toBeGreaterThan(15)
  expect(schemaProblems(objects)).toEqual([])
})

it('the agent’s own pods are SYSTEM, by their label', () => {
  for (const file of ['observe.yaml', 'enforce.yaml', 'release.yaml']) {
    const daemonSet = objectsOf(textOf(`manifests/${file}`)).find(({ kind }) => kind === 'DaemonSet')
    if (daemonSet === undefined) throw new Error(`${file}: no DaemonSet`)
    const pod = classified(daemonSet)
    expect([pod.qosClass, pod.because.by, pod.reading.spec.kubeletQos]).toEqual(['SYSTEM', 'label', 'Burstable'])
    expect(findingsOf([pod], DEFAULTS)).toEqual([])
  }
})
