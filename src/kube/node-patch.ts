/**
 * What the agent says about the node, and the patches that make a Node object say it: pure. A patch is worked out against what the API server
 * last showed, not against what was last sent, so leftovers of an agent before this one, and settings switched off since, mend themselves.
 * The conditions are in node-conditions.ts. Source: k8s.io/api/core/v1 Taint; Kubernetes API conventions, 1.36.
 */
import { type NodeSignals, parseCpuQuantity, parseMemoryQuantity } from '../model/index.ts'
import { type Condition, CONDITIONS, type ConditionType, STOPPED, timestamp } from './node-conditions.ts'

const EFFECT = 'PreferNoSchedule'
const MIB = 1024 * 1024
/** Steps below which a number that moved is not worth a write: each goes to all who watch nodes, in every cluster component. */
const SCORE_STEP = 10
/** Of the node's capacity. */
const HEADROOM_STEP = 0.1

type Json = Readonly<Record<string, unknown>>

export interface Switches {
  readonly condition: boolean
  readonly annotations: boolean
  readonly hotLabel: boolean
  readonly hotTaint: boolean
}

export interface Capacity {
  readonly milliCpu: number
  readonly bytes: number
}

/** What is to be said. `hot` is undefined when the agent can't tell, or stops telling. */
export interface NodeWish {
  readonly hot: boolean | undefined
  readonly reason: string
  readonly message: string
  /** Whether a pod has no CPUs of its own for want of room; undefined when the agent can't tell, or stops telling. */
  readonly short?: boolean
  readonly numbers?: { readonly score: number; readonly milliCpu: number; readonly bytes: number }
  readonly capacity: Capacity
}

/** The part of a Node that the agent cares about, as the API server last showed it. */
export interface NodeView {
  readonly resourceVersion: string
  readonly conditions: Readonly<Partial<Record<ConditionType, Condition>>>
  /** Ours only, by the name behind the slash. */
  readonly annotations: Readonly<Record<string, string>>
  readonly hotLabel: string | undefined
  /** Everybody's, in full. */
  readonly taints: readonly Json[]
}

/** The texts are the same for the same state, so that a condition and an event are not rewritten for a number that moved. */
const MESSAGES: Readonly<Record<NodeSignals['reason'], string>> = {
  CpuAboveWatermark: 'CPU use of the node stays above the watermark for colocation; offline pods are held back',
  MemoryAboveWatermark: 'Memory use of the node stays above the watermark for colocation; the node has no room for offline pods',
  WithinWatermarks: 'CPU and memory use of the node are within the watermarks for colocation',
}

export function wishOf(signals: NodeSignals, capacity: Capacity): NodeWish {
  const { hot, reason, score, headroomMilli, headroomBytes } = signals
  const numbers = { score: Math.round(score), milliCpu: Math.floor(headroomMilli), bytes: headroomBytes }
  return { hot, reason, message: MESSAGES[reason], numbers, capacity }
}

const NO_CAPACITY: Capacity = { milliCpu: 0, bytes: 0 }

/** The rule is switched off, or has had no reading since the agent started. */
export const SILENT_WISH: NodeWish = {
  hot: undefined,
  reason: 'NoSignals',
  message: 'kube-agent has no readings of the node, or its rule nodeSignals is off',
  capacity: NO_CAPACITY,
}

export const WITHDRAWN_WISH: NodeWish = {
  hot: undefined,
  ...STOPPED,
  capacity: NO_CAPACITY,
}

const isJson = (value: unknown): value is Json => typeof value === 'object' && value !== null && !Array.isArray(value)
const objectOf = (value: unknown): Json => (isJson(value) ? value : {})
const textOf = (value: unknown): string => (typeof value === 'string' ? value : '')
const listOf = (value: unknown): Json[] => (Array.isArray(value) ? (value as unknown[]).filter(isJson) : [])

function conditionOf(condition: Json): Condition {
  return {
    status: textOf(condition['status']),
    reason: textOf(condition['reason']),
    message: textOf(condition['message']),
    transitionAt: textOf(condition['lastTransitionTime']),
  }
}

