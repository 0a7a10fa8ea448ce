/**
 * What somebody asks about: a pod, a CPU, a resource, a knob or a group, in the spellings that come to mind (`pod default/web`,
 * `pod/default/web`, `cpu 3`, `be-cpu`). A subject that does not exist is answered with the nearest that do.
 */
import type { GroupPath, OfflineResource } from '../../model/index.ts'
import { AgentError, OFFLINE_RESOURCES } from '../../model/index.ts'

export type Subject =
  | { readonly is: 'pod'; readonly key: string }
  | { readonly is: 'cpu'; readonly id: number }
  | { readonly is: 'resource'; readonly resource: OfflineResource }
  | { readonly is: 'group'; readonly group: GroupPath }
  /** `place` is a group, a path on this node that ends in one, or a pod; `name` a kind of knob or its kernel file. */
  | { readonly is: 'knob'; readonly place: string; readonly name: string }
  /** One word, which may be the name of anything. */
  | { readonly is: 'word'; readonly word: string }

/** The words that a subject begins with, each with an example. */
const EXAMPLES = {
  pod: 'pod shop/web',
  cpu: 'cpu 3',
  resource: 'resource be-cpu',
  knob: 'knob shop/web quota',
  group: 'group /kubepods/besteffort',
} as const
const SUBJECT_WORDS = Object.keys(EXAMPLES)

/** Longer texts name nothing; the bound also caps what the comparison with near matches costs. */
const MAX_TEXT = 512

/**
 * Reads `pod NAMESPACE/NAME`, `cpu N`, `resource NAME`, `knob /PATH/FILE` or `group /PATH`, with a space or a slash after the first word;
 * the word may be left out for a pod, a resource and a group. Throws AgentError E_NO_SUBJECT.
 */
export function parseSubject(text: string): Subject {
  const trimmed = text.trim()
  if (trimmed === '' || trimmed.length > MAX_TEXT) throw new AgentError('E_NO_SUBJECT', 'nothing to explain: no subject given')
  if (trimmed.startsWith('/')) return { is: 'group', group: withoutEnd(trimmed) }
  const [, kind = '', rest = ''] = /^(pod|cpu|resource|knob|group)(?:\s+|\/)(.*)$/s.exec(trimmed) ?? []
  switch (kind) {
    case 'pod':
      return { is: 'pod', key: rest }
    case 'cpu':
      return cpuSubject(rest)
    case 'resource':
      return resourceSubject(rest)
    case 'knob':
      return knobSubject(rest)
    case 'group':
      return { is: 'group', group: withoutEnd(rest.startsWith('/') ? rest : `/${rest}`) }
    default:
      return looseSubject(trimmed)
  }
}

function looseSubject(text: string): Subject {
  const resource = asResource(text)
  if (resource !== undefined) return { is: 'resource', resource }
  const [first = '', ...rest] = text.split(/\s+/)
  if (rest.length === 0 && isSubjectWord(first))
    throw new AgentError('E_NO_SUBJECT', `which ${first}? As in: explain ${EXAMPLES[first]}`)
  if (rest.length === 0) return text.includes('/') ? { is: 'pod', key: text } : { is: 'word', word: text }
  const meant = nearMatches(first, SUBJECT_WORDS)[0]
  const suggestion = meant === undefined ? '' : `; did you mean ${[meant, ...rest].join(' ')}?`
  throw new AgentError('E_NO_SUBJECT', `not a pod, CPU, resource, knob or group: ${JSON.stringify(text)}${suggestion}`)
}

function isSubjectWord(word: string): word is keyof typeof EXAMPLES {
  return Object.hasOwn(EXAMPLES, word)
}

/** `PATH/FILE` or `PLACE NAME`. */
function knobSubject(text: string): Subject {
  const [first = '', second, ...more] = text.split(/\s+/)
  if (more.length > 0 || first === '') throw notAKnob(text)
  if (second !== undefined) return { is: 'knob', place: withoutEnd(first), name: second }
  const cut = first.lastIndexOf('/')
  if (cut < 0) throw notAKnob(text)
  return { is: 'knob', place: cut === 0 ? '/' : first.slice(0, cut), name: first.slice(cut + 1) }
}

