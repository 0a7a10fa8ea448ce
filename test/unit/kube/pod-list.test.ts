/** The list that is made of what a server tells: unique, bounded, in steady order, and the same object for a pod that is the same. */
import { describe, expect, it } from 'vitest'
import { PodKeeper } from '../../../src/kube/pod-list.ts'
import type { ApiObject } from '../../support/api-server/index.ts'
import { mirrorPod, NODE, pod } from './support.ts'

const keeperOf = (maxPods = 100, versioned = true) =>
  new PodKeeper({
    maxPods,
    nodeName: NODE,
    source: 'server',
    versioned,
    originOf: (namespace, name) => `server/${namespace}/${name}`,
  })

const names = (keeper: PodKeeper) => keeper.pods.map(({ name }) => name)

const at = (object: ApiObject, resourceVersion: string): ApiObject => ({
  ...object,
  metadata: { ...object.metadata, resourceVersion },
})

function replaceAll(keeper: PodKeeper, objects: readonly unknown[]): void {
  keeper.replace(new Map(objects.map((object) => keeper.read(object)).map(({ key, pod: known }) => [key, known])))
}

describe('a pod', () => {
  it('is another one than its namesake with another UID', () => {
    const keeper = keeperOf()
    keeper.put(pod('a', { uid: 'u1' }))
    keeper.put(pod('a', { uid: 'u2' }))
    expect(keeper.pods.map(({ uid }) => uid)).toEqual(['u1', 'u2'])
    keeper.remove(pod('a', { uid: 'u1' }))
    expect(keeper.pods.map(({ uid }) => uid)).toEqual(['u2'])
  })

  it('keeps its PodSpec and the revision while nothing that is read of it changes', () => {
    const keeper = keeperOf()
    keeper.put(at(pod('a', { uid: 'u1' }), '1'))
    const [spec] = keeper.pods
    const { revision } = keeper
    keeper.put(at(pod('a', { uid: 'u1' }), '1'))
    // Another version with news that no rule reads, such as a probe's time.
    keeper.put({ ...at(pod('a', { uid: 'u1' }), '2'), status: { phase: 'Running', conditions: [{ lastProbeTime: 'now' }] } })
    replaceAll(keeper, [at(pod('a', { uid: 'u1' }), '3')])
    expect(keeper.pods[0]).toBe(spec)
    expect(keeper.revision).toBe(revision)
    keeper.put(at(pod('a', { uid: 'u1', phase: 'Failed' }), '4'))
    expect(keeper.pods[0]).toMatchObject({ phase: 'Failed' })
    expect(keeper.revision).toBe(revision + 1)
  })

  it('is not read anew under the version it had, but is where versions mean nothing', () => {
    for (const versioned of [true, false]) {
      const keeper = keeperOf(100, versioned)
      keeper.put(at(pod('a', { uid: 'u1' }), '1'))
      keeper.put(at(pod('a', { uid: 'u1', phase: 'Failed' }), '1'))
      expect(keeper.pods[0]?.phase).toBe(versioned ? 'Running' : 'Failed')
    }
  })

  it('that can not be read keeps its last good spec, or is left out, and is named', () => {
    const keeper = keeperOf()
    keeper.put(at(pod('good', { uid: 'u1' }), '1'))
    const { revision } = keeper
    for (const [name, uid] of [
      ['good', 'u1'],
      ['bad', 'u2'],
    ] as const)
      keeper.put({ ...at(pod(name, { uid }), '2'), spec: {} })
    expect(names(keeper)).toEqual(['good'])
    expect(keeper.revision).toBe(revision)
    expect(keeper.problems).toEqual([
      expect.stringMatching(/default\/good: spec\.containers: .*stays in force/),
      expect.stringMatching(/default\/bad: spec\.containers: .*left out/),
    ])
    for (const object of [pod('good', { uid: 'u1' }), pod('bad', { uid: 'u2' })]) keeper.put(at(object, '3'))
    expect(names(keeper)).toEqual(['good', 'bad'])
    expect(keeper.problems).toEqual([])
    for (const nonsense of [null, 7, {}, [], { metadata: 7 }]) keeper.put(nonsense)
    expect(keeper.problems).toEqual([expect.stringContaining('(without a name)')])
  })

  it('that is static goes by its hash, and is kept by the UID of its mirror', () => {
    const keeper = keeperOf()
    keeper.put(mirrorPod('etcd', { uid: 'm1', hash: 'hash' }))
    keeper.put(mirrorPod('etcd', { uid: 'm2', hash: 'hash' }))
    expect(keeper.pods).toMatchObject([{ uid: 'hash', objectUid: 'm1' }])
    expect(keeper.problems).toEqual([expect.stringMatching(/default\/etcd \(m2\) and default\/etcd \(m1\).*left out/)])
    keeper.remove(mirrorPod('etcd', { uid: 'm1', hash: 'hash' }))
    expect(keeper.pods).toMatchObject([{ uid: 'hash', objectUid: 'm2' }])
    expect(keeper.problems).toEqual([])
  })

  it('that is static is, of two at first sight, the one that this node controls, and stays once it is listed', () => {
    const forged = mirrorPod('forged', { uid: 'm1', hash: 'hash' })
    const elsewhere = mirrorPod('elsewhere', { uid: 'm2', hash: 'hash', owner: 'node-2' })
    const real = mirrorPod('real', { uid: 'm3', hash: 'hash', owner: NODE })
    const late = mirrorPod('late', { uid: 'm4', hash: 'hash', owner: NODE })
    const keeper = keeperOf()
    for (const object of [forged, elsewhere, real, late]) keeper.put(object)
    expect(names(keeper)).toEqual(['real'])
    expect(keeper.problems.map((problem) => problem.replace(/.*mirror pods/, ''))).toEqual(
      [
        ['default/elsewhere (m2)', 'default/forged (m1)'],
        ['default/forged (m1)', 'default/real (m3)'],
        ['default/late (m4)', 'default/real (m3)'],
      ].map(([loser, winner]) => ` ${loser} and ${winner} claim the same static pod, hash; the former is left out`),
    )
    keeper.remove(real)
    expect(names(keeper)).toEqual(['late'])
    // Now listed, it stays, wherever the other stands in the list and whatever it says of itself.
    replaceAll(keeper, [real, forged, late])
    expect(names(keeper)).toEqual(['late'])
    keeper.remove(late)
    keeper.remove(real)
    expect(names(keeper)).toEqual(['forged'])
    keeper.put(real)
    expect(names(keeper)).toEqual(['forged'])
  })

  it("can't be pushed aside by one that claims its UID as a hash", () => {
    for (const order of [
      [0, 1],
      [1, 0],
    ] as const) {
      const keeper = keeperOf()
      const objects = [pod('victim', { uid: 'u1' }), mirrorPod('forged', { uid: 'u2', hash: 'u1' })]
      for (const index of order) keeper.put(objects[index])
      expect(names(keeper)).toEqual(['victim'])
      expect(keeper.problems).toEqual([
        expect.stringMatching(/^server\/default\/forged: default\/forged has the UID of default\/victim/),
      ])
    }
  })
})

