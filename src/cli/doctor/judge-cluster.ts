/** Judges where the pods come from, the API server, the agent's own address, and the configuration itself. Pure: facts in, findings out. */
import { adviceOn, type Config } from '../../config/index.ts'
import { ERRORS } from '../../model/index.ts'
import { count } from '../../record/index.ts'
import type { NodeFacts } from './facts.ts'
import { type Finding, findingsOf, kebab } from './finding.ts'

/** The settings that are on and have to do with an API server; `server` is empty for none. */
export function usesOfApi({ pods, cluster, evict }: Config, server: string): readonly string[] {
  const { events, condition, annotations, hotLabel, hotTaint } = cluster
  const switches = { events, condition, annotations, hotLabel, hotTaint }
  const told = Object.entries(switches).flatMap(([name, isOn]) => (isOn ? [`cluster.${name}`] : []))
  return [
    ...(pods.source === 'api' || (pods.source === 'auto' && server !== '') ? ['pods.source'] : []),
    ...told,
    ...(evict.enabled ? ['evict.enabled'] : []),
  ]
}

export function judgeCluster({ pods, api, http }: NodeFacts, config: Config): readonly Finding[] {
  return [podsFinding(pods), apiFinding(api, config), ...conditionFindings(api, config), ...httpFindings(http, config)]
}

function podsFinding(pods: NodeFacts['pods']): Finding {
  const { fail, note, ok, warn } = findingsOf('cluster')
  const id = 'pod-source'
  if ('problem' in pods) return fail(id, pods.problem, pods.hint)
  const [problem, ...others] = pods.problems
  const more = others.length === 0 ? '' : ` (and ${others.length} more)`
  if (!pods.everRead) {
    const why = problem === undefined ? `${pods.source} has not answered within a few seconds` : `${problem}${more}`
    return fail(
      id,
      `no pods are known: ${why}`,
      'See to that, or take the pods from elsewhere: pods.source (api, kubelet, directory).',
    )
  }
  const found = `${count(pods.pods, 'pod')} from ${pods.source}`
  if (problem !== undefined)
    return warn(id, `${found}; ${problem}${more}`, 'See to what is named; pods that are not known are left alone.')
  if (pods.pods > 0) return ok(id, found)
  return note(id, `${found}: nothing to limit or place yet`)
}

function apiFinding({ server, nodeName, problem }: NodeFacts['api'], config: Config): Finding {
  const { note, ok, warn } = findingsOf('cluster')
  const id = 'api-server'
  const uses = usesOfApi(config, server)
  if (uses.length === 0) return ok(id, 'not asked: nothing that is switched on needs it (cluster.*, evict.enabled, pods.source)')
  if (server === '') {
    const found = `none, so not asked: it runs outside a cluster; without effect are ${uses.join(', ')}`
    return note(id, found, 'Set cluster.server, cluster.tokenFile and cluster.caFile, if this node has a cluster.')
  }
  if (problem === undefined) return ok(id, `${server} takes the token and knows the node ${nodeName}`)
  const remedy = `Check cluster.server, cluster.tokenFile, cluster.caFile, node.name and the roles. Until then without effect: ${uses.join(', ')}.`
  return warn(id, problem, remedy)
}

/** Nothing where the server itself is the matter: the finding about it says what is without effect. */
function conditionFindings({ condition, problem, server }: NodeFacts['api'], { cluster }: Config): readonly Finding[] {
  const { note, ok, warn } = findingsOf('cluster')
  const id = 'node-condition'
  if (!cluster.condition) {
    const found = 'cluster.condition is false: kubectl describe node does not tell of a hot node, or of an agent in trouble'
    return server === '' ? [] : [note(id, found, 'Set cluster.condition: true, with the right to patch nodes/status.')]
  }
  if (condition === undefined || problem !== undefined) return []
  if (condition === 'permitted')
    return [ok(id, 'ColocationHot and ColocationDegraded are kept in mode enforce; the token may patch nodes/status')]
  const remedy =
    'Grant patch of nodes/status to the service account (the chart does, with rbac.create), or set cluster.condition: false.'
  return [warn(id, `the conditions of the node can't be written: ${condition.problem}`, remedy)]
}

function httpFindings(http: NodeFacts['http'], { http: { enabled, host, port } }: Config): readonly Finding[] {
  const { fail, note, ok } = findingsOf('cluster')
  if (!enabled) return [note('http-address', "http.enabled is false: status, explain and metrics can't be asked for")]
  const isLoopback = /^(?:127\.\d+\.\d+\.\d+|::1|localhost)$/.test(host)
  const exposed = isLoopback
    ? []
    : [
        note(
          'http-exposure',
          `http.host is ${host}: whoever reaches it can read all pages, without a password`,
          'Set http.host: 127.0.0.1 where only this node needs them.',
        ),
      ]
  const address = `${host} port ${port}`
  if (http === 'other')
    return [fail('http-address', `something that is no agent answers at ${address}`, ERRORS.E_HTTP_LISTEN.hint), ...exposed]
  return [ok('http-address', http === 'agent' ? `an agent answers at ${address}` : `${address} is free`), ...exposed]
}

export function judgeConfig(config: Config): readonly Finding[] {
  const { note, ok, warn } = findingsOf('config')
  const advice = adviceOn(config).map((line) => {
    // Each line begins with the setting, and ends with what to do.
    const cut = line.lastIndexOf('. ', line.length - 2)
    const [key = ''] = line.split(':')
    return warn(`config-${kebab(key)}`, line.slice(0, cut), line.slice(cut + 2))
  })
  const mode =
    config.mode === 'enforce'
      ? ok('config-mode', 'mode enforce')
      : note(
          'config-mode',
          `mode ${config.mode}: nothing is written and nothing sold; all of the above is judged as for enforce, which needs rights and mounts that the pod of an observing agent has not`,
          'When it looks right: mode: enforce.',
        )
  return [mode, ...(advice.length === 0 ? [ok('config-advice', 'nothing in it that is probably not meant')] : advice)]
}
