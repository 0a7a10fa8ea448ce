/**
 * The stand-in's kubelet_internal_checkpoint, in the layout of the kubelet's own: written in one step on every Allocate and every
 * list, read at every start. It is the one file from which a plugin that starts anew can learn which of its devices are held. The
 * checksum is over the text of the data; the kubelet's is over a Go dump of it, which nobody but a kubelet can verify.
 * Source: kubernetes pkg/kubelet/cm/devicemanager/checkpoint/checkpoint.go, 1.36.
 */
import { readFileSync, renameSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { v1beta1 } from '../../kubelet/gen/deviceplugin.js'
import type { DeviceManager } from './device-manager.ts'
import type { Holding } from './pod-devices.ts'

const FILE = 'kubelet_internal_checkpoint'
const NO_NUMA_NODE = -1

interface Entry {
  readonly PodUID: string
  readonly ContainerName: string
  readonly ResourceName: string
  /** IDs by NUMA node; a device of several nodes stands under each. */
  readonly DeviceIDs: Readonly<Record<string, readonly string[]>>
  readonly AllocResp: string
}

interface CheckpointData {
  readonly PodDeviceEntries: readonly Entry[] | null
  /** Healthy IDs by resource. */
  readonly RegisteredDevices: Readonly<Record<string, readonly string[]>>
}

/** Throws what the file system throws. */
export function writeCheckpoint(directory: string, { held, books }: DeviceManager): void {
  const entries = held.all.map(toEntry)
  const data: CheckpointData = {
    PodDeviceEntries: entries.length === 0 ? null : entries,
    RegisteredDevices: Object.fromEntries(books.resources().map((resource) => [resource, [...books.healthy(resource)]])),
  }
  const scratch = join(directory, `.${FILE}.new`)
  writeFileSync(scratch, JSON.stringify({ Data: data, Checksum: fnv32a(JSON.stringify(data)) }), { mode: 0o600 })
  renameSync(scratch, join(directory, FILE))
}

/** Nothing if there is no checkpoint, or a damaged one: the kubelet logs that and goes on. */
export function readCheckpoint(directory: string): {
  readonly holdings: readonly Holding[]
  readonly resources: readonly string[]
} {
  try {
    const { Data, Checksum } = JSON.parse(readFileSync(join(directory, FILE), 'utf8')) as {
      Data: CheckpointData
      Checksum: number
    }
    if (Checksum !== fnv32a(JSON.stringify(Data))) return { holdings: [], resources: [] }
    return { holdings: (Data.PodDeviceEntries ?? []).map(fromEntry), resources: Object.keys(Data.RegisteredDevices) }
  } catch {
    return { holdings: [], resources: [] }
  }
}

function toEntry({ uid, container, resource, numaNodesById, response }: Holding): Entry {
  const ids: Record<string, string[]> = {}
  for (const [id, numaNodes] of numaNodesById) {
    for (const node of numaNodes.length === 0 ? [NO_NUMA_NODE] : numaNodes) (ids[node] ??= []).push(id)
  }
  const bytes = v1beta1.ContainerAllocateResponse.encode(response).finish()
  const AllocResp = Buffer.from(bytes).toString('base64')
  return { PodUID: uid, ContainerName: container, ResourceName: resource, DeviceIDs: ids, AllocResp }
}

function fromEntry({ PodUID, ContainerName, ResourceName, DeviceIDs, AllocResp }: Entry): Holding {
  const numaNodesById = new Map<string, number[]>()
  for (const [node, ids] of Object.entries(DeviceIDs)) {
    for (const id of ids) {
      const others = numaNodesById.get(id) ?? []
      numaNodesById.set(id, Number(node) === NO_NUMA_NODE ? others : [...others, Number(node)])
    }
  }
  const response = v1beta1.ContainerAllocateResponse.decode(Buffer.from(AllocResp, 'base64'))
  return { uid: PodUID, container: ContainerName, resource: ResourceName, numaNodesById, response }
}

function fnv32a(text: string): number {
  let hash = 0x81_1c_9d_c5
  for (const byte of Buffer.from(text)) hash = Math.imul(hash ^ byte, 0x01_00_01_93)
  return hash >>> 0
}
