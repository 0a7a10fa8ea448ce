/**
 * What the virtual machine is made of, from Debian's packages: qemu with the libraries it needs, a static busybox, and a full kernel (the
 * cloud kernel has no 9p). Everything is unpacked into a cache directory; nothing is installed on the machine. The cache is complete once
 * its directory has its final name, and is used as it is from then on: remove it for newer packages.
 */
import { execFileSync } from 'node:child_process'
import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { homedir } from 'node:os'
import { join } from 'node:path'

export interface Parts {
  readonly qemu: string
  /** Environment in which qemu finds its libraries and its modules. */
  readonly qemuEnv: Readonly<Record<string, string>>
  /** Directories with the firmware. */
  readonly firmware: readonly string[]
  readonly busybox: string
  readonly kernel: string
  /** Kernel modules, in the order in which they can be loaded. */
  readonly modules: readonly string[]
}

/** Why there can be no virtual machine here: lack of means, not a failure. */
export class NoMeans extends Error {}

const PACKAGES = ['qemu-system-x86', 'busybox-static', 'linux-image-amd64']
const MODULES = [
  ...['virtio_ring', 'virtio', 'virtio_pci_legacy_dev', 'virtio_pci_modern_dev', 'virtio_pci'].map(
    (name) => `drivers/virtio/${name}`,
  ),
  'drivers/char/virtio_console',
  'drivers/block/virtio_blk',
  'fs/netfs/netfs',
  'fs/fscache/fscache',
  'net/9p/9pnet',
  'net/9p/9pnet_virtio',
  'fs/9p/9p',
  'fs/overlayfs/overlay',
]
const LIBRARIES = ['usr/lib/x86_64-linux-gnu', 'lib/x86_64-linux-gnu']
const COMMAND_SECONDS_MAX = 300
/** Part of the cache's name: another one makes a cache of another form be built anew. */
const CACHE_FORM = 2

/** Throws NoMeans where the virtual machine can't be run. */
export function requireMeans(): void {
  if (process.platform !== 'linux' || process.arch !== 'x64') {
    throw new NoMeans(
      `the virtual machine runs this Node, which must be Linux on x64; this is ${process.platform} on ${process.arch}`,
    )
  }
  if (process.getuid?.() !== 0)
    throw new NoMeans('needs root, to fetch packages and to show this file system to the virtual machine')
}

/** The parts, fetched at the first call on a machine. Throws NoMeans where they can't be had. */
export function getParts(): Parts {
  const base = join(process.env['XDG_CACHE_HOME'] ?? join(homedir(), '.cache'), 'kube-agent-vm')
  const cache = join(base, `parts-${CACHE_FORM}`)
  if (!existsSync(cache)) {
    const unfinished = join(base, `unfinished-${process.pid}`)
    try {
      fetchParts(unfinished)
      renameSync(unfinished, cache)
    } catch (thrown) {
      throw new NoMeans(`its parts can't be had: ${thrown instanceof Error ? thrown.message : String(thrown)}`)
    } finally {
      rmSync(unfinished, { recursive: true, force: true })
    }
  }
  const root = join(cache, 'root')
  const libraries = LIBRARIES.map((path) => join(root, path))
  return {
    qemu: join(root, 'usr/bin/qemu-system-x86_64'),
    qemuEnv: { LD_LIBRARY_PATH: libraries.join(':'), QEMU_MODULE_DIR: join(root, 'usr/lib/x86_64-linux-gnu/qemu') },
    firmware: [join(root, 'usr/share/qemu'), join(root, 'usr/share/seabios')],
    busybox: join(root, 'bin/busybox'),
    kernel: join(cache, 'vmlinux'),
    modules: MODULES.map((path) => join(cache, 'modules', `${path.slice(path.lastIndexOf('/') + 1)}.ko`)),
  }
}

function fetchParts(cache: string): void {
  const packages = join(cache, 'packages')
  const root = join(cache, 'root')
  for (const folder of [join(packages, 'partial'), root, join(cache, 'modules')]) mkdirSync(folder, { recursive: true })
  console.log('fetching qemu, busybox and a kernel from Debian')
  download(packages)
  for (const name of readdirSync(packages)) if (name.endsWith('.deb')) run('dpkg', ['-x', join(packages, name), root])
  const image = readdirSync(join(root, 'boot')).find((name) => name.startsWith('vmlinuz-'))
  if (image === undefined) throw new Error('the package of the kernel holds no vmlinuz')
  writeFileSync(join(cache, 'vmlinux'), uncompressed(join(root, 'boot', image)))
  const kernelFiles = join(root, 'lib/modules', image.slice('vmlinuz-'.length), 'kernel')
  for (const path of MODULES)
    cpSync(join(kernelFiles, `${path}.ko`), join(cache, 'modules', `${path.slice(path.lastIndexOf('/') + 1)}.ko`))
  for (const done of [packages, join(root, 'boot'), join(root, 'lib/modules'), join(root, 'usr/share/doc')]) {
    rmSync(done, { recursive: true, force: true })
  }
}

/** All packages with what they depend on and this machine lacks. `--reinstall` also fetches those of PACKAGES that it has. */
function download(packages: string): void {
  run('apt-get', ['update', '-q'])
  const image = /Depends: (linux-image-\S+)/.exec(
    run('apt-cache', ['depends', '--important', 'linux-image-amd64']).toString(),
  )?.[1]
  if (image === undefined) throw new Error('linux-image-amd64 depends on no kernel')
  const options = ['--yes', '--quiet', '--download-only', '--reinstall', '--no-install-recommends']
  run('apt-get', ['install', ...options, '-o', `Dir::Cache::archives=${packages}`, ...PACKAGES, image])
}

function run(program: string, args: readonly string[], input?: Buffer): Buffer {
  return execFileSync(program, args, {
    ...(input === undefined ? {} : { input }),
    stdio: ['pipe', 'pipe', 'pipe'],
    maxBuffer: 2 ** 29,
    timeout: COMMAND_SECONDS_MAX * 1000,
    env: { ...process.env, DEBIAN_FRONTEND: 'noninteractive', LC_ALL: 'C' },
  })
}

/**
 * The ELF kernel inside a bzImage: unpacking it here takes a second, and under emulation half a minute.
 * Kernel: Documentation/x86/boot.rst: setup_sects at 0x1f1, payload_offset at 0x248, payload_length at 0x24c. The last four bytes of
 * the payload are its unpacked length.
 */
function uncompressed(path: string): Buffer {
  const image = readFileSync(path)
  const start = (image.readUInt8(0x1f1) + 1) * 512 + image.readUInt32LE(0x248)
  const payload = image.subarray(start, start + image.readUInt32LE(0x24c) - 4)
  return run('xz', ['-dc'], payload)
}
