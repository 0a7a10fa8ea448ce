/**
 * The stand-in's kubelet_internal_checkpoint, in the layout of the kubelet's own: the one file from which a plugin that starts
 * anew can learn which of its devices are held. The checksum is left at 0, since nobody but a kubelet verifies it.
 * Source: kubernetes pkg/kubelet/cm/devicemanager/checkpoint/checkpoint.go, 1.36.
 */
import { renameSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { DeviceManager } from './device-manager.ts'

const FILE = 'kubelet_internal_checkpoint'

/** Replaces the checkpoint in one step. Throws what the file system throws. */
export function writeCheckpoint(directory: string, manager: DeviceManager): void {
  const entries = manager.holdings.map(({ uid, container, resource, ids }) => ({
    PodUID: uid,
    ContainerName: container,
    ResourceName: resource,
    DeviceIDs: { '-1': ids },
    AllocResp: '',
  }))
  const registered = manager.resources().map((resource) => {
    const healthy = [...manager.devices(resource)].filter(([, isHealthy]) => isHealthy).map(([id]) => id)
    return [resource, healthy] as const
  })
  const text = JSON.stringify({
    Data: { PodDeviceEntries: entries, RegisteredDevices: Object.fromEntries(registered) },
    Checksum: 0,
  })
  const scratch = join(directory, `.${FILE}.new`)
  writeFileSync(scratch, text, { mode: 0o600 })
  renameSync(scratch, join(directory, FILE))
}
