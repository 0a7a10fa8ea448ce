/**
 * As much of an API server as `kubectl kube-agent` meets, over plain HTTP: pods by label and field selector, and the proxy to a pod. It
 * answers what a kube-apiserver 1.36 answers, and refuses and remembers every request that it does not expect.
 * Source: k8s.io/kubernetes pkg/registry/core/pod/rest/subresources.go (proxy), pkg/registry/core/pod/strategy.go ResourceLocation.
 */
import { createServer, type IncomingMessage, request as send, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { type ApiObject, badRequest, notFound, StatusError } from './api-server/objects.ts'
import { forbidden } from './api-server/rbac.ts'
import { discovery, type Route, routeOf } from './api-server/routes.ts'
import { fieldSelector } from './api-server/selectors.ts'
import { refuse, reply } from './api-server/wire.ts'

/** What was asked, as RBAC sees it: `get pods/proxy`. */
type Right = string

export class ProxyApiServer {
  readonly #server: Server
  readonly #pods: ApiObject[] = []
  /** Every right that was used. */
  readonly used = new Set<Right>()
  /** Paths that were sent on to a pod, with their queries. */
  readonly proxied: string[] = []
  /** Rights that are there. */
  readonly granted = new Set<Right>(['list pods', 'get pods', 'get pods/proxy'])

  private constructor() {
    this.#server = createServer((request, response) => void this.#serve(request, response))
  }

  static async start(): Promise<ProxyApiServer> {
    const double = new ProxyApiServer()
    await new Promise<void>((resolve) => double.#server.listen(0, '127.0.0.1', resolve))
    return double
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`
  }

  put(pod: ApiObject): void {
    this.#pods.push(pod)
  }

  clear(): void {
    this.#pods.length = 0
    this.used.clear()
    this.proxied.length = 0
  }

  async stop(): Promise<void> {
    const closed = new Promise<void>((resolve) => this.#server.close(() => resolve()))
    this.#server.closeAllConnections()
    await closed
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const url = new URL(request.url ?? '/', this.url)
    try {
      const known = discovery(url.pathname)
      if (known !== undefined) return reply(response, 200, known)
      const route = routeOf(request.method ?? 'GET', url)
      if (route === undefined || route.version !== 'v1' || route.group !== '') throw new StatusError(404, 'NotFound', 'not found')
      const right = `${route.verb} ${[route.resource, route.subresource].filter((part) => part !== '').join('/')}`
      this.used.add(right)
      if (!this.granted.has(right)) throw forbidden('somebody', route)
      if (right === 'list pods') reply(response, 200, this.#list(route, url.searchParams))
      else if (right === 'get pods') reply(response, 200, this.#pod(route.namespace, route.name))
      else await this.#proxy(route, url, request, response)
    } catch (thrown) {
      refuse(response, thrown instanceof StatusError ? thrown : new StatusError(500, 'InternalError', String(thrown)))
    }
  }

  #pod(namespace: string, name: string): ApiObject {
    const found = this.#pods.find(({ metadata }) => metadata.namespace === namespace && metadata.name === name)
    if (found === undefined) throw notFound('pods', name)
    return found
  }

  #list({ namespace }: Route, query: URLSearchParams): object {
    const byField = fieldSelector('pods', query.get('fieldSelector') ?? '')
    const labels = (query.get('labelSelector') ?? '').split(',').filter((term) => term !== '')
    const items = this.#pods.filter(
      (pod) => pod.metadata.namespace === namespace && byField(pod) && labels.every((term) => hasLabel(pod, term)),
    )
    return { kind: 'PodList', apiVersion: 'v1', metadata: { resourceVersion: '1' }, items }
  }

  /** Kubernetes: the name is NAME:PORT; the request goes to the IP of the pod, headers and all, and the answer comes back as it is. */
  async #proxy({ namespace, name }: Route, url: URL, request: IncomingMessage, response: ServerResponse): Promise<void> {
    const [, pod = '', port = ''] = /^([a-z0-9][a-z0-9.-]*):(\d+)$/.exec(name) ?? []
    const { status } = this.#pod(namespace, pod) as { readonly status?: { readonly podIP?: string } }
    const host = status?.podIP ?? ''
    const prefix = `/api/v1/namespaces/${namespace}/pods/${name}/proxy`
    if (!url.pathname.startsWith(`${prefix}/`)) throw badRequest(`not a path that is proxied: ${url.pathname}`)
    const path = `${url.pathname.slice(prefix.length)}${url.search}`
    this.proxied.push(path)
    await new Promise<void>((resolve) => {
      const headers = { ...request.headers, host: `${host}:${port}`, 'x-forwarded-for': '127.0.0.1' }
      const onward = send({ host, port: Number(port), path, method: 'GET', headers, timeout: 5000 }, (answer) => {
        response.writeHead(answer.statusCode ?? 500, answer.headers)
        answer.pipe(response).on('close', resolve)
      })
      onward.on('error', (error) => {
        refuse(response, new StatusError(503, 'ServiceUnavailable', `error trying to reach service: ${error.message}`))
        resolve()
      })
      onward.end()
    })
  }
}

/** Equality is all that the plugin asks for; anything else is refused. */
function hasLabel({ metadata }: ApiObject, term: string): boolean {
  const [, key = '', value] = /^([\w./-]+)==?([\w.-]+)$/.exec(term) ?? []
  if (value === undefined) throw badRequest(`this double knows no selector ${JSON.stringify(term)}`)
  const { labels } = metadata as { readonly labels?: Readonly<Record<string, string>> }
  return labels?.[key] === value
}
