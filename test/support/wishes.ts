/** Random wishes for the trees of trees.ts: values for the knobs of their groups, each from raw numbers of its own. */
import * as fc from 'fast-check'
import { merge } from '../../src/decide/merge.ts'
import type { Claim, Desired, KnobKind, KnobSetting } from '../../src/model/index.ts'
import { micros, MIN_QUOTA_US } from '../../src/model/index.ts'
import type { ModelKernel } from '../../src/sim/index.ts'
import { limitsOf, mask, periodUs, quotaMilli, type Tree, withoutSome } from './trees.ts'

/** One wish: a group by its number (modulo how many there are) and raw numbers for one knob. */
export interface RawWish {
  readonly group: number
  readonly kind: Exclude<KnobKind, 'burst' | 'qosLevel'>
  readonly mask: number
  readonly amount: number
  readonly periodUs: number
}

export const rawWish: fc.Arbitrary<RawWish> = fc.record({
  group: fc.nat(30),
  kind: fc.constantFrom(
    'quota',
    'quota',
    'cpuset',
    'cpuset',
    'weight',
    'idle',
    'memoryMax',
    'bvt',
    'offline',
    'btShares',
    'coreCookie',
    'memoryHigh',
    'memoryLow',
    'memoryMin',
    'memorySoft',
    'ioWeight',
    'ioMax',
    'ioMax',
    'freeze',
  ),
  mask,
  amount: quotaMilli,
  periodUs,
})

/** Up to twenty wishes, several of which may be for one knob. */
export const rawWishes = fc.array(rawWish, { maxLength: 20 })

export function settingOf(raw: RawWish, kernel: ModelKernel): KnobSetting {
  switch (raw.kind) {
    case 'quota': {
      const quotaUs = micros(Math.max(MIN_QUOTA_US, Math.floor((raw.amount * raw.periodUs) / 1000)))
      return { kind: 'quota', value: { quotaUs, periodUs: micros(raw.periodUs) } }
    }
    case 'cpuset':
      return { kind: 'cpuset', value: withoutSome(kernel.readTopology().online, raw.mask) }
    case 'weight':
      return { kind: 'weight', value: Math.min(10_000, Math.max(2, raw.amount)) }
    case 'idle':
      return { kind: 'idle', value: raw.mask % 4 === 0 ? 0 : 1 }
    case 'bvt':
      return { kind: 'bvt', value: (raw.mask % 4) - 1 }
    case 'coreCookie':
      return { kind: 'coreCookie', value: raw.mask % 2 }
    case 'offline':
      return { kind: 'offline', value: raw.mask % 2 }
    case 'btShares':
      return { kind: 'btShares', value: Math.max(2, raw.amount) }
    case 'memoryMax':
    case 'memoryHigh':
    case 'memoryLow':
    case 'memoryMin':
    case 'memorySoft':
      return { kind: raw.kind, value: (1 + raw.amount) * 2 ** 20 }
    case 'ioWeight':
      return { kind: 'ioWeight', value: 1 + (raw.mask % 1000) }
    case 'ioMax':
      return { kind: 'ioMax', value: limitsOf(raw.mask, raw.amount) }
    case 'freeze':
      return { kind: 'freeze', value: raw.mask % 2 }
  }
}

/** The wishes as merged claims: groups that are not there any more are left out. */
export function desiredOf(wishes: readonly RawWish[], tree: Tree): Desired {
  return merge(
    wishes.flatMap((raw): Claim[] => {
      const group = tree.groups[raw.group % tree.groups.length]
      if (group === undefined || !tree.kernel.exists(group)) return []
      // The offline root gets a quota only: the kubelet rewrites its weight.
      if (group === tree.groups[0] && raw.kind !== 'quota') return []
      if (!tree.kernel.capabilities.knobs[raw.kind].usable) return []
      return [{ ...settingOf(raw, tree.kernel), group, rule: 'limits', because: { code: 'identity.idle', qosClass: 'OT' } }]
    }),
  )
}
