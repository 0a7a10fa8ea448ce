/**
 * Which names the kubelet takes for extended resources: a domain that is not Kubernetes' own, a slash, a name; and the whole must
 * still be a qualified name when quotas put `requests.` before it. Source: kubernetes
 * pkg/apis/core/v1/helper/helpers.go (IsExtendedResourceName), 1.36.
 */

const LABEL = '[a-z0-9]([-a-z0-9]*[a-z0-9])?'
const DOMAIN = new RegExp(`^${LABEL}(\\.${LABEL})*$`)
const NAME = /^[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$/
const QUOTA_PREFIX = 'requests.'

export function isExtendedResourceName(name: string): boolean {
  if (name.includes('kubernetes.io/') || name.startsWith(QUOTA_PREFIX)) return false
  const [domain, local, ...more] = name.split('/')
  if (domain === undefined || local === undefined || more.length > 0) return false
  const quotaDomain = QUOTA_PREFIX + domain
  return quotaDomain.length <= 253 && DOMAIN.test(quotaDomain) && local.length <= 63 && NAME.test(local)
}
