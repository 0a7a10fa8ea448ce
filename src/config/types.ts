/**
 * The configuration as rules see it: validated, complete, deeply readonly, texts already parsed. A file of types alone, derived
 * from the schema, so that decide/ can name settings without valibot or yaml coming along at run time.
 */
import type { InferOutput } from 'valibot'
import type { CpuSet } from '../cpu/index.ts'
import type { ConfigSchema } from './schema.ts'

type DeepReadonly<Value> = Value extends CpuSet | string | number | boolean
  ? Value
  : { readonly [Key in keyof Value]: DeepReadonly<Value[Key]> }

/** Every setting with its value. Times in ms, shares in permyriad (0 to 10000), as the end of each name says. */
export type Config = DeepReadonly<InferOutput<typeof ConfigSchema>>
