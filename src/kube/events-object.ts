/**
 * An Event object of core/v1. Its name follows from what it says about whom, in the form of client-go (`name.hex`): an agent that restarts
 * finds the event of the one before it under the same name instead of writing another.
 * Source: client-go tools/record/event.go (makeEvent), kubernetes pkg/apis/core/validation/events.go (limits), 1.36; kubectl describe looks
 * for events of a node under its UID and under its name as UID, older ones under the name alone, which is what the kubelet writes.
 */
import { createHash } from 'node:crypto'
import { timestamp } from './node-conditions.ts'

export interface EventAbout {
  readonly kind: 'Pod' | 'Node'
  /** Empty for a node. */
  readonly namespace: string
  readonly name: string
  readonly uid: string
}

export interface ClusterEvent {
  readonly about: EventAbout
  readonly type: 'Normal' | 'Warning'
  /** CamelCase, for machines. */
  readonly reason: string
  readonly message: string
}

export const COMPONENT = 'kube-agent'
const MAX_REASON = 128
const MAX_MESSAGE_BYTES = 1024
const MAX_NAME = 253
const HASH_DIGITS = 16

export const aboutNode = (node: string): EventAbout => ({ kind: 'Node', namespace: '', name: node, uid: node })

/** Two events with one key are the same event seen twice. */
export function eventKey({ about, reason, message }: ClusterEvent): string {
  return [about.kind, about.namespace, about.name, about.uid, reason, message].join('\n')
}

export const aboutKey = ({ kind, namespace, name }: EventAbout): string => `${kind}/${namespace}/${name}`

/** Kubernetes: an object without a namespace has its events in `default`. */
export const eventNamespace = ({ namespace }: EventAbout): string => (namespace === '' ? 'default' : namespace)

export function eventName(event: ClusterEvent): string {
  const hash = createHash('sha256').update(eventKey(event)).digest('hex').slice(0, HASH_DIGITS)
  const name = event.about.name.slice(0, MAX_NAME - HASH_DIGITS - 1).replace(/[^a-z0-9]+$/, '')
  return `${name}.${hash}`
}

/** Within the limits of Kubernetes, so that a long text is cut by us and not refused by the server. */
export function trimmed(event: ClusterEvent): ClusterEvent {
  const { reason, message } = event
  if (reason.length <= MAX_REASON && Buffer.byteLength(message) <= MAX_MESSAGE_BYTES) return event
  return { ...event, reason: reason.slice(0, MAX_REASON), message: cutToBytes(message, MAX_MESSAGE_BYTES) }
}

function cutToBytes(text: string, maxBytes: number): string {
  if (Buffer.byteLength(text) <= maxBytes) return text
  const bytes = Buffer.from(text).subarray(0, maxBytes - 3)
  // A character cut in two comes out as U+FFFD.
  return `${bytes.toString('utf8').replace(/\uFFFD+$/, '')}…`
}

export interface EventTimes {
  readonly firstWallMs: number
  readonly lastWallMs: number
  readonly count: number
}

export function eventObject(event: ClusterEvent, name: string, node: string, times: EventTimes): unknown {
  const { about, type, reason, message } = event
  const namespace = about.namespace === '' ? {} : { namespace: about.namespace }
  return {
    apiVersion: 'v1',
    kind: 'Event',
    metadata: { name, namespace: eventNamespace(about) },
    involvedObject: { apiVersion: 'v1', kind: about.kind, ...namespace, name: about.name, uid: about.uid },
    reason,
    message,
    type,
    source: { component: COMPONENT, host: node },
    reportingComponent: COMPONENT,
    reportingInstance: node.slice(0, 128),
    firstTimestamp: timestamp(times.firstWallMs),
    lastTimestamp: timestamp(times.lastWallMs),
    count: times.count,
  }
}
