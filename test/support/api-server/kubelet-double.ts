/**
 * The HTTPS server of a kubelet, as far as the agent reads it: GET /pods with a token, by real TLS. It authenticates and authorises as the
 * kubelet does through the API server: a wrong token is 401, one without the right to nodes/pods (or nodes/proxy) 403, in plain text.
 * Source: kubernetes pkg/kubelet/server/{server,auth}.go, 1.36.
 */
import { randomBytes } from 'node:crypto'
import { createServer, type Server } from 'node:https'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { makeCertificates, replaceFile } from './certificates.ts'
import type { ApiObject } from './objects.ts'

const USER = 'system:serviceaccount:kube-agent:kube-agent'

export class KubeletHttpsDouble {
  readonly requests: { readonly path: string; readonly status: number }[] = []
  readonly caFile: string
  readonly tokenFile: string
  /** Whether the token may get nodes/pods. */
  allowed = true
  /** Answers come as these bytes instead of a PodList, with this status. */
  answer: { readonly status: number; readonly body: string } | undefined
  #pods: readonly ApiObject[] = []
  #hung: (() => void)[] | undefined
  #token = ''
  readonly #server: Server

  private constructor(directory: string, server: Server) {
    this.caFile = join(directory, 'kubelet-ca.crt')
    this.tokenFile = join(directory, 'kubelet-token')
    this.#server = server
  }

  static async start({ directory }: { readonly directory: string }): Promise<KubeletHttpsDouble> {
    const { ca, cert, key } = await makeCertificates(directory)
    const server = createServer({ cert, key })
    const double = new KubeletHttpsDouble(directory, server)
    replaceFile(double.caFile, ca)
    double.rotateToken()
    server.on('request', (request, response) => {
      void double.#gate().then(() => {
        const { status, type, body } = double.#reply(request.method ?? '', request.url ?? '', request.headers.authorization)
        double.requests.push({ path: request.url ?? '', status })
        response.writeHead(status, { 'Content-Type': type }).end(body)
      })
    })
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    return double
  }

  get url(): string {
    return `https://127.0.0.1:${(this.#server.address() as AddressInfo).port}`
  }

  setPods(pods: readonly ApiObject[]): void {
    this.#pods = pods
  }

  rotateToken(): void {
    this.#token = randomBytes(24).toString('base64url')
    replaceFile(this.tokenFile, this.#token)
  }

  hang(): void {
    this.#hung ??= []
  }

  resume(): void {
    const waiting = this.#hung ?? []
    this.#hung = undefined
    for (const proceed of waiting) proceed()
  }

  async stop(): Promise<void> {
    this.resume()
    const closed = new Promise<void>((resolve) => this.#server.close(() => resolve()))
    this.#server.closeAllConnections()
    await closed
  }

  async #gate(): Promise<void> {
    if (this.#hung !== undefined) await new Promise<void>((resolve) => this.#hung?.push(resolve))
  }

  #reply(method: string, path: string, authorization: string | undefined): { status: number; type: string; body: string } {
    const plain = (status: number, body: string) => ({ status, type: 'text/plain; charset=utf-8', body })
    if (authorization !== `Bearer ${this.#token}`) return plain(401, 'Unauthorized')
    const [name] = path.split('?', 1)
    if (!this.allowed) {
      const subresource = name === '/pods' || name === '/pods/' ? 'pods, proxy' : 'proxy'
      return plain(403, `Forbidden (user=${USER}, verb=get, resource=nodes, subresource(s)=[${subresource}])\n`)
    }
    if (name !== '/pods' && name !== '/pods/') return plain(404, '404 page not found\n')
    if (method !== 'GET') return plain(405, '405: Method Not Allowed')
    if (this.answer !== undefined) return { ...this.answer, type: 'application/json' }
    // Kubernetes: encodePods writes a v1.PodList; its items carry neither kind nor apiVersion, its metadata is empty.
    const items = this.#pods.map(({ kind: _kind, apiVersion: _apiVersion, ...rest }) => rest)
    return {
      status: 200,
      type: 'application/json',
      body: JSON.stringify({ kind: 'PodList', apiVersion: 'v1', metadata: {}, items }),
    }
  }
}