describe('the list', () => {
  it('keeps the places of the pods that stay', () => {
    const keeper = keeperOf()
    replaceAll(
      keeper,
      ['a', 'b', 'c'].map((name) => pod(name, { uid: name })),
    )
    const { revision } = keeper
    replaceAll(
      keeper,
      ['c', 'a', 'b'].map((name) => pod(name, { uid: name })),
    )
    expect(keeper.revision).toBe(revision)
    replaceAll(
      keeper,
      ['d', 'c', 'a'].map((name) => pod(name, { uid: name })),
    )
    expect(names(keeper)).toEqual(['a', 'c', 'd'])
    replaceAll(keeper, [])
    expect(names(keeper)).toEqual([])
  })

  it('leaves out what is too much, ended pods first, and takes it up when there is room', () => {
    const keeper = keeperOf(2)
    replaceAll(keeper, [
      pod('e1', { uid: 'e1', phase: 'Succeeded' }),
      pod('e2', { uid: 'e2', phase: 'Failed' }),
      pod('l1', { uid: 'l1' }),
    ])
    expect(names(keeper)).toEqual(['e1', 'l1'])
    expect(keeper.problems).toEqual([expect.stringMatching(/more than 2 pods.*default\/e2 is left out/)])
    keeper.put(pod('l2', { uid: 'l2' }))
    keeper.put(pod('l3', { uid: 'l3' }))
    expect(names(keeper)).toEqual(['l1', 'l2'])
    expect(keeper.problems).toHaveLength(3)
    keeper.remove(pod('l1', { uid: 'l1' }))
    expect(names(keeper)).toEqual(['l2', 'l3'])
    keeper.remove(pod('l3', { uid: 'l3' }))
    expect(names(keeper)).toEqual(['e1', 'l2'])
  })

  it('shows a bounded number of problems and remembers a bounded number of pods', () => {
    const keeper = keeperOf(1)
    const many = Array.from({ length: 20_100 }, (_, index) => pod(`p${index}`, { uid: `u${index}` }))
    replaceAll(keeper, many)
    expect(keeper.problems).toHaveLength(51)
    expect(names(keeper)).toEqual(['p0'])
    for (const one of many.slice(1, 20_000)) keeper.remove(one)
    expect(keeper.problems).toEqual([expect.stringContaining('100 are not even remembered')])
  })
})
