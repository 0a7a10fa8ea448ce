/**
 * Random histories of a node, over real sockets: kubelets that restart, connections that break, sockets that vanish, capacity that
 * moves, pods that come and go, agents that are replaced. Whatever happened, what the kubelet sees must never have crashed it, and
 * must be right again once all is quiet (kubernetes pkg/kubelet/cm/devicemanager, 1.36).
 */
import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { readdirSync, rmSync } from 'node:fs'
import type { Server, Socket } from 'node:net'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import * as fc from 'fast-check'
import { afterAll, beforeAll, expect, it } from 'vitest'
import type { DevicePlugins } from '../../src/kubelet/index.ts'
import type { OfflineResource } from '../../src/model/index.ts'
import type { AdmissionResult, KubeletStandIn } from '../../src/sim/kubelet/index.ts'
import { eventually, fullName, healthyIds, makeKubelet, makePlugins, pod, temporaryDirectory, units } from './kubelet-fixture.ts'

const RUNS = 500
/** A history waits for half of its time: so many go on beside each other, each on a node of its own. */
const CHAINS = 2
const MAX_UNITS = 12
const RESOURCES = ['be-cpu', 'ot-memory'] as const
/** The production values are made for kubelets that restart now and then, not every few milliseconds. */
const TIMINGS = { streamGraceMs: 300, settleMs: 10, backOffFirstMs: 2 }
/** Older than anything that is taken for still under way. */
const LONG_MS = 100_000

type Action =
  | { readonly do: 'restart the kubelet'; readonly downMs: number; readonly gapMs: number }
  | { readonly do: 'break the connections' }
  | { readonly do: 'remove the sockets' }
  | { readonly do: 'replace the agent' }
  | { readonly do: 'publish'; readonly beCpu: number; readonly otMemory: number }
  | { readonly do: 'admit'; readonly resource: (typeof RESOURCES)[number]; readonly units: number; readonly waits: boolean }
  | { readonly do: 'remove a pod'; readonly which: number }
  | { readonly do: 'wait'; readonly ms: number }
  | { readonly do: 'wait until all is quiet' }

const amount = fc.integer({ min: 0, max: MAX_UNITS + 3 })
const shortMs = fc.constantFrom(0, 0, 1, 5, 25)

const action: fc.Arbitrary<Action> = fc.oneof(
  fc.record({ do: fc.constant('restart the kubelet' as const), downMs: shortMs, gapMs: shortMs }),
  fc.record({
    do: fc.constantFrom('break the connections' as const, 'remove the sockets' as const, 'replace the agent' as const),
  }),
  { weight: 2, arbitrary: fc.record({ do: fc.constant('publish' as const), beCpu: amount, otMemory: amount }) },
  {
    weight: 3,
    arbitrary: fc.record({
      do: fc.constant('admit' as const),
      resource: fc.constantFrom(...RESOURCES),
      units: fc.integer({ min: 1, max: 4 }),
      waits: fc.boolean(),
    }),
  },
  fc.record({ do: fc.constant('remove a pod' as const), which: fc.nat({ max: 9 }) }),
  fc.record({ do: fc.constant('wait' as const), ms: shortMs }),
  { weight: 2, arbitrary: fc.record({ do: fc.constant('wait until all is quiet' as const) }) },
)

/** The plugin's ends of all connections, of which a test can't get hold otherwise. */
const connections = new Set<Socket & { readonly server?: Server }>()

function onConnection(message: unknown): void {
  const { socket } = message as { socket: Socket }
  connections.add(socket)
  socket.once('close', () => connections.delete(socket))
}

beforeAll(() => subscribe('net.server.socket', onConnection))
afterAll(() => void unsubscribe('net.server.socket', onConnection))

