/**
 * Binding and closing the stand-in's gRPC servers. Both of its sockets are called kubelet.sock, each in its own directory. A close
 * cuts whatever call is open, as the end of a process does. Source: kubernetes pkg/kubelet/util/util_unix.go (CreateListener), 1.36,
 * for the removal of a socket that an earlier process left.
 */
import { join } from 'node:path'
import { ServerCredentials, type Server } from '@grpc/grpc-js'
import { KUBELET_SOCKET } from '../../kubelet/wire.ts'

/** Rejects if the socket can't be bound. */
export async function listen(server: Server, directory: string): Promise<void> {
  const address = `unix:${join(directory, KUBELET_SOCKET)}`
  await new Promise<void>((resolve, reject) => {
    server.bindAsync(address, ServerCredentials.createInsecure(), (error) => (error === null ? resolve() : reject(error)))
  })
}

/** Cuts every call and removes the socket file. */
export async function shutDown(server: Server): Promise<void> {
  await new Promise<void>((resolve) => {
    server.tryShutdown(() => resolve())
    server.forceShutdown()
  })
}
