/**
 * What both ends of a recording remember of what has passed, so that a thing that comes again is a number. Objects are known by identity:
 * snapshots hand out the very objects of the tick before for what was not read again, and rules go by that. Two generations are kept: what
 * has not come again by the second `rotate` is forgotten, so memory is bounded by what two rounds hold. Both ends have to see the same calls.
 */

/** The writer's side: from a thing to its number. */
export class SeenThings {
  #young = new Map<unknown, number>()
  #old = new Map<unknown, number>()
  #next = 0

  /** The number of a thing that passed before; undefined for a new one. */
  find(thing: unknown): number | undefined {
    const young = this.#young.get(thing)
    if (young !== undefined) return young
    const old = this.#old.get(thing)
    if (old !== undefined) this.#young.set(thing, old)
    return old
  }

  /** Gives a new thing the next number. */
  add(thing: unknown): void {
    this.#young.set(thing, this.#next)
    this.#next += 1
  }

  rotate(): void {
    this.#old = this.#young
    this.#young = new Map()
  }
}

/** The reader's side: from a number to the thing. */
export class SeenNumbers {
  #young = new Map<number, unknown>()
  #old = new Map<number, unknown>()
  #next = 0

  /** The thing of a number. Throws RangeError for one that is not known. */
  get(number: number): unknown {
    if (this.#young.has(number)) return this.#young.get(number)
    if (!this.#old.has(number)) throw new RangeError(`thing ${number} was never told`)
    const thing = this.#old.get(number)
    this.#young.set(number, thing)
    return thing
  }

  /** Takes the next number, for a thing that is told by `tell` before anything refers to it. */
  reserve(): number {
    this.#next += 1
    return this.#next - 1
  }

  tell(number: number, thing: unknown): void {
    this.#young.set(number, thing)
  }

  rotate(): void {
    this.#old = this.#young
    this.#young = new Map()
  }
}
