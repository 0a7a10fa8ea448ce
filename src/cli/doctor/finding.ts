/** What `doctor` has to say: one finding for each thing it looks at, as data. */

/** Parts of the node, in the order in which they are shown. */
export const AREAS = [
  'kernel',
  'cpus',
  'cgroups',
  'knobs',
  'identity',
  'pressure',
  'kubelet',
  'permissions',
  'state',
  'cluster',
  'config',
] as const
export type Area = (typeof AREAS)[number]

/**
 * `ok`: as it should be. `note`: worth knowing, and no harm. `warn`: the agent does its main job with a loss. `fail`: it can't do it here.
 */
export const STATES = ['ok', 'note', 'warn', 'fail'] as const
export type State = (typeof STATES)[number]

interface Seen {
  /** Stable from version to version: kebab-case, unique. */
  readonly id: string
  readonly area: Area
  /** What was found, with its real values. */
  readonly found: string
}

/** A finding that costs something always says what to do about it. */
export type Finding = Seen &
  ({ readonly state: 'ok' | 'note'; readonly remedy?: string } | { readonly state: 'warn' | 'fail'; readonly remedy: string })

/** Makers of the findings of one area. */
export interface Makers {
  readonly ok: (id: string, found: string) => Finding
  readonly note: (id: string, found: string, remedy?: string) => Finding
  readonly warn: (id: string, found: string, remedy: string) => Finding
  readonly fail: (id: string, found: string, remedy: string) => Finding
}

export function findingsOf(area: Area): Makers {
  return {
    ok: (id, found) => ({ id, area, state: 'ok', found }),
    note: (id, found, remedy) => ({ id, area, state: 'note', found, ...(remedy === undefined ? {} : { remedy }) }),
    warn: (id, found, remedy) => ({ id, area, state: 'warn', found, remedy }),
    fail: (id, found, remedy) => ({ id, area, state: 'fail', found, remedy }),
  }
}

/** `memoryMax` and `placement.reservedCpus` as parts of an id: `memory-max`, `placement-reserved-cpus`. */
export function kebab(name: string): string {
  return name
    .replaceAll(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)
    .replaceAll(/[^a-z0-9]+/g, '-')
    .replace(/^-|-$/g, '')
}
