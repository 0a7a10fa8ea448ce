/**
 * The kinds of value a setting may hold. Each function makes one leaf of the schema: its check, its default and its one-line
 * description, with the unit and range written from the very numbers that are enforced, so that a generated reference can't lie.
 * Messages say what was expected and what was found; where it was found is known to load.ts only.
 */
import * as v from 'valibot'
import { CpuSet } from '../cpu/index.ts'
import { messageOf, permyriad, QOS_CLASSES, redact, type QosClass } from '../model/index.ts'
import { nearest } from './nearest.ts'

const MAX_SHOWN = 60

/** A value of unknown type in at most some 60 characters, for messages: without what looks like a secret, which would end in a log. */
export function showValue(value: unknown): string {
  if (value === null || value === undefined) return 'nothing'
  if (typeof value === 'string') {
    // Before it is cut: a URL without its end does not look like one with a password.
    const { text: safe } = redact(value)
    return JSON.stringify(safe.length > MAX_SHOWN ? `${safe.slice(0, MAX_SHOWN)}…` : safe)
  }
  if (typeof value === 'number' || typeof value === 'boolean') return String(value)
  return Array.isArray(value) ? 'a list' : 'a mapping'
}

/** A key as it is if it could be one, else quoted and cut, so that no key of a file can forge lines of a message. */
export function showKey(key: string): string {
  return /^[\w./-]{1,60}$/.test(key) ? key : showValue(key)
}

/** What a setting may hold, as JSON Schema (draft 2020-12) says it: written from the same numbers and patterns that are enforced. */
export type JsonShape = Readonly<Record<string, unknown>>

/** Marks a leaf with its shape, for json-schema.ts. */
const shaped = <Value>(shape: JsonShape) => v.metadata<Value, { readonly json: JsonShape }>({ json: shape })

interface Mismatch {
  readonly input: unknown
}

const expected = (what: string) => (issue: Mismatch) => `expected ${what}, got ${showValue(issue.input)}`

interface Range {
  readonly min: number
  readonly max: number
  /** Stands before the range in the description; empty for plain counts. */
  readonly unit: string
}

const whole = ({ min, max, unit }: Range, says: string) => {
  const message = expected(`an integer from ${min} to ${max}`)
  return v.pipe(
    v.number(message),
    v.integer(message),
    v.minValue(min, message),
    v.maxValue(max, message),
    v.description(`${says} (${unit === '' ? '' : `${unit}, `}${min} to ${max})`),
    shaped({ type: 'integer', minimum: min, maximum: max }),
  )
}

/** A whole number of things. */
export const count = (byDefault: number, min: number, max: number, says: string) =>
  v.optional(whole({ min, max, unit: '' }, says), byDefault)

/** A time in milliseconds. */
export const ms = (byDefault: number, min: number, max: number, says: string) =>
  v.optional(whole({ min, max, unit: 'ms' }, says), byDefault)

/** A size in bytes. */
export const byteCount = (byDefault: number, min: number, max: number, says: string) =>
  v.optional(whole({ min, max, unit: 'bytes' }, says), byDefault)

/** A share in hundredths of a percent, from `min` to 10000. */
export const share = (byDefault: number, min: number, says: string, max = 10_000) =>
  v.optional(v.pipe(whole({ min, max, unit: 'permyriad' }, says), v.transform(permyriad)), byDefault)

export const flag = (byDefault: boolean, says: string) =>
  v.optional(
    v.pipe(v.boolean(expected('true or false')), v.description(`${says} (true or false)`), shaped({ type: 'boolean' })),
    byDefault,
  )

export const choice = <const Name extends string>(names: readonly Name[], byDefault: NoInfer<Name>, says: string) => {
  const one = names.join(', ')
  const schema = v.pipe(v.picklist(names, expected(`one of ${one}`)), v.description(`${says} (${one})`), shaped({ enum: names }))
  return v.optional(schema, byDefault)
}

