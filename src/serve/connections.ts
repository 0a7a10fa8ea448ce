/**
 * What Node does not bound of its own accord: how many connections one address may have, and how many requests may come before they are
 * answered. In a pod's own network whoever is in the cluster reaches this server, offline pods too.
 */
import type { IncomingMessage, Server, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'

/** Connections from one address: a client that holds all it gets does not shut out the kubelet's probe. */
export const MAX_PEER_CONNECTIONS = 16

/** Bounds the connections of each address, and lets idle ones go when the server has as many as it takes. */
export function boundConnections(server: Server): void {
  const counts = new Map<string, number>()
  server.on('connection', (socket: Socket) => {
    const peer = socket.remoteAddress ?? ''
    const count = (counts.get(peer) ?? 0) + 1
    if (count > MAX_PEER_CONNECTIONS) return void socket.destroy()
    counts.set(peer, count)
    socket.once('close', () => {
      const left = (counts.get(peer) ?? 1) - 1
      if (left === 0) counts.delete(peer)
      else counts.set(peer, left)
    })
  })
  // Who only keeps a connection for later makes room for whoever comes next.
  server.on('drop', () => server.closeIdleConnections())
}

/**
 * One request at a time on a connection. A packet holds hundreds of small requests, Node hands them on in one go, and their answers would
 * hold up the loop for seconds and fill the memory. Pipelining (RFC 9112 §9.3.2) is something that no scraper, probe or browser does: the
 * first is answered, and its connection ends.
 */
export class OneAtATime {
  readonly #unanswered = new WeakMap<Socket, ServerResponse>()

  /** Whether this is the only request of its connection that has no answer yet. What is not admitted is not to be answered. */
  admits({ socket }: IncomingMessage, response: ServerResponse): boolean {
    const before = this.#unanswered.get(socket)
    if (before === undefined) {
      this.#unanswered.set(socket, response)
      response.once('close', () => this.#unanswered.delete(socket))
      return true
    }
    // Too late to tell the client that the connection ends with the first answer.
    if (before.headersSent) socket.destroy()
    before.shouldKeepAlive = false
    return false
  }
}
