/** What a run has to undo, and what ends it. */
import { messageOf } from '../model/index.ts'
import type { Logger } from '../record/index.ts'
import { cameEarly } from './early-signals.ts'

/** Steps to be undone last first, however the run ends. One that fails is logged and keeps no other from being undone. */
export class Teardown {
  readonly #steps: (() => void | Promise<void>)[] = []
  /** Whether a step has given up a call into the kernel that did not return: Node would wait for its thread when the process ends. */
  hangs = false

  add(step: () => void | Promise<void>): void {
    this.#steps.push(step)
  }

  async run(logger: Logger): Promise<void> {
    for (const step of this.#steps.splice(0).reverse()) {
      try {
        await step()
      } catch (thrown) {
        logger.error({ error: messageOf(thrown) }, 'could not be undone while stopping')
      }
    }
  }
}

export interface StopSignal {
  readonly promise: Promise<void>
  readonly asked: boolean
}

const STOP_SIGNALS = ['SIGTERM', 'SIGINT'] as const

/** Resolves on the first signal that asks to stop, also on one that came before (early-signals.ts); further ones change nothing. */
export function stopSignal(): StopSignal {
  let asked = false
  const promise = new Promise<void>((resolve) => {
    const stop = (): void => {
      asked = true
      resolve()
    }
    for (const signal of STOP_SIGNALS) process.on(signal, stop)
    if (cameEarly(...STOP_SIGNALS)) stop()
  })
  return {
    promise,
    get asked() {
      return asked
    },
  }
}
