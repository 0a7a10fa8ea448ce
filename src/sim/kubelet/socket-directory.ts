/**
 * What a kubelet does to the device-plugin directory: at its start it wipes every socket (up to 1.32 every file but its
 * checkpoint), and when it is killed it leaves its own socket behind, on which nothing listens. Source: kubernetes
 * pkg/kubelet/cm/devicemanager/plugin/v1beta1/server.go (Start), 1.32 and 1.36.
 */
import { linkSync, lstatSync, readdirSync, renameSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { KUBELET_SOCKET } from '../../kubelet/wire.ts'

export type Wipe = 'sockets' | 'files'

const CHECKPOINT = 'kubelet_internal_checkpoint'

export function wipe(directory: string, what: Wipe): void {
  for (const name of readdirSync(directory)) {
    const path = join(directory, name)
    const stat = lstatSync(path, { throwIfNoEntry: false })
    if (stat?.isSocket() === true || (what === 'files' && stat?.isFile() === true && name !== CHECKPOINT)) {
      rmSync(path, { force: true })
    }
  }
}

/** Runs `close`, which would unlink kubelet.sock, and leaves the very same file behind if it was there. */
export async function leavingSocket(directory: string, close: () => Promise<void>): Promise<void> {
  const path = join(directory, KUBELET_SOCKET)
  const aside = join(directory, '.kubelet.sock.aside')
  const there = lstatSync(path, { throwIfNoEntry: false }) !== undefined
  if (there) linkSync(path, aside)
  await close()
  if (there) renameSync(aside, path)
}
