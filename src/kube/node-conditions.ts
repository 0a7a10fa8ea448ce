/**
 * The conditions that the agent keeps of its node, and the patch that makes a Node object show them: pure. Worked out against what the API
 * server last showed, like the rest (node-patch.ts). A condition is written at once when its status or reason changes; a message that moved
 * alone, or a heartbeat, waits until the heartbeat is due, since every write of a Node goes to all who watch nodes.
 * Source: k8s.io/api/core/v1 NodeCondition; Kubernetes API conventions, "Typical status properties", 1.36; node-problem-detector.
 */
import { type Trouble, TROUBLES } from '../model/index.ts'

/** Hot: see NodeSignals. Short: pods that should have CPUs of their own run in the shared pool. Degraded: see Trouble. */
export const CONDITIONS = ['ColocationHot', 'ExclusiveCpusShort', 'ColocationDegraded'] as const
export type ConditionType = (typeof CONDITIONS)[number]

/** kube-apiserver takes messages of any length; this is what somebody reads. */
const MOST_CHARS = 1024

/** A condition as the API server shows it. */
export interface Condition {
  readonly status: string
  readonly reason: string
  readonly message: string
  /** RFC 3339; empty when there is none. */
  readonly transitionAt: string
}

/** A condition as it should be. */
export interface ConditionWish {
  readonly type: ConditionType
  /** Undefined: the agent can't tell, or stops telling. */
  readonly is: boolean | undefined
  readonly reason: string
  readonly message: string
  /** Said only once it has been true: most nodes never are. */
  readonly rare: boolean
}

type Json = Readonly<Record<string, unknown>>

/** The agent is stopped, and tells nothing any more. */
export const STOPPED = { reason: 'AgentStopped', message: 'kube-agent was stopped and has released the node' } as const

/** ColocationHot and ExclusiveCpusShort; `short` is undefined when the agent can't tell. */
export function signalConditions({
  hot,
  reason,
  message,
  short,
}: {
  readonly hot: boolean | undefined
  readonly reason: string
  readonly message: string
  readonly short?: boolean
}): readonly ConditionWish[] {
  return [
    { type: 'ColocationHot', is: hot, reason, message, rare: false },
    { type: 'ExclusiveCpusShort', is: short, ...roomText(short, { reason, message }), rare: true },
  ]
}

function roomText(short: boolean | undefined, unknown: Pick<ConditionWish, 'reason' | 'message'>) {
  if (short === undefined) return unknown
  if (!short) return { reason: 'RoomForAll', message: 'Every pod of class LSX or LSR has CPUs of its own' }
  return {
    reason: 'NoRoom',
    message: 'Pods of class LSX or LSR run in the shared pool: there are not enough free CPUs; their events name them',
  }
}

/** ColocationDegraded, from everything that keeps the agent from its work: the worst is the reason, the message tells all. */
export function degradedCondition(troubles: readonly Trouble[] | 'stopped'): ConditionWish {
  const type = 'ColocationDegraded'
  if (troubles === 'stopped') return { type, is: undefined, ...STOPPED, rare: false }
  const sorted = [...troubles].sort((a, b) => TROUBLES.indexOf(a.reason) - TROUBLES.indexOf(b.reason))
  const [worst] = sorted
  if (worst === undefined)
    return { type, is: false, reason: 'AgentWorks', message: 'kube-agent does all of its work on this node', rare: false }
  const message = sorted.map(({ reason, text }, index) => (index === 0 ? text : `${reason}: ${text}`)).join('; ')
  return { type, is: true, reason: worst.reason, message: cut(message), rare: false }
}

const cut = (text: string): string => (text.length <= MOST_CHARS ? text : `${text.slice(0, MOST_CHARS - 1)}…`)

export interface ConditionContext {
  readonly wanted: boolean
  readonly heartbeatDue: boolean
  /** Milliseconds since the epoch. */
  readonly wallMs: number
}

/** A strategic merge patch of the node's status; undefined when there is nothing to say. What is not wished for stays as it is. */
export function conditionPatch(
  wishes: readonly ConditionWish[],
  shown: Readonly<Partial<Record<ConditionType, Condition>>>,
  context: ConditionContext,
): unknown {
  const conditions = context.wanted
    ? wishes.flatMap((wish) => {
        const entry = entryOf(wish, shown[wish.type], context)
        return entry === undefined ? [] : [{ type: wish.type, ...entry }]
      })
    : CONDITIONS.flatMap((type) => (shown[type] === undefined ? [] : [{ type, $patch: 'delete' }]))
  return conditions.length === 0 ? undefined : { status: { conditions } }
}

function entryOf(
  { is, reason, message, rare }: ConditionWish,
  old: Condition | undefined,
  { heartbeatDue, wallMs }: ConditionContext,
): Json | undefined {
  // Nothing is to be known: not worth a condition where there is none.
  if (old === undefined && (is === undefined || (rare && !is))) return undefined
  const status = statusOf(is)
  const isNews = old?.status !== status || old.reason !== reason
  const isDue = heartbeatDue && (is !== undefined || old?.message !== message)
  if (!isNews && !isDue) return undefined
  const now = timestamp(wallMs)
  const transitionAt = old?.status === status && old.transitionAt !== '' ? old.transitionAt : now
  return { status, reason, message, lastHeartbeatTime: now, lastTransitionTime: transitionAt }
}

const statusOf = (is: boolean | undefined): string => (is === undefined ? 'Unknown' : is ? 'True' : 'False')

/** Kubernetes: metav1.Time has whole seconds. */
export const timestamp = (wallMs: number): string => `${new Date(wallMs).toISOString().slice(0, 19)}Z`