interface TextRule {
  readonly pattern: RegExp
  /** What a matching text is, with its article: `an absolute path`. */
  readonly what: string
}

/** Kernel and Kubernetes names, by the grammar of each. */
export const ABSOLUTE_PATH: TextRule = {
  pattern: /^(?=.{1,4096}$)\/(?:(?!\.{1,2}(?:\/|$))[^/\p{Cc}]+(?:\/(?!$)|$))*$/u,
  what: 'an absolute path without "." or ".." parts, "//" or a "/" at its end',
}
export const NODE_NAME: TextRule = {
  pattern: /^$|^(?=.{1,253}$)[a-z0-9](?:[-a-z0-9]*[a-z0-9])?(?:\.[a-z0-9](?:[-a-z0-9]*[a-z0-9])?)*$/,
  what: 'the name of a Kubernetes node, or empty',
}
export const HTTPS_URL: TextRule = {
  pattern: /^$|^https:\/\/(?:\[[0-9A-Fa-f:]+\]|[A-Za-z0-9](?:[-A-Za-z0-9.]*[A-Za-z0-9])?)(?::[0-9]{1,5})?$/,
  what: 'a URL such as https://10.0.0.1:6443 without a path',
}
export const LABEL_KEY: TextRule = {
  pattern: /^(?:(?=[^/]{1,253}\/)[a-z0-9](?:[-a-z0-9.]*[a-z0-9])?\/)?(?=[^/]{1,63}$)[A-Za-z0-9](?:[-\w.]*[A-Za-z0-9])?$/,
  what: 'a Kubernetes label key such as example.com/class',
}
// Kubernetes: IsExtendedResourceName (pkg/apis/core/v1/helper) refuses kubernetes.io and adds "requests." for quotas.
export const RESOURCE_DOMAIN: TextRule = {
  pattern:
    /^(?!requests\.)(?!.*kubernetes\.io$)(?=.{1,244}$)[a-z0-9](?:[-a-z0-9]*[a-z0-9])?(?:\.[a-z0-9](?:[-a-z0-9]*[a-z0-9])?)*$/,
  what: 'a DNS domain outside kubernetes.io',
}
// Kubernetes: a qualified name, which with "requests." and the domain before it must still be one.
export const RESOURCE_NAME: TextRule = {
  pattern: /^(?=.{1,63}$)[A-Za-z0-9](?:[-A-Za-z0-9_.]*[A-Za-z0-9])?$/,
  what: 'a name such as be-cpu: at most 63 letters, digits, "-", "_" and "."',
}
export const LISTEN_HOST: TextRule = { pattern: /^[0-9A-Za-z.:-]{1,253}$/, what: 'an IP address or host name' }

/** A text of one grammar. YAML makes numbers of some names, so the message tells how to write them. */
export const text = (byDefault: string, rule: TextRule, says: string) => {
  const message = (issue: Mismatch) => {
    const unquoted = typeof issue.input === 'number' || typeof issue.input === 'boolean'
    return `${expected(rule.what)(issue)}${unquoted ? ' (put it in quotes)' : ''}`
  }
  const shape = shaped<string>({ type: 'string', pattern: rule.pattern.source })
  return v.optional(v.pipe(v.string(message), v.regex(rule.pattern, message), v.description(says), shape), byDefault)
}

/** Runs a parser that throws on bad text; its message becomes the issue. Numbers are texts that YAML has already read. */
const parsedText = <Value>(what: string, parse: (text: string) => Value) =>
  v.pipe(
    v.union([v.string(), v.number()], expected(what)),
    v.rawTransform<string | number, Value>(({ dataset, addIssue, NEVER }) => {
      try {
        return parse(String(dataset.value))
      } catch (thrown) {
        addIssue({ message: messageOf(thrown) })
        return NEVER
      }
    }),
  )

