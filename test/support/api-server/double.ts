/**
 * An API server within the test process: real TLS with an authority of its own, bearer tokens, RBAC, real chunked watches, the
 * resources that the agent uses, and every misbehaviour that an agent has to live with. As strict as a kube-apiserver 1.36 in what is asked
 * of it; what it can't do it refuses, so that no test rests on a guess.
 */
import { randomBytes } from 'node:crypto'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { createServer, type Server } from 'node:https'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { type Certificates, makeCertificates, replaceFile } from './certificates.ts'
import { type DisruptionBudget, Evictions } from './evictions.ts'
import { type Failure, Failures, failureStatus } from './failures.ts'
import { type ApiObject, isResource, noSuchResource, notFound, type ResourceName, StatusError } from './objects.ts'
import { ALLOW_ALL, allows, forbidden, forbiddenPath, type RbacRule } from './rbac.ts'
import { list } from './reads.ts'
import { discovery, type Route, routeOf } from './routes.ts'
import { Store } from './store.ts'
import { type ExpiredAs, Watches } from './watches.ts'
import { bodyOf, refuse, reply } from './wire.ts'
import { type Body, create, isDryRun, patch, type Target } from './writes.ts'

export interface LoggedRequest {
  readonly verb: string
  /** With its subresource, as in RBAC: `nodes/status`. Empty for a path such as /version. */
  readonly resource: string
  readonly path: string
  readonly query: Readonly<Record<string, string>>
  readonly body: string
  /** 0 until it is answered. */
  status: number
}

const USER = 'system:serviceaccount:kube-agent:kube-agent'

export interface DoubleOptions {
  /** For keys, certificates and the token. */
  readonly directory: string
  /** @default everything is allowed */
  readonly rules?: readonly RbacRule[]
}

export class ApiServerDouble {
  readonly requests: LoggedRequest[] = []
  readonly caFile: string
  readonly tokenFile: string
  readonly #directory: string
  #rules: readonly RbacRule[]
  readonly #store = new Store()
  readonly #watches = new Watches(this.#store)
  #server: Server | undefined
  #port = 0
  #token = ''
  readonly #evictions = new Evictions(this.#store)
  readonly #failures = new Failures()
  #slowMs = 0
  #hung: (() => void)[] | undefined

  private constructor({ directory, rules = ALLOW_ALL }: DoubleOptions) {
    this.#directory = directory
    this.#rules = rules
    this.caFile = join(directory, 'ca.crt')
    this.tokenFile = join(directory, 'token')
  }

  static async start(options: DoubleOptions): Promise<ApiServerDouble> {
    const double = new ApiServerDouble(options)
    double.rotateToken()
    await double.#listen()
    return double
  }

  get url(): string {
    return `https://127.0.0.1:${this.#port}`
  }

  /** Watches that are running now. */
  get watching(): number {
    return this.#watches.size
  }

  put(resource: ResourceName, object: ApiObject): ApiObject {
    return this.#store.put(resource, object)
  }

  remove(resource: ResourceName, namespace: string, name: string): void {
    this.#store.remove(resource, namespace, name)
  }

  get(resource: ResourceName, namespace: string, name: string): ApiObject | undefined {
    return this.#store.get(resource, namespace, name)
  }

  /** Everything of a resource, as a person would see it. */
  all(resource: ResourceName): ApiObject[] {
    return structuredClone(this.#store.listAt(resource, this.#store.version))
  }

  fail(failure: Failure): void {
    this.#failures.add(failure)
  }

  /** Ends all that `fail` has asked for. */
  mend(): void {
    this.#failures.clear()
  }

  /** Puts other rules in force, instead of those from before. */
  grant(rules: readonly RbacRule[]): void {
    this.#rules = rules
  }

  /** Puts a disruption budget over pods; what comes back may be changed, and taken away by `lift`. */
  protect(budget: DisruptionBudget): DisruptionBudget {
    this.#evictions.budgets.push(budget)
    return budget
  }

  lift(budget: DisruptionBudget): void {
    this.#evictions.budgets.splice(this.#evictions.budgets.indexOf(budget), 1)
  }

  /** How long pods take for a second of their grace period; Infinity where no kubelet ends them. */
  set graceSecondMs(ms: number) {
    this.#evictions.secondMs = ms
  }

  dropWatches(options: { readonly midLine?: boolean } = {}): void {
    this.#watches.drop(options.midLine === true)
  }

  /** Compacts the past: see Watches.expiredAs for what a watch from an old version gets. */
  expire(as: ExpiredAs = 'event'): void {
    const known = this.#store.version
    this.#store.compact()
    this.#watches.expiredAs = as
    this.#watches.expire(known)
  }

  bookmark(): void {
    this.#watches.bookmark()
  }

  slow(ms: number): void {
    this.#slowMs = ms
  }

  /** Takes requests and answers none; running watches fall silent. */
  hang(): void {
    this.#hung ??= []
    this.#watches.hold()
  }

  resume(): void {
    const waiting = this.#hung ?? []
    this.#hung = undefined
    this.#watches.release()
    for (const proceed of waiting) proceed()
  }

  rotateToken(): void {
    this.#token = randomBytes(24).toString('base64url')
    replaceFile(this.tokenFile, this.#token)
  }

  async rotateCa(): Promise<void> {
    await this.#close()
    await this.#listen()
  }

  async stop(): Promise<void> {
    this.resume()
    this.#evictions.stop()
    await this.#close()
  }

  async #listen(): Promise<void> {
    const { ca, cert, key }: Certificates = await makeCertificates(this.#directory)
    replaceFile(this.caFile, ca)
    const server = createServer(
      { cert, key, keepAliveTimeout: 65_000 },
      (request, response) => void this.#serve(request, response),
    )
    this.#server = server
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject)
      server.listen(this.#port, '127.0.0.1', resolve)
    })
    this.#port = (server.address() as AddressInfo).port
  }

