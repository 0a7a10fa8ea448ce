/** Quotas of online pods are read only when a rule asks for them, in the pod's turn, and are not part of what plans are made against. */
import { describe, expect, it } from 'vitest'
import { micros, NO_EVICTIONS } from '../../../src/model/index.ts'
import { Sensor } from '../../../src/sense/index.ts'
import { ModelKernel, SimNode } from '../../../src/sim/index.ts'
import { specOf, topologyOf } from '../../support/snapshots.ts'

const GROUP = '/kubepods/burstable/podweb'

function bed() {
  const kernel = new ModelKernel({ dialect: 'v1', topology: topologyOf('desktop') })
  const node = new SimNode(kernel)
  node.addPod(specOf({ uid: 'web', qos: 'Burstable', containers: ['main', 'side'] }))
  node.addPod(specOf({ uid: 'flink', asks: { 'be-cpu': 1 } }))
  const main = kernel.groups.get(`${GROUP}/main`)
  if (main === undefined) throw new Error('no group')
  main.knobs.quota = { quotaUs: micros(20_000), periodUs: micros(100_000) }
  const sensor = new Sensor({ kernel, pods: node, layout: node.layout, windowMs: 100 })
  let nowMs = 0
  const sense = () => {
    nowMs += 1000
    node.advance(1000)
    return sensor.sense({ nowMs, wallMs: nowMs }, 'calm', { inFlightUnits: {}, evictions: NO_EVICTIONS })
  }
  return { kernel, main, sensor, sense }
}

describe('bandwidth', () => {
  it('is not read unless it is asked for', () => {
    const { sense } = bed()
    for (const { bandwidth } of sense().pods.pods) expect(bandwidth).toBeUndefined()
  })

  it('tells of groups with a quota, of online pods alone, and keeps their quotas out of what plans see', () => {
    const { sensor, sense } = bed()
    sensor.pods.readsBandwidth = true
    const snapshot = sense()
    expect(snapshot.pods.pods.map(({ bandwidth }) => bandwidth)).toEqual([
      [{ group: `${GROUP}/main`, quotaUs: 20_000, periodUs: 100_000, burstUs: 0, throttledPermyriad: 0 }],
      undefined,
    ])
    expect(snapshot.actual.get(`${GROUP}/main`, 'quota')).toBeUndefined()
  })

  it('tells how much was throttled since the reading before, and nothing of before the first', () => {
    const { main, sensor, sense } = bed()
    sensor.pods.readsBandwidth = true
    Object.assign(main, { periods: 1000, throttledPeriods: 900 })
    const throttled = () => sense().pods.pods[0]?.bandwidth?.[0]?.throttledPermyriad
    expect(throttled()).toBe(0)
    Object.assign(main, { periods: 1010, throttledPeriods: 905 })
    expect(throttled()).toBe(5000)
    expect(throttled()).toBe(0)
  })

  it('is gone with the question', () => {
    const { sensor, sense } = bed()
    sensor.pods.readsBandwidth = true
    sense()
    sensor.pods.readsBandwidth = false
    expect(sense().pods.pods[0]?.bandwidth).toBeUndefined()
  })
})
