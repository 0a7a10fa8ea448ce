/** Evictors and wishes, for tests that say only what matters to them. */
import { onTestFinished } from 'vitest'
import { ApiEvictor, type ApiEvictorOptions } from '../../../src/kube/evictor.ts'
import type { EvictionWish } from '../../../src/model/index.ts'
import { IMPATIENT } from './support.ts'

export const THRESHOLDS = { cpuEvict: 9500, memoryEvictOt: 700, memoryEvictBe: 500 }

const SETTINGS = { enabled: true, gracePeriodSeconds: 30, force: false, forceAfterMs: 60_000 }

export type EvictorChanges = Partial<Omit<ApiEvictorOptions, 'settings'>> & {
  readonly settings?: Partial<ApiEvictorOptions['settings']>
}

/** On the clocks of this machine, and with waits that are as good as none; closed when the test has finished. */
export function evictorOf(api: ApiEvictorOptions['api'], { settings, ...changes }: EvictorChanges = {}): ApiEvictor {
  const evictor = new ApiEvictor({
    api,
    thresholds: THRESHOLDS,
    graceSecondsOf: () => 30,
    clock: { monotonicMs: () => performance.now(), wallMs: () => Date.now() },
    backoffMs: IMPATIENT,
    ...changes,
    settings: { ...SETTINGS, ...settings },
  })
  onTestFinished(() => evictor.close())
  return evictor
}

interface Named {
  readonly name: string
  readonly namespace?: string | undefined
  readonly uid?: string | undefined
}

export const wishOf = ({ name, namespace = 'default', uid }: Named, changes: Partial<EvictionWish> = {}): EvictionWish => ({
  uid: uid ?? `uid-of-${name}`,
  namespace,
  name,
  qosClass: 'OT',
  rung: 'memoryEvictOt',
  dryRun: false,
  usesMilli: 1500,
  usesBytes: 512 * 2 ** 20,
  priority: 0,
  ...changes,
})
