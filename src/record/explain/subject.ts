/**
 * What somebody asks about: a pod, a CPU, a resource or a group, in the spellings that come to mind (`pod default/web`,
 * `pod/default/web`, `cpu 3`, `be-cpu`). A subject that does not exist is answered with the nearest that do.
 */
import type { GroupPath, OfflineResource } from '../../model/index.ts'
import { AgentError, OFFLINE_RESOURCES } from '../../model/index.ts'

export type Subject =
  | { readonly is: 'pod'; readonly key: string }
  | { readonly is: 'cpu'; readonly id: number }
  | { readonly is: 'resource'; readonly resource: OfflineResource }
  | { readonly is: 'group'; readonly group: GroupPath }

/** Longer texts name nothing; the bound also caps what the comparison with near matches costs. */
const MAX_TEXT = 512

/**
 * Reads `pod NAMESPACE/NAME`, `cpu N`, `resource NAME` or `group /PATH`, with a space or a slash after the first word; the word
 * may be left out for a pod, a resource and a group. Throws AgentError E_NO_SUBJECT.
 */
export function parseSubject(text: string): Subject {
  const trimmed = text.trim()
  if (trimmed === '' || trimmed.length > MAX_TEXT) throw new AgentError('E_NO_SUBJECT', 'nothing to explain: no subject given')
  if (trimmed.startsWith('/')) return { is: 'group', group: withoutEnd(trimmed) }
  const [, kind = '', rest = ''] = /^(pod|cpu|resource|group)(?:\s+|\/)(.*)$/s.exec(trimmed) ?? []
  switch (kind) {
    case 'pod':
      return { is: 'pod', key: rest }
    case 'cpu':
      return cpuSubject(rest)
    case 'resource':
      return resourceSubject(rest)
    case 'group':
      return { is: 'group', group: withoutEnd(rest.startsWith('/') ? rest : `/${rest}`) }
    default: {
      const resource = asResource(trimmed)
      if (resource !== undefined) return { is: 'resource', resource }
      if (trimmed.includes('/')) return { is: 'pod', key: trimmed }
      throw new AgentError('E_NO_SUBJECT', `not a pod, CPU, resource or group: ${JSON.stringify(trimmed)}`)
    }
  }
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
    last = current
  }
  return last[name.length] ?? Infinity
}
