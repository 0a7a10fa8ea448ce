/**
 * RBAC as the API server enforces it: before it even looks whether the resource exists.
 * Source: kubernetes pkg/apis/rbac/v1/evaluation_helpers.go, k8s.io/apiserver pkg/endpoints/handlers/responsewriters/errors.go, 1.36.
 */
import { StatusError } from './objects.ts'

/** A rule of a Role or ClusterRole, as it stands in a manifest. */
export interface RbacRule {
  readonly apiGroups?: readonly string[]
  readonly resources?: readonly string[]
  readonly resourceNames?: readonly string[]
  readonly nonResourceURLs?: readonly string[]
  readonly verbs: readonly string[]
}

export const ALLOW_ALL: readonly RbacRule[] = [{ apiGroups: ['*'], resources: ['*'], verbs: ['*'] }]

export interface Attributes {
  readonly verb: string
  readonly group: string
  readonly resource: string
  readonly subresource: string
  readonly namespace: string
  readonly name: string
}

const grants = (list: readonly string[] | undefined, wanted: string): boolean =>
  list !== undefined && (list.includes(wanted) || list.includes('*'))

export function allows(rules: readonly RbacRule[], asked: Attributes): boolean {
  const full = asked.subresource === '' ? asked.resource : `${asked.resource}/${asked.subresource}`
  return rules.some(
    (rule) =>
      grants(rule.verbs, asked.verb) &&
      grants(rule.apiGroups, asked.group) &&
      (grants(rule.resources, full) ||
        (asked.subresource !== '' && rule.resources?.includes(`*/${asked.subresource}`) === true)) &&
      (rule.resourceNames === undefined || rule.resourceNames.length === 0 || rule.resourceNames.includes(asked.name)),
  )
}

export function forbidden(user: string, asked: Attributes): StatusError {
  const full = asked.subresource === '' ? asked.resource : `${asked.resource}/${asked.subresource}`
  const subject = asked.name === '' ? `${asked.resource} is` : `${asked.resource} "${asked.name}" is`
  const scope = asked.namespace === '' ? 'at the cluster scope' : `in the namespace "${asked.namespace}"`
  const message = `${subject} forbidden: User "${user}" cannot ${asked.verb} resource "${full}" in API group "${asked.group}" ${scope}`
  return new StatusError(403, 'Forbidden', message, { details: { name: asked.name, kind: asked.resource } })
}

export const forbiddenPath = (user: string, verb: string, path: string): StatusError =>
  new StatusError(403, 'Forbidden', `forbidden: User "${user}" cannot ${verb} path "${path}"`)
