/** Leaves out what is undefined: exactOptionalPropertyTypes tells a missing key from one that holds undefined. */

/** The entries that have a value. */
export function defined<Entries extends object>(entries: Entries): { [Key in keyof Entries]?: Exclude<Entries[Key], undefined> } {
  return Object.fromEntries(Object.entries(entries).filter(([, value]) => value !== undefined)) as {
    [Key in keyof Entries]?: Exclude<Entries[Key], undefined>
  }
}
