/**
 * Each way in which a pod comes to its class, and in which order they are asked. An offline class must never be given to a pod that
 * lives outside of the offline root.
 */
import { describe, expect, it } from 'vitest'
import { classify } from '../../../src/decide/classify.ts'
import { decide, EMPTY_MEMORY } from '../../../src/decide/index.ts'
import type { QosClass } from '../../../src/model/index.ts'
import { configOf, DEFAULTS } from '../../support/config.ts'
import { GIB, type PodLiteral, readingOf, snapshotOf } from '../../support/snapshots.ts'

const label = (value: string): Readonly<Record<string, string>> => ({ 'kube-agent.io/qos-class': value })

const level = (value: string): Readonly<Record<string, string>> => ({ 'kube-agent.io/level': value })
const koordinator = (value: string): Readonly<Record<string, string>> => ({ 'koordinator.sh/qosClass': value })

const ROUTES: readonly (readonly [string, Omit<PodLiteral, 'uid'>, QosClass, string])[] = [
  ['a label', { labels: label('OT') }, 'OT', 'label'],
  ['a label, also for an online class', { qos: 'Guaranteed', labels: label('LSR') }, 'LSR', 'label'],
  ['a label, with the resources of its class', { labels: label('BE'), asks: { 'be-cpu': 1 } }, 'BE', 'label'],
  [
    'an online label before offline resources: what was sold decides',
    { labels: label('LS'), asks: { 'be-cpu': 1 } },
    'BE',
    'labelContradicted',
  ],
  ['SYSTEM likewise', { labels: label('SYSTEM'), asks: { 'ot-memory': 1 } }, 'OT', 'labelContradicted'],
  ['UNTAGGED likewise', { labels: label('UNTAGGED'), asks: { 'be-memory': 1 } }, 'BE', 'labelContradicted'],
  [
    'a BE label on a pod that was sold OT: the class that yields more',
    { labels: label('BE'), asks: { 'ot-cpu': 1 } },
    'OT',
    'labelContradicted',
  ],
  [
    'a BE label on a pod that was sold both',
    { labels: label('BE'), asks: { 'be-cpu': 1, 'ot-memory': 1 } },
    'OT',
    'labelContradicted',
  ],
  [
    'an OT label on a pod that was sold BE: the class that yields more',
    { labels: label('OT'), asks: { 'be-cpu': 1 } },
    'OT',
    'label',
  ],
  [
    'an online label on a pod with requests, whatever else it asks for',
    { qos: 'Burstable', labels: label('LSR'), asks: { 'be-cpu': 1 } },
    'LSR',
    'label',
  ],
  ['an offline label on a pod with requests is ignored', { qos: 'Burstable', labels: label('BE') }, 'LS', 'labelIgnored'],
  ['a label that names no class, then resources', { labels: label('be'), asks: { 'be-cpu': 1 } }, 'BE', 'resources'],
  ['BE resources', { asks: { 'be-memory': 1 } }, 'BE', 'resources'],
  ['both resources: the class that yields more', { asks: { 'be-cpu': 1, 'ot-memory': 1 } }, 'OT', 'resources'],
  ['resources of amount 0 are none', { asks: { 'be-cpu': 0 } }, 'UNTAGGED', 'kubeletQos'],
  ['resources beside requests are not offline', { qos: 'Burstable', asks: { 'be-cpu': 5 } }, 'LS', 'kubeletQos'],
  ['a level', { qos: 'Guaranteed', labels: level('P0') }, 'LSX', 'level'],
  ['a level of LSR', { qos: 'Burstable', labels: level('P1') }, 'LSR', 'level'],
  ['a level of LS', { qos: 'Burstable', labels: level('P3') }, 'LS', 'level'],
  ['a level that is none', { qos: 'Burstable', labels: level('P5') }, 'LS', 'kubeletQos'],
  ['a level with the name of an object property', { qos: 'Burstable', labels: level('constructor') }, 'LS', 'kubeletQos'],
  ['a label before a level', { qos: 'Burstable', labels: { ...level('P0'), ...label('SYSTEM') } }, 'SYSTEM', 'label'],
  ['resources before a level', { labels: level('P0'), asks: { 'be-cpu': 1 } }, 'BE', 'resources'],
  ['a priority class', { qos: 'Burstable', priorityClassName: 'gold' }, 'LSR', 'priorityClass'],
  ['an offline priority class', { priorityClassName: 'spare' }, 'OT', 'priorityClass'],
  ['an offline priority class for a pod with requests', { qos: 'Burstable', priorityClassName: 'spare' }, 'LS', 'kubeletQos'],
  ['a priority class that is not configured', { qos: 'Burstable', priorityClassName: 'constructor' }, 'LS', 'kubeletQos'],
  ['a level before a priority class', { qos: 'Burstable', labels: level('P4'), priorityClassName: 'gold' }, 'LS', 'level'],
  [
    'a priority class before a namespace',
    { qos: 'Burstable', namespace: 'kube-system', priorityClassName: 'gold' },
    'LSR',
    'priorityClass',
  ],
  ['a namespace', { namespace: 'kube-system' }, 'SYSTEM', 'namespace'],
  ['resources before a namespace', { namespace: 'kube-system', asks: { 'be-cpu': 1 } }, 'BE', 'resources'],
  ['an offline namespace for a pod with requests', { namespace: 'batch', qos: 'Guaranteed' }, 'LS', 'kubeletQos'],
  ['an offline namespace', { namespace: 'batch' }, 'BE', 'namespace'],
  ['a namespace with the name of an object property', { namespace: 'constructor' }, 'UNTAGGED', 'kubeletQos'],
  ['Guaranteed', { qos: 'Guaranteed' }, 'LS', 'kubeletQos'],
  ['Burstable', { qos: 'Burstable' }, 'LS', 'kubeletQos'],
  ['BestEffort', {}, 'UNTAGGED', 'kubeletQos'],
]

