import * as v from 'valibot'

/** A block of settings. It may be left out; its settings then have their defaults. */
export const block = <Entries extends v.ObjectEntries>(entries: Entries) =>
  v.optional(v.strictObject(entries), {} as v.InferInput<v.StrictObjectSchema<Entries, undefined>>)
