/** Parsed JSON of others, taken as far as it goes: a field of something that is no object is absent. */

export type Json = Readonly<Record<string, unknown>>

export function asObject(value: unknown): Json {
  return typeof value === 'object' && value !== null ? (value as Json) : {}
}