describe('classify', () => {
  const config = configOf({
    classes: { namespaces: { 'kube-system': 'SYSTEM', batch: 'BE' }, priorityClasses: { gold: 'LSR', spare: 'OT' } },
  })

  it.each(ROUTES)('%s', (_, pod, qosClass, by) => {
    const classified = classify(readingOf({ uid: 'a', ...pod }, 0), config)
    expect([classified.qosClass, classified.because.by]).toEqual([qosClass, by])
  })

  it('takes an untagged BestEffort pod for BE where the configuration says so', () => {
    const config = configOf({ classes: { besteffort: 'BE' } })
    expect(classify(readingOf({ uid: 'a' }, 0), config).qosClass).toBe('BE')
  })

  it('takes the classes of levels from the configuration, those that it leaves out as they were', () => {
    const config = configOf({ classes: { levels: { P2: 'LSR', P4: 'BE' }, levelLabel: 'example.com/level' } })
    const classOf = (value: string, qos: 'Burstable' | 'BestEffort' = 'Burstable') =>
      classify(readingOf({ uid: 'a', qos, labels: { 'example.com/level': value } }, 0), config).qosClass
    expect(['P0', 'P1', 'P2', 'P3'].map((value) => classOf(value))).toEqual(['LSX', 'LSR', 'LSR', 'LS'])
    expect([classOf('P4', 'BestEffort'), classOf('P4')]).toEqual(['BE', 'LS'])
  })

  describe("Koordinator's label", () => {
    const config = configOf({ classes: { koordinatorLabel: true } })
    it.each<[string, Omit<PodLiteral, 'uid'>, QosClass, string]>([
      ['LSE', { qos: 'Guaranteed', labels: koordinator('LSE') }, 'LSX', 'label'],
      ['LSR', { qos: 'Guaranteed', labels: koordinator('LSR') }, 'LSR', 'label'],
      ['LS', { qos: 'Burstable', labels: koordinator('LS') }, 'LS', 'label'],
      ['BE', { labels: koordinator('BE') }, 'BE', 'label'],
      ['SYSTEM', { qos: 'Burstable', labels: koordinator('SYSTEM') }, 'SYSTEM', 'label'],
      ['LSX, which it has not', { qos: 'Burstable', labels: koordinator('LSX') }, 'LS', 'kubeletQos'],
      ['BE on a pod with requests', { qos: 'Burstable', labels: koordinator('BE') }, 'LS', 'labelIgnored'],
      ['LS on a pod that was sold BE', { labels: koordinator('LS'), asks: { 'be-cpu': 1 } }, 'BE', 'labelContradicted'],
      ['LSR, after the label of our own', { qos: 'Burstable', labels: { ...koordinator('LSR'), ...label('LS') } }, 'LS', 'label'],
      [
        'LSR, after one of our own that names nothing',
        { qos: 'Burstable', labels: { ...koordinator('LSR'), ...label('ls') } },
        'LSR',
        'label',
      ],
    ])('%s', (_, pod, qosClass, by) => {
      const classified = classify(readingOf({ uid: 'a', ...pod }, 0), config)
      expect([classified.qosClass, classified.because.by]).toEqual([qosClass, by])
    })

    it('is not heeded unless it is switched on', () => {
      const pod = readingOf({ uid: 'a', qos: 'Burstable', labels: koordinator('LSR') }, 0)
      expect(classify(pod, DEFAULTS)).toMatchObject({ qosClass: 'LS', because: { by: 'kubeletQos' } })
    })

    it('is told of by its own name when it is odd', () => {
      const pod = { uid: 'a', labels: koordinator('gold') }
      const { decision } = decide(snapshotOf({ pods: [pod] }), EMPTY_MEMORY, config)
      expect(decision.findings).toMatchObject([{ code: 'labelUnknown', key: 'koordinator.sh/qosClass', value: 'gold' }])
    })
  })

  it('gives a namespace of an inherited name no class even when the mapping is a plain object', () => {
    const plain = { ...DEFAULTS, classes: { ...DEFAULTS.classes, namespaces: {} } }
    expect(classify(readingOf({ uid: 'a', namespace: 'constructor' }, 0), plain).qosClass).toBe('UNTAGGED')
  })

  it('counts what was asked in milli-CPU and bytes, of both kinds together', () => {
    const pod = readingOf({ uid: 'a', asks: { 'be-cpu': 13, 'be-memory': 3, 'ot-cpu': 2 } }, 0)
    const { askedMilli, askedBytes, qosClass } = classify(pod, configOf({ resources: { cpuUnit: '0.1', memoryUnit: '1Gi' } }))
    expect([qosClass, askedMilli, askedBytes]).toEqual(['OT', 1500, 3 * GIB])
  })

  it('tells which resource outweighs the label', () => {
    const { because } = classify(readingOf({ uid: 'a', labels: label('LS'), asks: { 'be-memory': 2 } }, 0), config)
    expect(because).toEqual({
      by: 'labelContradicted',
      key: 'kube-agent.io/qos-class',
      value: 'LS',
      resource: 'kube-agent.io/be-memory',
    })
  })
})