  async #close(): Promise<void> {
    const server = this.#server
    if (server === undefined) return
    this.#server = undefined
    const closed = new Promise<void>((resolve) => server.close(() => resolve()))
    server.closeAllConnections()
    await closed
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const url = new URL(request.url ?? '/', this.url)
    const method = request.method ?? 'GET'
    let entry: LoggedRequest | undefined
    try {
      const route = routeOf(method, url)
      const resource = route === undefined ? '' : [route.resource, route.subresource].filter((part) => part !== '').join('/')
      const query = Object.fromEntries(url.searchParams)
      const text = await bodyOf(request)
      entry = { verb: route?.verb ?? method.toLowerCase(), resource, path: url.pathname, query, body: text, status: 0 }
      this.requests.push(entry)
      if (this.#hung !== undefined) await new Promise<void>((resolve) => this.#hung?.push(resolve))
      if (this.#slowMs > 0) await new Promise((resolve) => setTimeout(resolve, this.#slowMs))
      this.#authenticate(request, url.pathname)
      if (this.#failed(entry, response)) return
      const contentType = (request.headers['content-type'] ?? '').split(';', 1).join('').trim()
      const answer = this.#answer(url, route, { contentType, text }, response)
      entry.status = answer?.status ?? 200
      if (answer !== undefined) reply(response, answer.status, answer.body)
    } catch (thrown) {
      const error = thrown instanceof StatusError ? thrown : new StatusError(500, 'InternalError', String(thrown))
      if (entry !== undefined) entry.status = error.code
      refuse(response, error)
    }
  }

  #authenticate(request: IncomingMessage, path: string): void {
    const given = request.headers.authorization
    // Kubernetes: who shows no token is system:anonymous, whom no rule of ours allows anything; a wrong token is refused outright.
    if (given === undefined) throw forbiddenPath('system:anonymous', (request.method ?? 'GET').toLowerCase(), path)
    if (given !== `Bearer ${this.#token}`) throw new StatusError(401, 'Unauthorized', 'Unauthorized')
  }

  /** Whether `fail` has decided this request. */
  #failed(entry: LoggedRequest, response: ServerResponse): boolean {
    const failure = this.#failures.next(entry)
    if (failure === undefined) return false
    entry.status = failure.status
    if (failure.html === undefined) refuse(response, failureStatus(failure))
    else response.writeHead(failure.status, { 'Content-Type': 'text/html' }).end(failure.html)
    return true
  }

  /** Undefined when the answer is a stream. */
  #answer(
    url: URL,
    route: Route | undefined,
    body: Body,
    response: ServerResponse,
  ): { status: number; body: unknown } | undefined {
    const known = discovery(url.pathname)
    if (known !== undefined) return { status: 200, body: known }
    if (route === undefined) throw forbiddenPath(USER, 'get', url.pathname)
    if (!allows(this.#rules, route)) throw forbidden(USER, route)
    const { resource, subresource, namespace, name, verb } = route
    if (route.group !== '' || route.version !== 'v1' || !isResource(resource)) throw noSuchResource()
    const target: Target = { resource, subresource, namespace, name }
    const full = `${resource}/${subresource}`
    if (full === 'pods/eviction' && verb === 'create') return this.#evictions.evict(target, body)
    if (subresource !== '' && full !== 'nodes/status') throw noSuchResource()
    switch (verb) {
      case 'get': {
        const object = this.#store.get(resource, namespace, name)
        if (object === undefined) throw notFound(resource, name)
        return { status: 200, body: object }
      }
      case 'list':
        return { status: 200, body: list(this.#store, target, url.searchParams) }
      case 'watch':
        this.#watches.open(target, url.searchParams, response)
        return undefined
      case 'create':
        return { status: 201, body: create(this.#store, target, body) }
      case 'patch':
        return { status: 200, body: patch(this.#store, target, body, isDryRun(url.searchParams)) }
      case 'delete':
        if (resource === 'pods') return this.#evictions.delete(target, body)
        throw notAllowed()
      default:
        throw notAllowed()
    }
  }
}

const notAllowed = (): StatusError =>
  new StatusError(405, 'MethodNotAllowed', 'the server does not allow this method on the requested resource')
