/**
 * The model kernel held against the real one: the same tree in both, the same writes, and after each the same answer and the same values
 * everywhere. Knows no test runner, since the suite in the virtual machine (scripts/vm) runs on Node's own.
 */
import { existsSync, readdirSync } from 'node:fs'
import * as fc from 'fast-check'
import { CpuSet } from '../../src/cpu/index.ts'
import type { OpenedKernel } from '../../src/kernel/index.ts'
import {
  type Dialect,
  type GroupPath,
  identicalValue,
  IoLimits,
  type KnobKind,
  type KnobSetting,
  type KnobValue,
  parentGroup,
} from '../../src/model/index.ts'
import { ModelKernel } from '../../src/sim/index.ts'
import type { RealGroups } from './real-node.ts'
import { C, D, E, PLACES } from './places.ts'
import { anySetting } from './settings.ts'

/** Kernel: under v2 a group that hands out controllers may hold no process. */
const LEAVES: readonly number[] = [C, D, E]

const DISKS = '/sys/dev/block'

const COMPARED: Readonly<Record<Dialect, readonly KnobKind[]>> = {
  // Under v1 freezer.state of a child tells of its parents too.
  v1: ['quota', 'burst', 'idle', 'weight', 'memoryMax', 'memorySoft', 'ioWeight', 'ioMax', 'cpuset'],
  v2: [
    ...(['quota', 'burst', 'idle', 'weight', 'memoryMin', 'memoryLow', 'memoryHigh', 'memoryMax'] as const),
    ...(['ioWeight', 'ioMax', 'cpuset', 'freeze'] as const),
  ],
}

/** A tree on the real kernel and the same tree in the model. */
export class Twins {
  readonly #groups: RealGroups
  readonly #kernel: OpenedKernel['kernel']
  readonly #compared: readonly KnobKind[]
  readonly model: ModelKernel
  readonly names: readonly GroupPath[]
  readonly trace: string[] = []

  constructor(groups: RealGroups, kernel: OpenedKernel['kernel'], run: string) {
    this.#groups = groups
    this.#kernel = kernel
    const { dialect } = kernel.capabilities
    this.#compared = COMPARED[dialect].filter((kind) => kernel.capabilities.knobs[kind].usable)
    const missing = COMPARED[dialect].filter((kind) => !kernel.capabilities.knobs[kind].usable)
    this.model = new ModelKernel({ dialect, topology: kernel.readTopology(), missing })
    this.model.devices.clear()
    for (const disk of disksOf(kernel)) this.model.devices.set(disk, disk)
    groups.make(run)
    this.names = PLACES.map((path) => groups.make(run, ...path))
    for (const group of [parentGroup(groups.make(run)), ...this.names]) this.model.makeGroup(group)
  }

  /** Puts a process into one of the groups, in both. */
  populate(place: number): number {
    const group = this.names[place] ?? ''
    const found = this.model.groups.get(group)
    if (found !== undefined) found.populated = true
    return this.#groups.park(group)
  }

  async remove(place: number): Promise<void> {
    const group = this.names[place] ?? ''
    this.model.removeGroup(group)
    await this.#groups.sandbox.remove(group)
  }

  /** Does one write on both, and compares the answers and everything that can be read. Throws with the whole trace where they differ. */
  write(place: number, setting: KnobSetting): string {
    const group = this.names[place] ?? ''
    const real = this.#kernel.writeKnob(group, setting)
    const modelled = this.model.writeKnob(group, setting)
    this.trace.push(`${group} ${setting.kind} ${show(setting.value)} → ${JSON.stringify(real)}`)
    if (JSON.stringify(modelled) !== JSON.stringify(real)) this.#differ(`the model answers ${JSON.stringify(modelled)}`)
    for (const name of this.names) {
      for (const kind of this.#compared) {
        const [inReal, inModel] = [this.#kernel.readKnob(name, kind), this.model.readKnob(name, kind)]
        if (!identicalValue(inReal, inModel))
          this.#differ(`${name} ${kind}: the kernel reads ${show(inReal)}, the model ${show(inModel)}`)
      }
    }
    return real.is
  }

  #differ(how: string): never {
    throw new Error(`${how}, after\n${this.trace.join('\n')}`)
  }
}

/** Numbers of the disks of this machine. */
export function disksOf(kernel: Pick<OpenedKernel['kernel'], 'findDevice'>): string[] {
  const numbers = existsSync(DISKS) ? readdirSync(DISKS) : []
  return numbers.filter((number) => kernel.findDevice(number) !== undefined)
}

function show(value: KnobValue | undefined): string {
  if (value instanceof IoLimits) return `{${String(value)}}`
  return value instanceof CpuSet ? `{${String(value)}}` : (JSON.stringify(value) ?? 'nothing')
}

/** Thirty random writes in each of so many pairs of twins, with a process in one of the groups. */
export function compareAtRandom(groups: RealGroups, kernel: OpenedKernel['kernel'], numRuns: number): void {
  const { dialect } = kernel.capabilities
  const write = fc.record({ place: fc.nat(PLACES.length - 1), setting: anySetting(dialect, disksOf(kernel)) })
  const populated = dialect === 'v1' ? fc.nat(PLACES.length - 1) : fc.constantFrom(...LEAVES)
  let runs = 0
  fc.assert(
    fc.property(fc.array(write, { minLength: 30, maxLength: 30 }), populated, (writes, place) => {
      runs += 1
      const twins = new Twins(groups, kernel, `run-${runs}`)
      twins.populate(place)
      for (const { place, setting } of writes) twins.write(place, setting)
    }),
    { numRuns, endOnFailure: true },
  )
}
