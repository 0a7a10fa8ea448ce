/**
 * The guest: an initramfs of busybox and a few modules, whose init shows the host's files (read-only, over 9p, with a tmpfs on top) and
 * runs one program in them. The program's output and exit code leave the machine through two serial ports.
 */
import { execFileSync } from 'node:child_process'
import { chmodSync, cpSync, mkdirSync, writeFileSync } from 'node:fs'
import { basename, join } from 'node:path'
import type { Parts } from './parts.ts'

/** The tag under which the host's files are offered. */
export const HOST_TAG = 'host'

export interface Guest {
  /** Program and arguments, paths as on the host. */
  readonly command: readonly string[]
  /** After so many seconds the guest powers itself off, whatever the host does. */
  readonly secondsMax: number
}

/** Writes the initramfs into `folder`. Returns its path. */
export function makeInitramfs(parts: Parts, guest: Guest, folder: string): string {
  const tree = join(folder, 'initramfs')
  for (const name of ['bin', 'modules', 'proc', 'sys', 'dev', 'host', 'top', 'root'])
    mkdirSync(join(tree, name), { recursive: true })
  cpSync(parts.busybox, join(tree, 'bin/busybox'))
  for (const path of parts.modules) cpSync(path, join(tree, 'modules', basename(path)))
  writeFileSync(join(tree, 'init'), initScript(parts, guest))
  chmodSync(join(tree, 'init'), 0o755)
  const archive = join(folder, 'initramfs.cpio')
  execFileSync('/bin/sh', ['-c', 'find . | "$0" cpio -o -H newc > "$1"', parts.busybox, archive], {
    cwd: tree,
    stdio: ['ignore', 'ignore', 'pipe'],
    timeout: 60_000,
  })
  return archive
}

const quoted = (word: string): string => `'${word.replaceAll("'", "'\\''")}'`

/** The names of the serial ports, in the order in which machine.ts adds them: output, exit code. */
function initScript(parts: Parts, { command, secondsMax }: Guest): string {
  return `#!/bin/busybox sh
export PATH=/bin
/bin/busybox --install -s /bin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
(sleep ${secondsMax}; poweroff -f) &
for name in ${parts.modules.map((path) => basename(path)).join(' ')}; do insmod /modules/$name || poweroff -f; done
mount -t 9p -o ro,trans=virtio,version=9p2000.L,msize=512000,cache=loose ${HOST_TAG} /host || poweroff -f
mount -t tmpfs tmpfs /top
mkdir /top/upper /top/work
mount -t overlay -o lowerdir=/host,upperdir=/top/upper,workdir=/top/work overlay /root
for name in proc sys dev; do mount --bind /$name /root/$name; done
mount -t tmpfs tmpfs /root/run
mount -t cgroup2 cgroup2 /root/sys/fs/cgroup
echo '+cpu +cpuset +memory +io +pids' > /root/sys/fs/cgroup/cgroup.subtree_control
while [ ! -e /dev/vport0p2 ]; do sleep 0.1; done
ip link set lo up
cd /
env -i PATH=/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin HOME=/run TMPDIR=/run \\
  /bin/busybox chroot /root ${command.map(quoted).join(' ')} > /dev/vport0p1 2>&1 < /dev/null
echo $? > /dev/vport0p2
sync
poweroff -f
`
}
