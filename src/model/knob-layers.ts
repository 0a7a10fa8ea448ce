/**
 * A table of knobs in two layers: one that stays the same object for many ticks, and what this tick puts over it. So a tick makes only what
 * has changed, and who walks the table can tell that the layer below was walked before.
 */
import type { GroupPath } from './groups.ts'
import type { KnobKind, ReadonlyKnobTable } from './knob.ts'

/** Read like any table: groups of the base first, in their order. Neither layer may change any more. */
export class KnobLayers<T> implements ReadonlyKnobTable<T> {
  readonly base: ReadonlyKnobTable<T>
  /** Entries here stand in place of those of the base. */
  readonly top: ReadonlyKnobTable<T>

  constructor(base: ReadonlyKnobTable<T>, top: ReadonlyKnobTable<T>) {
    this.base = base
    this.top = top
  }

  get(group: GroupPath, kind: KnobKind): T | undefined {
    return this.top.get(group, kind) ?? this.base.get(group, kind)
  }

  *groups(): Generator<GroupPath> {
    yield* this.base.groups()
    for (const group of this.top.groups()) if (this.base.ofGroup(group) === undefined) yield group
  }

  ofGroup(group: GroupPath): ReadonlyMap<KnobKind, T> | undefined {
    const [below, above] = [this.base.ofGroup(group), this.top.ofGroup(group)]
    return below === undefined || above === undefined ? (above ?? below) : new Map([...below, ...above])
  }

  *entries(): Generator<readonly [GroupPath, KnobKind, T]> {
    for (const group of this.groups()) for (const [kind, entry] of this.ofGroup(group) ?? []) yield [group, kind, entry]
  }

  forEach(visit: (group: GroupPath, kind: KnobKind, entry: T) => void): void {
    this.base.forEach((group, kind, entry) => visit(group, kind, this.top.get(group, kind) ?? entry))
    this.top.forEach((group, kind, entry) => {
      if (this.base.get(group, kind) === undefined) visit(group, kind, entry)
    })
  }

  get size(): number {
    let size = this.base.size
    this.top.forEach((group, kind) => {
      if (this.base.get(group, kind) === undefined) size += 1
    })
    return size
  }
}
