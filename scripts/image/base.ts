/**
 * A base for the image, of this machine's own files, for where none can be pulled: the shared libraries that Node and koffi need and their
 * loader, and the user root. What the distroless base of deploy/Dockerfile has beside it (CA certificates, time zones), the agent does not read.
 */
import { spawnSync } from 'node:child_process'
import { cpSync, mkdirSync, realpathSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'

/** Where container runtimes mount things that every container has. */
const MOUNT_POINTS = ['proc', 'sys', 'dev', 'tmp', 'etc', 'run']

/** Paths of the shared libraries of a program or library, its loader with them. Throws where ldd does not know. */
function librariesOf(binary: string): string[] {
  const { status, stdout, stderr } = spawnSync('ldd', [binary], { encoding: 'utf8' })
  if (status !== 0) throw new Error(`ldd ${binary}: ${stderr}`)
  return stdout.split('\n').flatMap((line) => /(?:=> )?(\/\S+) \(0x/.exec(line)?.[1] ?? [])
}

/** Writes the base into a directory, for these binaries. */
export function layBase(directory: string, binaries: readonly string[]): void {
  for (const name of MOUNT_POINTS) mkdirSync(join(directory, name), { recursive: true })
  for (const library of new Set(binaries.flatMap(librariesOf))) {
    mkdirSync(join(directory, dirname(library)), { recursive: true })
    cpSync(realpathSync(library), join(directory, library))
  }
  writeFileSync(join(directory, 'etc/passwd'), 'root:x:0:0:root:/:/nonexistent\n')
  writeFileSync(join(directory, 'etc/group'), 'root:x:0:\n')
}
