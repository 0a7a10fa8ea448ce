/**
 * What the kubelet had handed out before this process started, from its own checkpoint in the device-plugin directory. Without
 * it, a restarted agent might leave an ID that a pod still holds out of its first list. Never written, and never relied on alone
 * for what is free. Source:
 * kubernetes pkg/kubelet/cm/devicemanager/checkpoint/checkpoint.go, 1.36.
 */
import { constants } from 'node:fs'
import { open } from 'node:fs/promises'
import { join } from 'node:path'

const CHECKPOINT = 'kubelet_internal_checkpoint'
/** 8192 devices in all come to about 1 MiB. */
const MAX_BYTES = 16 * 1024 * 1024

/**
 * Device IDs held by pods, by full resource name; also some that pods no longer hold, since the kubelet rewrites it only with the
 * next allocation or list. Undefined when there is no checkpoint or it can't be understood.
 */
export async function readAllocatedIds(directory: string): Promise<ReadonlyMap<string, ReadonlySet<string>> | undefined> {
  const idsByResource = new Map<string, Set<string>>()
  try {
    const data = field(JSON.parse(await readBounded(join(directory, CHECKPOINT))), 'Data')
    const entries = field(data, 'PodDeviceEntries')
    // Go writes an empty slice that was never made as null.
    if (entries === null) return idsByResource
    if (!Array.isArray(entries)) return undefined
    for (const entry of entries as unknown[]) {
      const resource = field(entry, 'ResourceName')
      const idsByNuma = field(entry, 'DeviceIDs')
      if (typeof resource !== 'string' || typeof idsByNuma !== 'object' || idsByNuma === null) continue
      const known = idsByResource.get(resource) ?? new Set()
      for (const id of Object.values(idsByNuma).flat()) if (typeof id === 'string') known.add(id)
      idsByResource.set(resource, known)
    }
    return idsByResource
  } catch {
    // No checkpoint, or not one we can read: a fresh node, or another kubelet's format.
    return undefined
  }
}

/** The text of a regular file; empty for one that is none or is too long. Rejects with what open and read reject with. */
export async function readBounded(path: string): Promise<string> {
  // Non-blocking: opening a FIFO would wait for a writer for ever, and hold one of the few threads that all file work waits for.
  const file = await open(path, constants.O_RDONLY | constants.O_NONBLOCK)
  try {
    const stat = await file.stat()
    return !stat.isFile() || stat.size > MAX_BYTES ? '' : await file.readFile('utf8')
  } finally {
    await file.close()
  }
}

function field(value: unknown, key: string): unknown {
  return typeof value === 'object' && value !== null ? (value as Readonly<Record<string, unknown>>)[key] : undefined
}
