/**
 * `npm run image`: an OCI image of the agent without pulling anything, for trying it where there is no registry: the layout of
 * deploy/Dockerfile over this machine's libraries (base.ts), packed by buildah where that is installed. What is to run in production is
 * built with deploy/Dockerfile.
 */
import { spawnSync } from 'node:child_process'
import { mkdtempSync, readdirSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { imageOf } from './dockerfile.ts'
import { layBase } from './base.ts'
import { layOut } from './layout.ts'

const ARCHIVE = resolve(import.meta.dirname, '../../dist/kube-agent-image.tar')

/** Fills a directory with the root file system of the image. */
export function rootFileSystem(directory: string): void {
  layOut(directory)
  const natives = readdirSync(directory, { recursive: true, encoding: 'utf8' }).filter(
    (path) => path.endsWith('.node') && path.includes('linux_'),
  )
  layBase(directory, [process.execPath, ...natives.map((path) => join(directory, path))])
}

function sizeOf(directory: string): number {
  const paths = readdirSync(directory, { recursive: true, withFileTypes: true })
  return paths
    .filter((entry) => entry.isFile())
    .reduce((sum, entry) => sum + statSync(join(entry.parentPath, entry.name)).size, 0)
}

const MIB = 1_048_576
const mib = (bytes: number): string => `${(bytes / MIB).toFixed(1)} MiB`

/** Runs buildah; throws with what it said. */
function buildah(store: string, words: readonly string[]): string {
  const own = ['--root', join(store, 'root'), '--runroot', join(store, 'run'), '--storage-driver', 'vfs']
  const run = spawnSync('buildah', [...own, ...words], { encoding: 'utf8', timeout: 300_000 })
  if (run.status !== 0) throw new Error(`buildah ${words[0]}: ${run.error?.message ?? ''}${run.stderr}`)
  return run.stdout.trim()
}

/** Packs a root file system with the entry point, user and labels of deploy/Dockerfile. */
function pack(directory: string, store: string): void {
  const { entrypoint, command, user, labels, environment } = imageOf()
  const container = buildah(store, ['from', 'scratch'])
  buildah(store, ['copy', container, directory, '/'])
  const config = ['--entrypoint', JSON.stringify(entrypoint), '--cmd', command.join(' '), '--user', user]
  for (const variable of environment) config.push('--env', variable)
  for (const label of labels) config.push('--label', label)
  buildah(store, ['config', ...config, container])
  rmSync(ARCHIVE, { force: true })
  buildah(store, ['commit', '--format', 'oci', '--disable-compression=false', container, `oci-archive:${ARCHIVE}:kube-agent`])
}

function main(): void {
  const work = mkdtempSync(join(tmpdir(), 'kube-agent-image-'))
  try {
    const root = join(work, 'rootfs')
    rootFileSystem(root)
    process.stdout.write(`root file system: ${mib(sizeOf(root))}\n`)
    if (spawnSync('buildah', ['--version']).status !== 0) {
      process.stdout.write('not packed: buildah is not installed\n')
      return
    }
    pack(root, work)
    process.stdout.write(`${ARCHIVE}: ${mib(statSync(ARCHIVE).size)} (OCI archive, compressed layers)\n`)
  } finally {
    rmSync(work, { recursive: true, force: true })
  }
}

if (process.argv[1] === import.meta.filename) main()