/** A list of CPUs as the kernel writes it. */
export const cpuList = (byDefault: string, says: string) =>
  v.optional(
    v.pipe(
      parsedText('a list of CPUs such as 0-3,8', (list) => CpuSet.parse(list)),
      v.description(`${says} (cpulist, such as 0-3,8; empty for none)`),
      // Ranges that run backwards are refused when the list is parsed.
      shaped({
        type: ['string', 'integer'],
        pattern: String.raw`^[\s,]*(?:\d+(?:-\d+(?::\d+/\d+)?)?(?:[\s,]+|$))*$`,
        minimum: 0,
      }),
    ),
    byDefault,
  )

/** A rate in so many a second, which may be unlimited: 0, or at least `min`. */
export const rate = ({ min, unit }: { readonly min: number; readonly unit: 'bytes' | '' }, says: string) => {
  const max = Number.MAX_SAFE_INTEGER
  const message = expected(`0 or an integer from ${min} to ${max}`)
  return v.optional(
    v.pipe(
      v.number(message),
      v.safeInteger(message),
      v.check((amount) => amount === 0 || amount >= min, message),
      v.description(`${says}; 0 for no limit, else at least ${min} (${unit === '' ? '' : `${unit}, `}0 to ${max})`),
      shaped({ type: 'integer', maximum: max, anyOf: [{ const: 0 }, { minimum: min }] }),
    ),
    0,
  )
}

/** Linux: the names of block devices begin with a letter; where sysfs has a "!", as in `cciss!c0d0`, /dev has a "/". */
const DEVICE = /^(?:[a-zA-Z][-\w.!]{0,63}|\d{1,4}:\d{1,7})$/
const MAX_DEVICES = 64

/** What is wrong with a list of devices; undefined when nothing is. */
function deviceProblem(list: unknown): string | undefined {
  const what = 'expected a list of block devices such as [nvme0n1, "259:3"]'
  if (!Array.isArray(list)) return `${what}, got ${showValue(list)}`
  if (list.length > MAX_DEVICES) return `${what}, at most ${MAX_DEVICES}, got ${list.length}`
  const odd = list.findIndex((device) => typeof device !== 'string' || !DEVICE.test(device))
  if (odd >= 0) return `${what}, got ${showValue(list[odd])} as number ${odd + 1} of it`
  const twice = list.find((device, index) => list.indexOf(device) !== index) as string | undefined
  return twice === undefined ? undefined : `${twice} is listed twice`
}

/** Block devices, by their names below /dev or by their numbers. Without a duplicate. */
export const deviceList = (says: string) =>
  v.optional(
    v.pipe(
      v.custom<readonly string[]>(
        (list) => deviceProblem(list) === undefined,
        ({ input }) => deviceProblem(input) ?? '',
      ),
      v.description(`${says} (list, such as [nvme0n1, "259:3"]; empty for none)`),
      shaped({
        type: ['array', 'null'],
        items: { type: 'string', pattern: DEVICE.source },
        maxItems: MAX_DEVICES,
        uniqueItems: true,
      }),
    ),
    () => [] as readonly string[],
  )

/** What is wrong with a list of some of `names`; undefined when nothing is. */
function namesProblem(list: unknown, names: readonly string[], what: string): string | undefined {
  if (!Array.isArray(list)) return `expected ${what}, got ${showValue(list)}`
  const odd = (list as readonly unknown[]).find((name) => !names.some((known) => known === name))
  if (odd !== undefined) {
    const meant = typeof odd === 'string' ? nearest(odd, names) : undefined
    return `expected ${what}, got ${showValue(odd)} in it${meant === undefined ? `; there are ${names.join(', ')}` : `; did you mean ${meant}?`}`
  }
  const twice = list.find((name, index) => list.indexOf(name) !== index) as string | undefined
  return twice === undefined ? undefined : `${twice} is listed twice`
}

