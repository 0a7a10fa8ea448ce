/** Why one knob is as it is: found by its file, a group or a pod, with the readings behind it. The text is golden. */
import { describe, expect, it } from 'vitest'
import { type Recorder, renderExplanation } from '../../../src/record/index.ts'
import { FLINK, recorder, REGISTERED, ROOT, TRAIN, WEB, writingTick } from './fixtures.ts'

function explainer(): Recorder {
  const record = recorder()
  record.resources([REGISTERED])
  record.tick(writingTick({ outcomes: [{ is: 'applied' }, { is: 'busy', errno: 'EBUSY' }] }))
  return record
}

const columns = (text: string): number => Math.max(...text.split('\n').map((line) => line.length))

describe('a knob', () => {
  const ROOT_FILE = `/sys/fs/cgroup/cpu${ROOT}/cpu.quota`

  it('by its file: what it holds, who won and lost, and what the rules went by', async () => {
    const record = explainer()
    const text = [`knob ${ROOT_FILE}`, `knob ${TRAIN.reading.group} quota`, 'knob default/flink cpuset']
      .map((subject) => renderExplanation(record.explain(subject, 12_000)))
      .join('\n')
    await expect(text).toMatchFileSnapshot('../../golden/explain-knob.txt')
    expect(columns(text)).toBeLessThanOrEqual(100)
  })

  it.each([
    [`knob ${ROOT_FILE}`, ROOT, 'quota'],
    [`knob ${ROOT}/quota`, ROOT, 'quota'],
    [`knob/${ROOT}/quota`, ROOT, 'quota'],
    [`knob ${ROOT} quota`, ROOT, 'quota'],
    [`knob ${ROOT}/ QUOTA`, ROOT, 'quota'],
    [`knob ${ROOT} cpu.cfs_period_us`, ROOT, 'quota'],
    [`knob /host/sys/fs/cgroup/cpuset${FLINK.reading.group}/cpu.cpuset`, FLINK.reading.group, 'cpuset'],
    ['knob default/train freeze', TRAIN.reading.group, 'freeze'],
    ['knob pod/default/train freeze', TRAIN.reading.group, 'freeze'],
    [`knob ${WEB.reading.group}/c1 weight`, `${WEB.reading.group}/c1`, 'weight'],
  ])('understands %j', (text, group, kind) => {
    expect(explainer().explain(text, 12_000)).toMatchObject({ is: 'knob', knob: { group, knob: kind } })
  })

  it('that this kernel does not have', () => {
    const text = renderExplanation(explainer().explain(`knob ${ROOT} bvt`, 12_000))
    expect(text).toContain('file          none on this node: no cpu.bvt_warp_ns here: kernels of Anolis and Alibaba have it\n')
  })

  it('of a container, with its pod', () => {
    const explained = explainer().explain(`knob ${FLINK.reading.group}/c1 weight`, 12_000)
    expect(explained).toMatchObject({ pod: 'default/flink', container: 'main' })
    expect(JSON.parse(JSON.stringify(explained))).toEqual(explained)
  })

  it('whose readings get older, shows it', () => {
    const record = explainer()
    const ageMs = (nowMs: number): readonly number[] => {
      const explained = record.explain(`knob ${ROOT} quota`, nowMs)
      return explained.is === 'knob' ? explained.inputs.map((input) => input.ageMs) : []
    }
    expect(ageMs(12_000)).toEqual([1040, 1040, 1500])
    expect(ageMs(22_000)).toEqual([11_040, 11_040, 11_500])
  })
})