/** Throws an Error when the answer is no Node: writing on from there could take other people's taints away. */
export function viewOf(answer: unknown, domain: string): NodeView {
  const node = objectOf(answer)
  const metadata = objectOf(node['metadata'])
  const resourceVersion = textOf(metadata['resourceVersion'])
  if (node['kind'] !== 'Node' || resourceVersion === '')
    throw new Error('the API server has answered with something other than a Node')
  const prefix = `${domain}/`
  const own = NAMES.map((name) => [name, objectOf(metadata['annotations'])[prefix + name]] as const)
  const listed = listOf(objectOf(node['status'])['conditions'])
  const conditions = CONDITIONS.flatMap((name) => {
    const condition = listed.find(({ type }) => type === name)
    return condition === undefined ? [] : [[name, conditionOf(condition)] as const]
  })
  const hotLabel = objectOf(metadata['labels'])[`${prefix}hot`]
  return {
    resourceVersion,
    conditions: Object.fromEntries(conditions),
    annotations: Object.fromEntries(own.filter((entry): entry is [AnnotationName, string] => typeof entry[1] === 'string')),
    hotLabel: typeof hotLabel === 'string' ? hotLabel : undefined,
    taints: listOf(objectOf(node['spec'])['taints']),
  }
}

const NAMES = ['score', 'headroom-cpu', 'headroom-memory', 'signals-at'] as const
type AnnotationName = (typeof NAMES)[number]

/** A merge patch of our annotations and our label, both in one; undefined when neither is worth a write. */
export function metadataPatch(
  wish: NodeWish,
  view: NodeView,
  context: { readonly switches: Switches; readonly domain: string; readonly wallMs: number },
): unknown {
  const { switches, domain, wallMs } = context
  const { numbers } = wish
  const label = switches.hotLabel && wish.hot === true ? 'true' : undefined
  const relabel = label !== view.hotLabel
  const shown = switches.annotations && numbers !== undefined
  const present = Object.keys(view.annotations)
  const annotate = shown ? relabel || movedEnough(numbers, view.annotations, wish.capacity) : present.length > 0
  if (!relabel && !annotate) return undefined
  const annotations = shown ? texts(numbers, wallMs) : Object.fromEntries(present.map((name) => [name, null]))
  const named = Object.entries(annotations).map(([name, text]) => [`${domain}/${name}`, text])
  return {
    metadata: {
      ...(named.length > 0 ? { annotations: Object.fromEntries(named) as Json } : {}),
      ...(relabel ? { labels: { [`${domain}/hot`]: label ?? null } } : {}),
    },
  }
}

type Numbers = NonNullable<NodeWish['numbers']>

const texts = ({ score, milliCpu, bytes }: Numbers, wallMs: number): Record<AnnotationName, string> => ({
  score: String(score),
  'headroom-cpu': `${milliCpu}m`,
  'headroom-memory': `${Math.floor(bytes / MIB)}Mi`,
  'signals-at': timestamp(wallMs),
})

function movedEnough(numbers: Numbers, shown: NodeView['annotations'], capacity: Capacity): boolean {
  const moved = (name: AnnotationName, value: number, step: number, parse: (text: string) => number): boolean => {
    const old = parsed(shown[name], parse)
    if (old === undefined) return true
    if (old === value) return false
    return (old === 0) !== (value === 0) || Math.abs(old - value) >= step
  }
  const shownBytes = Math.floor(numbers.bytes / MIB) * MIB
  return (
    moved('score', numbers.score, SCORE_STEP, Number) ||
    moved('headroom-cpu', numbers.milliCpu, HEADROOM_STEP * capacity.milliCpu, parseCpuQuantity) ||
    moved('headroom-memory', shownBytes, HEADROOM_STEP * capacity.bytes, parseMemoryQuantity)
  )
}

function parsed(text: string | undefined, parse: (text: string) => number): number | undefined {
  if (text === undefined || text === '') return undefined
  try {
    const value = parse(text)
    return Number.isFinite(value) ? value : undefined
  } catch {
    return undefined
  }
}

export const wantsTaint = (wish: NodeWish, { hotTaint }: Switches): boolean => hotTaint && wish.hot === true

/** Kubernetes: a taint is known by key and effect; one with our key and another effect is somebody else's. */
const isOurs = (taint: Json, domain: string): boolean => taint['key'] === `${domain}/hot` && taint['effect'] === EFFECT

export const hasTaint = (view: NodeView, domain: string): boolean => view.taints.some((taint) => isOurs(taint, domain))

/**
 * A merge patch with the whole list, since Kubernetes replaces it whole. The resource version makes it fail when somebody has changed the node
 * in between.
 */
export function taintPatch(wanted: boolean, view: NodeView, domain: string): unknown {
  const others = view.taints.filter((taint) => !isOurs(taint, domain))
  const taints = wanted ? [...others, { key: `${domain}/hot`, effect: EFFECT }] : others
  return { metadata: { resourceVersion: view.resourceVersion }, spec: { taints: taints.length === 0 ? null : taints } }
}
