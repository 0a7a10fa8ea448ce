/** Gathers the facts of this node, each within a bounded time and none by writing anything. */
import { dirname } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { surveyState } from '../../actuate/index.ts'
import { realNow } from '../../compose.ts'
import type { Config } from '../../config/index.ts'
import { surveyKernel } from '../../kernel/index.ts'
import { Cluster } from '../../kube/index.ts'
import { surveyKubelet } from '../../kubelet/index.ts'
import { AgentError, errnoOf, messageOf } from '../../model/index.ts'
import { addressOf, httpGet } from '../client.ts'
import { apiServerOf, nodeNameOf, openCluster } from '../cluster.ts'
import { VERSION } from '../version.ts'
import type { ApiSurvey, HttpSurvey, NodeFacts, PodsSurvey } from './facts.ts'
import { usesOfApi } from './judge-cluster.ts'

/** How long the API server, the pods and the HTTP address each get to answer. */
const PATIENCE_MS = 3000
const LOOK_MS = 50
const HTTP_MS = 1000
/** With these nothing has taken the connection. Anything else has, and is no agent. */
const UNREACHABLE: ReadonlySet<string> = new Set([
  'ECONNREFUSED',
  'EADDRNOTAVAIL',
  'EHOSTUNREACH',
  'ENETUNREACH',
  'ENOTFOUND',
  'EAI_AGAIN',
])

type Environment = Readonly<Record<string, string | undefined>>

export interface GatherOptions {
  readonly environment: Environment
  /** Of the kubelet, where its flags do not tell. */
  readonly kubeletConfig?: string | undefined
}

/** Looks at everything; takes some three seconds where something does not answer, and far less where all do. */
export async function gatherFacts(config: Config, { environment, kubeletConfig }: GatherOptions): Promise<NodeFacts> {
  const { paths, node } = config
  const kernel = surveyKernel({
    cgroupPath: paths.cgroup,
    procPath: paths.proc,
    sysPath: paths.sys,
    cgroupRoot: node.cgroupRoot,
    driver: node.cgroupDriver,
    coreScheduling: true,
  })
  const places = {
    devicePlugins: paths.devicePlugins,
    podResources: paths.podResources,
    rootDirectory: dirname(paths.devicePlugins),
    configFile: kubeletConfig,
    command: kernel.kubeletCommand,
  }
  const [kubelet, state, pods, api, http] = await Promise.all([
    surveyKubelet(places),
    surveyState(paths.state, kernel.bootId),
    surveyPods(config, environment),
    surveyApi(config, environment),
    config.http.enabled && config.http.port !== 0 ? surveyHttp(addressOf(config.http)) : undefined,
  ])
  return { kernel, kubelet, state, pods, api, http }
}

/** Opens the source that a run would open, and waits until it has read or complained. */
async function surveyPods(config: Config, environment: Environment): Promise<PodsSurvey> {
  try {
    const opened = openCluster(config, { writes: false, environment })
    try {
      const untilMs = realNow().nowMs + PATIENCE_MS
      for (;;) {
        const { source, everRead, pods, problems } = opened.pods.list()
        if (everRead || problems.length > 0 || realNow().nowMs > untilMs) return { source, everRead, pods: pods.length, problems }
        await sleep(LOOK_MS)
      }
    } finally {
      opened.close()
    }
  } catch (thrown) {
    if (!(thrown instanceof AgentError)) throw thrown
    return { problem: thrown.message, hint: thrown.hint }
  }
}

async function surveyApi(config: Config, environment: Environment): Promise<ApiSurvey> {
  const nodeName = nodeNameOf(config, environment)
  let server = ''
  try {
    server = apiServerOf(config, environment)
  } catch (thrown) {
    // The pods' survey tells of it.
    if (!(thrown instanceof AgentError)) throw thrown
  }
  if (server === '' || usesOfApi(config, server).length === 0) return { server, nodeName, problem: undefined }
  const { tokenFile, caFile, requestMs } = config.cluster
  const cluster = new Cluster({
    server,
    tokenFile,
    caFile,
    requestMs: Math.min(requestMs, PATIENCE_MS),
    nodeName,
    version: VERSION,
    now: () => realNow().nowMs,
  })
  try {
    // Of version 0: from the server's cache.
    const query = { resourceVersion: '0' }
    await cluster.api.call('getNode', { path: `/api/v1/nodes/${encodeURIComponent(nodeName)}`, query })
    const condition = config.cluster.condition ? { condition: await surveyCondition(cluster, nodeName) } : {}
    return { server, nodeName, problem: undefined, ...condition }
  } catch (thrown) {
    return { server, nodeName, problem: messageOf(thrown) }
  } finally {
    cluster.close()
  }
}

/** Kubernetes: a dry run is authorised like the real thing and stores nothing; an empty patch would change nothing either. */
async function surveyCondition({ api }: Cluster, nodeName: string): Promise<NonNullable<ApiSurvey['condition']>> {
  const path = `/api/v1/nodes/${encodeURIComponent(nodeName)}/status`
  const contentType = 'application/strategic-merge-patch+json'
  try {
    await api.call('patchNodeStatus', { path, query: { dryRun: 'All' }, body: {}, contentType })
    return 'permitted'
  } catch (thrown) {
    return { problem: messageOf(thrown) }
  }
}

/** The landing page tells an agent from anything else. */
async function surveyHttp(address: string): Promise<HttpSurvey> {
  try {
    const url = new URL(`http://${address}/`)
    const { body } = await httpGet(url, { accept: '*/*', signal: AbortSignal.timeout(HTTP_MS) })
    return body.includes('kube-agent') ? 'agent' : 'other'
  } catch (thrown) {
    const errno = errnoOf(thrown)
    return errno !== undefined && UNREACHABLE.has(errno) ? 'nobody' : 'other'
  }
}
