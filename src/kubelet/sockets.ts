/**
 * The sockets in the kubelet's device-plugin directory: what is wrong with the kubelet's, what to call ours, and clearing away
 * those that a killed agent left. Ours never share a path: libuv unlinks by path when a server closes, so the old server would
 * take the new one's socket with it. Source: measured on Node 20.20.
 */
import { readdir, rm, stat } from 'node:fs/promises'
import { connect } from 'node:net'
import { join } from 'node:path'
import { errnoOf, messageOf, type OfflineResource } from '../model/index.ts'
import { KUBELET_SOCKET } from './wire.ts'

/** Kernel: sun_path holds 108 bytes with the closing NUL (include/uapi/linux/un.h). */
const MAX_PATH_BYTES = 107
const CONNECT_TIMEOUT_MS = 1_000
const NONCE_LENGTH = 8
const OURS = /^kube-agent-(?:be|ot)-(?:cpu|memory)-[0-9a-z-]+\.sock$/

/** Eight characters of base 36; `random` gives numbers in [0, 1). */
export function randomText(random: () => number): string {
  return Math.floor(random() * 36 ** NONCE_LENGTH)
    .toString(36)
    .padStart(NONCE_LENGTH, '0')
}

/** The file name of one incarnation's socket. The nonce tells processes apart, the count the incarnations of one. */
export function socketName(resource: OfflineResource, nonce: string, incarnation: number): string {
  return `kube-agent-${resource}-${nonce}-${incarnation}.sock`
}

/** Why sockets can't be made in this directory because of its length; undefined if they can. */
export function pathProblem(directory: string): string | undefined {
  const longest = join(directory, socketName('be-memory', 'n'.repeat(NONCE_LENGTH), 99_999))
  const spare = MAX_PATH_BYTES - Buffer.byteLength(longest)
  if (spare >= 0) return undefined
  return `the path ${directory} is too long for unix sockets by ${-spare} bytes (a socket path holds ${MAX_PATH_BYTES})`
}

/**
 * What keeps the agent from reaching the kubelet through this directory, in one line; undefined if it answers. Says nothing about
 * whether the kubelet would accept a registration. Takes at most a second.
 */
export async function kubeletSocketProblem(directory: string): Promise<string | undefined> {
  const long = pathProblem(directory)
  if (long !== undefined) return long
  const path = join(directory, KUBELET_SOCKET)
  try {
    if (!(await stat(directory)).isDirectory()) return `${directory} is not a directory`
  } catch (error) {
    return errnoOf(error) === 'ENOENT' ? `the directory ${directory} does not exist` : messageOf(error)
  }
  try {
    if (!(await stat(path)).isSocket()) return `${path} is not a socket`
  } catch (error) {
    return errnoOf(error) === 'ENOENT' ? `${path} does not exist: is the kubelet running?` : messageOf(error)
  }
  const refusal = await connectError(path)
  if (refusal === undefined) return undefined
  return refusal === 'ECONNREFUSED'
    ? `nothing listens on ${path}: is the kubelet running?`
    : `cannot connect to ${path}: ${refusal}`
}

/** Removes the sockets of agents that are gone: those of our names on which nothing listens. */
export async function removeStaleSockets(directory: string): Promise<void> {
  const names = await readdir(directory).catch(() => [])
  const paths = names.filter((name) => OURS.test(name)).map((name) => join(directory, name))
  await Promise.all(
    paths.map(async (path) => {
      // One that can't be removed is only untidy: its name does not come again.
      if ((await connectError(path)) === 'ECONNREFUSED') await rm(path, { force: true }).catch(() => {})
    }),
  )
}

/** The errno of an attempt to connect, or undefined if it succeeded. */
function connectError(path: string): Promise<string | undefined> {
  return new Promise((resolve) => {
    const socket = connect(path)
    const finish = (problem: string | undefined): void => {
      socket.destroy()
      resolve(problem)
    }
    socket.setTimeout(CONNECT_TIMEOUT_MS, () => finish('ETIMEDOUT'))
    socket.once('connect', () => finish(undefined))
    socket.once('error', (error) => finish(errnoOf(error) ?? messageOf(error)))
  })
}
