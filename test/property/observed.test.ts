/** Rules that only observe, over random histories of a node: what they want changes nothing that is carried out. I83 of src/decide/SPEC.md. */
import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { Config } from '../../src/config/index.ts'
import { decide, EMPTY_MEMORY, type Memory } from '../../src/decide/index.ts'
import type { Decision, NodeSnapshot, ObservableRule } from '../../src/model/index.ts'
import { OBSERVABLE_RULES } from '../../src/model/index.ts'
import { configOf } from '../support/config.ts'
import { forLongHistories, type History } from '../support/histories.ts'

const SOON = { enterMs: 0, coolDownMs: 0 }

/** Everything on, so that every rule has something to want. */
function settingsOf({ settings }: History): Record<string, Record<string, unknown>> {
  return {
    ...settings,
    placement: { ...settings.placement, enabled: true, bePinning: 'exclusive' },
    burst: { enabled: true },
    suppressIo: { enabled: true },
    memoryHold: { ...SOON, enterPermyriad: 4800, exitPermyriad: 4900 },
    memoryHighOt: { ...SOON, enterPermyriad: 4700, exitPermyriad: 4850 },
    memoryHighBe: { ...SOON, enterPermyriad: 4600, exitPermyriad: 4800 },
    evict: { ...settings.evict, enabled: true, holdMs: 0 },
  }
}

function withoutRule(rule: ObservableRule, history: History): Config {
  const all = settingsOf(history)
  return configOf({ ...all, [rule]: { ...all[rule], ...(rule === 'own' ? { weight: false } : { enabled: false }) } })
}

/** All that others than the rule itself go by. */
function carriedOut({ desired, offers, evictions, placement, complete, signals, identity }: Decision): object {
  const knobs = [...desired.entries()].map(([group, kind, { setting, winner, losers }]) => {
    return { at: `${group} ${kind}`, value: setting.value, because: winner.because, losers: losers.map(({ rule }) => rule) }
  })
  return {
    knobs: knobs.sort((a, b) => (a.at < b.at ? -1 : 1)),
    offers,
    evictions: evictions.filter(({ dryRun }) => !dryRun),
    placement,
    complete,
    signals,
    identity,
  }
}

/** What is decided tick by tick under several configurations, of the same readings. */
function together(
  snapshots: readonly NodeSnapshot[],
  configs: readonly Config[],
  { moments }: History,
  check: (...decisions: Decision[]) => void,
): void {
  let memories: readonly Memory[] = configs.map(() => EMPTY_MEMORY)
  for (const [index, snapshot] of snapshots.entries()) {
    if (moments[index]?.restart === true) memories = configs.map(() => EMPTY_MEMORY)
    const decided = configs.map((config, which) => decide(snapshot, memories[which] ?? EMPTY_MEMORY, config))
    memories = decided.map(({ memory }) => memory)
    check(...decided.map(({ decision }) => decision))
  }
}

describe('a rule that only observes', () => {
  it.each(OBSERVABLE_RULES)('%s changes no more of what is carried out than one that is switched off (I83)', (rule) => {
    let wanted = 0
    forLongHistories((lived, history) => {
      const observing = configOf({ ...settingsOf(history), observeRules: [rule] })
      const snapshots = lived.map(({ snapshot }) => snapshot)
      together(snapshots, [observing, withoutRule(rule, history)], history, (observed, off) => {
        expect(carriedOut(observed)).toEqual(carriedOut(off))
        expect(observed.observed?.rules).toEqual([rule])
        wanted += (observed.observed?.desired.size ?? 0) + (observed.observed?.offers?.length ?? 0)
      })
    }, 25)
    // These want something of no knob, or of none on such nodes: evict of none at all, burst of throttled pods, own of the agent's group.
    if (!['evict', 'burst', 'own'].includes(rule)) expect(wanted).toBeGreaterThan(0)
  })

  it('tells exactly what would be desired of its knobs if it were enforced, beside any others (I83)', () => {
    // What others decide does not depend on these: enforced and observed, they see the same.
    const independent = ['identity', 'limits', 'suppressIo', 'burst'] as const
    const sets = fc.sample(fc.uniqueArray(fc.constantFrom(...independent), { minLength: 1 }), 40)
    let runs = 0
    let losses = 0
    forLongHistories((lived, history) => {
      const observeRules = sets[runs++ % sets.length] ?? []
      const configs = [configOf({ ...settingsOf(history), observeRules }), configOf(settingsOf(history))]
      const snapshots = lived.map(({ snapshot }) => snapshot)
      together(snapshots, configs, history, (observing, enforcing) => {
        for (const [group, kind, { setting, winner, losers }] of observing.observed?.desired.entries() ?? []) {
          const would = enforcing?.desired.get(group, kind)
          expect(setting.value).toEqual(would?.setting.value)
          expect(losers.length).toBe(would?.losers.length)
          if (!observeRules.some((rule) => rule === winner.rule)) losses += 1
        }
        for (const [group, kind, { winner }] of enforcing?.desired.entries() ?? [])
          if (observeRules.some((rule) => rule === winner.rule))
            expect(observing.observed?.desired.get(group, kind)?.winner).toEqual(winner)
      })
    }, 25)
    expect(losses).toBeGreaterThan(0)
  })
})
