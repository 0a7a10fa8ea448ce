/** Writes a bundle where it was asked for: to standard output, or beside the file's name and then under it, so that no half of one is ever found there. */
import { randomBytes } from 'node:crypto'
import { createWriteStream } from 'node:fs'
import { link, lstat, rename, rm } from 'node:fs/promises'
import { pipeline } from 'node:stream/promises'
import { createGzip } from 'node:zlib'
import { AgentError, errnoOf, messageOf } from '../../model/index.ts'

export interface WriteOptions {
  /** Whether a file that is there may go. */
  readonly force: boolean
  /** Ends the writing; nothing is left then. */
  readonly signal: AbortSignal
}

/** Writes the gzip of `archive` to standard output. Throws E_BUNDLE. */
export async function writeToOutput(archive: AsyncIterable<Buffer>, signal: AbortSignal): Promise<void> {
  try {
    await pipeline(archive, createGzip(), process.stdout, { end: false, signal })
  } catch (thrown) {
    throw asError('standard output', thrown)
  }
}

/**
 * Writes the gzip of `archive` to a new file, for its user alone, and syncs it. Throws E_BUNDLE where it can't, and before anything is
 * gathered where a file of that name is there and not `force`.
 */
export async function writeToFile(archive: AsyncIterable<Buffer>, path: string, { force, signal }: WriteOptions): Promise<void> {
  if (!force && (await lstat(path).catch(() => undefined)) !== undefined) throw alreadyThere(path)
  // A name that nobody has, so that on a failure it is ours to remove.
  const partial = `${path}.${randomBytes(6).toString('hex')}.partial`
  try {
    await pipeline(archive, createGzip(), createWriteStream(partial, { flags: 'wx', mode: 0o600, flush: true }), { signal })
    await (force ? rename(partial, path) : moveToFreeName(partial, path))
  } catch (thrown) {
    await rm(partial, { force: true }).catch(() => undefined)
    throw asError(path, thrown)
  }
}

/** Kernel: rename(2) replaces what has the name meanwhile, link(2) does not; some file systems have no links. */
async function moveToFreeName(partial: string, path: string): Promise<void> {
  try {
    await link(partial, path)
  } catch (thrown) {
    if (!NO_LINKS.has(errnoOf(thrown) ?? '')) throw thrown
    if ((await lstat(path).catch(() => undefined)) !== undefined) throw alreadyThere(path)
    await rename(partial, path)
    return
  }
  await rm(partial, { force: true })
}

const NO_LINKS: ReadonlySet<string> = new Set(['EPERM', 'ENOTSUP', 'EOPNOTSUPP', 'ENOSYS', 'EMLINK'])

function alreadyThere(path: string): AgentError {
  return new AgentError('E_BUNDLE', `${path} is there already`, {
    hint: 'Name another file with --output, or replace it with --force.',
  })
}

function asError(target: string, thrown: unknown): unknown {
  // A mistake in what was to be written is told as it is.
  if (thrown instanceof AgentError) return thrown
  const errno = errnoOf(thrown)
  if (errno === 'EEXIST') return alreadyThere(target)
  if (errno === 'ABORT_ERR')
    return new AgentError('E_BUNDLE', 'stopped before the bundle was complete; no file was left', {
      hint: 'Run it again to its end.',
    })
  return errno === undefined
    ? thrown
    : new AgentError('E_BUNDLE', `can't write ${target}: ${messageOf(thrown)}`, { cause: thrown })
}
