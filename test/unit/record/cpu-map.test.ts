/** The map of the CPUs in `status`: a letter for everybody who may own one, and a page that stays readable from 1 to 1024 CPUs. */
import { describe, expect, it } from 'vitest'
import { CpuSet } from '../../../src/cpu/index.ts'
import type { PlacementState } from '../../../src/model/index.ts'
import { cpuMapOf, renderCpuMap } from '../../../src/record/status/cpu-map.ts'
import { topologyOf, type TopologyName } from '../../support/snapshots.ts'
import { TOPOLOGIES } from '../../support/topologies.ts'

const set = (cpus: string): CpuSet => CpuSet.parse(cpus)

function state(name: TopologyName, parts: Partial<PlacementState> = {}): PlacementState {
  const { online } = topologyOf(name)
  const none = CpuSet.EMPTY
  const rest = { exclusive: [], pinned: [], unpinned: online }
  return { reserved: none, dedicated: none, pool: online, bestEffort: online, ...rest, ...parts }
}

const draw = (name: TopologyName, parts: Partial<PlacementState> = {}): readonly string[] =>
  renderCpuMap(cpuMapOf(topologyOf(name), state(name, parts)))

describe('the CPU map', () => {
  it('has a letter for each owner', () => {
    const exclusive = [
      { uid: 'x', qosClass: 'LSX', cpus: set('1,5'), shared: CpuSet.EMPTY },
      { uid: 'r', qosClass: 'LSR', cpus: set('2,6'), shared: set('6') },
    ] as const
    const parts = { exclusive, reserved: set('0'), pool: set('4'), dedicated: set('3'), bestEffort: set('3-4,6') }
    expect(draw('desktop', parts)).toEqual([
      'CPU map: X LSX, R LSR, r LSR and offline pods, l online pool and offline pods, B offline pods only,',
      'S reserved, - outside of the group of all pods',
      '  socket 0 node 0 core 0  Sl XX Rr B-',
    ])
    expect(draw('desktop', { bestEffort: set('7') })).toEqual([
      'CPU map: L online pool, l online pool and offline pods',
      '  socket 0 node 0 core 0  LL LL LL Ll',
    ])
  })

  it('shows threads that are missing beside others', () => {
    expect(draw('ragged').slice(1).join('\n')).toContain('l. ')
    expect(draw('single')).toEqual(['CPU map: l online pool and offline pods', '  socket 0 node 0 core 0  l'])
  })

  it('puts eight cores without SMT together', () => {
    expect(draw('arm')[1]).toBe('  socket 0 node 0 core 0    llllllll llllllll llllllll llllllll')
  })

  it.each(Object.keys(TOPOLOGIES) as TopologyName[])('draws every CPU of the machine %s in at most 100 columns', (name) => {
    const [, ...lines] = draw(name)
    expect(Math.max(...lines.map((line) => line.length))).toBeLessThanOrEqual(100)
    expect(lines.length).toBeLessThanOrEqual(40)
    const drawn = lines.map((line) => line.replace(/^.*core \d+ +/, '').replaceAll(/[^l]/g, '')).join('')
    expect(drawn).toHaveLength(topologyOf(name).online.size)
  })
})
