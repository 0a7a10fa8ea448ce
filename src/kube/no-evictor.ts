/** Stands where nobody can be asked to evict pods, and says why. */
import { type EvictionsView, type Evictor, NO_EVICTIONS } from '../model/index.ts'

export class NoEvictor implements Evictor {
  readonly #view: EvictionsView

  /** `impossible` is the reason, as it is shown. */
  constructor(impossible: string) {
    this.#view = { ...NO_EVICTIONS, impossible }
  }

  evict(): void {
    // The rules wish for nothing where it is impossible.
  }

  view(): EvictionsView {
    return this.#view
  }
}