class Node {
  readonly #directory = temporaryDirectory()
  readonly #podResourcesDirectory = temporaryDirectory()
  readonly #tellsHoldings: boolean
  readonly #kubelet: KubeletStandIn
  readonly #admissions: Promise<unknown>[] = []
  /** Device IDs of admitted pods, by uid. */
  readonly #held = new Map<string, readonly { readonly resource: OfflineResource; readonly ids: readonly string[] }[]>()
  #plugins: DevicePlugins
  #published = units({ 'be-cpu': 6, 'ot-memory': 6 })
  #pods = 0
  #aheadMs = 0

  /** Whether the agent can read the kubelet's pod-resources. */
  constructor(tellsHoldings: boolean) {
    this.#tellsHoldings = tellsHoldings
    this.#kubelet = makeKubelet(this.#directory, { podResourcesDirectory: this.#podResourcesDirectory })
    this.#plugins = this.#makePlugins()
  }

  async start(): Promise<void> {
    await this.#kubelet.start()
    await this.#startPlugins()
    await this.#quiet()
  }

  async stop(): Promise<void> {
    await this.#plugins.stop()
    await this.#kubelet.stop()
  }

  async act(step: Action): Promise<void> {
    switch (step.do) {
      case 'restart the kubelet':
        return this.#kubelet.restart(step)
      case 'break the connections':
        return this.#breakConnections()
      case 'remove the sockets':
        for (const name of readdirSync(this.#directory)) {
          if (name.startsWith('kube-agent-')) rmSync(join(this.#directory, name), { force: true })
        }
        return
      case 'replace the agent':
        await this.#plugins.stop()
        this.#plugins = this.#makePlugins()
        return this.#startPlugins()
      case 'publish':
        this.#published = units({ 'be-cpu': step.beCpu, 'ot-memory': step.otMemory })
        return this.#plugins.publish(this.#published)
      case 'admit': {
        const admission = this.#admit(step.resource, step.units)
        if (step.waits) await admission
        return
      }
      case 'remove a pod': {
        const uid = [...this.#held.keys()][step.which]
        if (uid === undefined) return
        this.#held.delete(uid)
        return this.#kubelet.remove(uid)
      }
      case 'wait':
        return sleep(step.ms)
      case 'wait until all is quiet':
        return this.#quiet()
    }
  }

  /** Waits until nothing is under way, and checks what then has to hold. */
  async rest(): Promise<void> {
    await this.#quiet()
    this.#expectPromisesKept()
    // Without pod-resources a release is a guess, and may be wrong about which device it was.
    if (!this.#tellsHoldings) return
    // Long after, with what pods hold confirmed by the kubelet: whatever was released has been noticed.
    for (let look = 0; look < 2; look += 1) await this.#lookAgain()
    await eventually(
      () =>
        this.#problem() === undefined &&
        RESOURCES.every((resource) => this.#allocated(resource) === this.#heldIds(resource).length),
      () => [this.#problem(), this.#plugins.allocatedUnits(), [...this.#held.values()]],
      15_000,
    )
    this.#expectPromisesKept()
  }

  async #quiet(): Promise<void> {
    await Promise.all(this.#admissions)
    await eventually(
      () => this.#problem() === undefined,
      () => [this.#problem(), this.#plugins.states()],
      15_000,
    )
  }

  #expectPromisesKept(): void {
    expect(this.#kubelet.violations).toEqual([])
    for (const resource of RESOURCES) {
      expect(this.#allocated(resource)).toBeLessThanOrEqual(healthyIds(this.#kubelet, fullName(resource)).length)
      expect(this.#kubelet.devices(fullName(resource)).size).toBeLessThanOrEqual(MAX_UNITS)
    }
  }

  /** What is not yet as it has to be at rest. */
  #problem(): string | undefined {
    const astray = this.#plugins.states().find(({ registered, streams }) => !registered || streams !== 1)
    if (astray !== undefined) return `${astray.resource} is registered: ${astray.registered}, with ${astray.streams} streams`
    for (const resource of RESOURCES) {
      const promised = Math.max(Math.min(this.#published[resource], MAX_UNITS), this.#allocated(resource))
      const advertised = this.#plugins.advertisedUnits()[resource]
      if (advertised !== promised) return `${resource}: ${advertised} units advertised instead of ${promised}`
      const seen = healthyIds(this.#kubelet, fullName(resource))
      if (seen.length !== promised) return `${resource}: the kubelet sees ${seen.length} units instead of ${promised}`
      const unhealthy = this.#heldIds(resource).find((id) => !seen.includes(id))
      if (unhealthy !== undefined) return `${resource}: ${unhealthy} is held and unhealthy`
    }
    return undefined
  }

  async #lookAgain(): Promise<void> {
    const { lastAtMs = 0 } = this.#plugins.podResources()
    this.#aheadMs += LONG_MS
    const listed = units(Object.fromEntries(RESOURCES.map((resource) => [resource, this.#heldIds(resource).length])))
    if (RESOURCES.every((resource) => this.#allocated(resource) <= listed[resource])) return
    this.#plugins.retainAllocations(listed, performance.now() + this.#aheadMs)
    await eventually(() => {
      this.#plugins.retainAllocations(listed, performance.now() + this.#aheadMs)
      const { lastAtMs: atMs = 0 } = this.#plugins.podResources()
      return atMs > lastAtMs || RESOURCES.every((resource) => this.#allocated(resource) <= listed[resource])
    })
  }

  #heldIds(resource: OfflineResource): readonly string[] {
    return [...this.#held.values()].flat().flatMap((holding) => (holding.resource === resource ? holding.ids : []))
  }

  #allocated(resource: OfflineResource): number {
    return this.#plugins.allocatedUnits()[resource]
  }

  async #admit(resource: OfflineResource, count: number): Promise<void> {
    const uid = `pod-${(this.#pods += 1)}`
    const admission = this.#kubelet.admit(pod(uid, { [fullName(resource)]: count })).then((result: AdmissionResult) => {
      if (!result.admitted) return
      const ids = result.containers.flatMap(({ devices }) => devices[fullName(resource)] ?? [])
      this.#held.set(uid, [{ resource, ids }])
    })
    this.#admissions.push(admission)
    return admission
  }

  #breakConnections(): void {
    for (const socket of connections) {
      const address: unknown = socket.server?.address()
      if (typeof address === 'string' && address.startsWith(join(this.#directory, 'kube-agent-'))) socket.destroy()
    }
  }

  #makePlugins(): DevicePlugins {
    return makePlugins(this.#directory, {
      resources: RESOURCES.map((resource) => ({ resource, fullName: fullName(resource), qosClass: 'BE' })),
      maxUnits: MAX_UNITS,
      pushMs: 5,
      timings: TIMINGS,
      ...(this.#tellsHoldings ? { podResourcesDirectory: this.#podResourcesDirectory } : {}),
      now: () => performance.now() + this.#aheadMs,
    })
  }

  async #startPlugins(): Promise<void> {
    await this.#plugins.start()
    this.#plugins.publish(this.#published)
  }
}

it(`keeps the kubelet alive and rightly informed through ${RUNS} random histories`, { timeout: 240_000 }, async () => {
  let broken = 0
  const holds = fc.asyncProperty(
    fc.boolean(),
    fc.array(action, { minLength: 3, maxLength: 10 }),
    async (tellsHoldings, history) => {
      const node = new Node(tellsHoldings)
      await node.start()
      try {
        for (const step of history) {
          if (step.do === 'break the connections') broken += connections.size
          await node.act(step)
        }
        await node.rest()
      } finally {
        await node.stop()
      }
    },
  )
  const { seed = 1 } = fc.readConfigureGlobal()
  const chains = Array.from({ length: CHAINS }, (_, chain) => fc.assert(holds, { numRuns: RUNS / CHAINS, seed: seed + chain }))
  await Promise.all(chains)
  // Otherwise the way to get at them has changed, and nothing was broken.
  expect(broken).toBeGreaterThan(0)
})