function notAKnob(text: string): AgentError {
  return new AgentError('E_NO_SUBJECT', `not a knob: ${JSON.stringify(text)}`, {
    hint: 'Name its file (knob /kubepods/besteffort/cpu.max), or a group or pod and a kind (knob shop/web quota).',
  })
}

/** The error for a word that may be anything, with what it may have meant: resources, and pods by their name in any namespace. */
export function unknownWord(word: string, pods: readonly string[]): AgentError {
  const near = [
    ...nearMatches(word, OFFLINE_RESOURCES).map((resource) => `resource ${resource}`),
    ...pods.filter((pod) => nearMatches(word, [pod.slice(pod.indexOf('/') + 1)]).length > 0).map((pod) => `pod ${pod}`),
  ]
  const suggestion = near.length === 0 ? '' : `; near matches: ${near.slice(0, MAX_MATCHES).join(', ')}`
  return new AgentError('E_NO_SUBJECT', `not a pod, CPU, resource, knob or group: ${JSON.stringify(word)}${suggestion}`)
}

function withoutEnd(group: string): string {
  return group.length > 1 && group.endsWith('/') ? group.slice(0, -1) : group
}

function cpuSubject(text: string): Subject {
  if (!/^\d{1,5}$/.test(text)) throw new AgentError('E_NO_SUBJECT', `not the number of a CPU: ${JSON.stringify(text)}`)
  return { is: 'cpu', id: Number(text) }
}

function resourceSubject(text: string): Subject {
  const resource = asResource(text)
  if (resource === undefined) throw noSubject('resource', text, OFFLINE_RESOURCES)
  return { is: 'resource', resource }
}

/** With or without its domain. */
function asResource(text: string): OfflineResource | undefined {
  const name = text.slice(text.lastIndexOf('/') + 1)
  return OFFLINE_RESOURCES.find((resource) => resource === name)
}

/** The error for a subject that is not there, with the near matches among those that are. */
export function noSubject(kind: string, name: string, known: readonly string[]): AgentError {
  const near = nearMatches(name, known)
  const suggestion = near.length === 0 ? '' : `; near matches: ${near.join(', ')}`
  return new AgentError('E_NO_SUBJECT', `no ${kind} ${JSON.stringify(name)}${suggestion}`)
}

const MAX_MATCHES = 3
const MAX_SLIPS = 3

/** Up to three names that contain the word, are contained in it, or are a few slips away; nearest first. */
function nearMatches(word: string, names: readonly string[]): readonly string[] {
  const wanted = word.toLowerCase()
  if (wanted === '') return []
  return names
    .map((name) => ({ name, slips: distance(wanted, name.toLowerCase()) }))
    .filter(({ slips }) => slips <= MAX_SLIPS)
    .sort((a, b) => a.slips - b.slips || (a.name < b.name ? -1 : 1))
    .slice(0, MAX_MATCHES)
    .map(({ name }) => name)
}

/** A part of the name counts as one slip: people leave out namespaces and generated endings. */
function distance(word: string, name: string): number {
  if (name.includes(word) || word.includes(name)) return 1
  if (Math.abs(word.length - name.length) > MAX_SLIPS) return Infinity
  let last = Array.from({ length: name.length + 1 }, (_, column) => column)
  for (let row = 1; row <= word.length; row++) {
    const current = [row]
    for (let column = 1; column <= name.length; column++) {
      const change = (last[column - 1] ?? 0) + (word[row - 1] === name[column - 1] ? 0 : 1)
      current.push(Math.min((last[column] ?? 0) + 1, (current[column - 1] ?? 0) + 1, change))
    }
    // No row has a smaller least than the one before it: long names that differ early are not compared to their ends.
    if (Math.min(...current) > MAX_SLIPS) return Infinity
    last = current
  }
  return last[name.length] ?? Infinity
}