/** Some of a few names, none by default, without a duplicate; `what` tells of the list, with an example. */
export const someOf = <const Name extends string>(names: readonly Name[], what: string, says: string) =>
  v.optional(
    v.pipe(
      v.custom<readonly Name[]>(
        (list) => namesProblem(list, names, what) === undefined,
        ({ input }) => namesProblem(input, names, what) ?? '',
      ),
      v.description(`${says} (list of ${names.join(', ')}; empty for none)`),
      shaped({ type: ['array', 'null'], items: { enum: names }, uniqueItems: true }),
    ),
    () => [] as readonly Name[],
  )

/** Kubernetes: the grammar of apimachinery's resource.Quantity above zero. */
const QUANTITY = String.raw`^\+?(?:\d+\.?\d*|\.\d+)(?:[numkMGTPE]|[KMGTPE]i|[eE][-+]?\d+)?$`

/** A Kubernetes quantity above zero, in the unit that `parse` gives. */
export const quantity = <Amount extends number>(byDefault: string, parse: (text: string) => Amount, says: string) => {
  const what = `a Kubernetes quantity above zero such as ${byDefault}`
  const positive = v.check<Amount, string>((amount) => amount > 0, `expected ${what}, got 0`)
  return v.optional(
    v.pipe(
      parsedText(what, parse),
      positive,
      v.description(`${says} (Kubernetes quantity above zero)`),
      shaped<Amount>({ type: ['string', 'number'], exclusiveMinimum: 0, pattern: QUANTITY }),
    ),
    byDefault,
  )
}

const isQosClass = (value: unknown): value is QosClass => QOS_CLASSES.some((qosClass) => qosClass === value)

/** What the names in a mapping to classes are. */
export interface NameRule {
  readonly pattern: RegExp
  readonly what: string
}
export const NAMESPACES: NameRule = { pattern: /^(?=.{1,63}$)[a-z0-9](?:[-a-z0-9]*[a-z0-9])?$/, what: 'namespace' }
export const PRIORITY_CLASSES: NameRule = {
  pattern: /^(?=.{1,253}$)[a-z0-9](?:[-a-z0-9.]*[a-z0-9])?$/,
  what: 'priority class',
}
export const LEVELS: NameRule = { pattern: /^P[0-4]$/, what: 'level' }

/**
 * Names and the class of their pods; those that are left out have what `byDefault` says. Not v.record: it drops the keys `constructor` and
 * `prototype`, which are good names for namespaces; and the result has no prototype, so that looking up such a name finds nothing.
 */
export const classesByName = ({ pattern, what }: NameRule, byDefault: Readonly<Record<string, QosClass>>, says: string) => {
  const isMapping = (value: unknown) => typeof value === 'object' && value !== null && !Array.isArray(value)
  const classes = v.rawTransform<Readonly<Record<string, unknown>>, Record<string, QosClass>>(({ dataset, addIssue }) => {
    const byName: Record<string, QosClass> = Object.assign(Object.create(null) as Record<string, QosClass>, byDefault)
    for (const [key, value] of Object.entries(dataset.value)) {
      const path: [v.ObjectPathItem] = [{ type: 'object', origin: 'value', input: dataset.value, key, value }]
      if (!pattern.test(key)) addIssue({ message: `not the name of a ${what}: ${showValue(key)}`, path })
      else if (isQosClass(value)) byName[key] = value
      else addIssue({ message: expected(`one of ${QOS_CLASSES.join(', ')}`)({ input: value }), path })
    }
    return byName
  })
  const plural = what.endsWith('s') ? `${what}es` : `${what}s`
  const mapping = v.custom<Readonly<Record<string, unknown>>>(isMapping, expected(`a mapping of ${plural} to classes`))
  const shape = shaped<Record<string, QosClass>>({
    type: ['object', 'null'],
    propertyNames: { pattern: pattern.source },
    additionalProperties: { enum: QOS_CLASSES },
  })
  const description = v.description<Record<string, QosClass>, string>(`${says} (mapping; values: ${QOS_CLASSES.join(', ')})`)
  return v.optional(v.pipe(mapping, classes, description, shape), byDefault)
}
