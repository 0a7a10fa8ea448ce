/** The files of a recording, as they are: a recording holds names and labels of pods, and nothing of what they are given or say. */
import { constants } from 'node:fs'
import { type FileHandle, open } from 'node:fs/promises'
import { basename } from 'node:path'
import { loadConfig } from '../../config/index.ts'
import { AgentError, formatBytes, messageOf } from '../../model/index.ts'
import { readRecording, recordingFiles } from '../../record/index.ts'
import type { Part } from './part.ts'

/** Twice what an agent keeps by default; of more the newest files are taken. */
const MOST_BYTES = 128 * 1024 * 1024
const CHUNK_BYTES = 256 * 1024

/** A part for each file of the recording at `path`, a file or a directory of segments, the oldest first. Anything that is no recording is refused. */
export async function* recordingParts(path: string): AsyncGenerator<Part> {
  const source = path
  let files: readonly string[]
  try {
    files = await recordingFiles(path)
  } catch (thrown) {
    yield { is: 'missing', path: 'recording/', source, reason: messageOf(thrown) }
    return
  }
  const opened: { readonly file: string; readonly handle: FileHandle; readonly bytes: number; readonly mtimeMs: number }[] = []
  try {
    let left = MOST_BYTES
    // The newest are the ones that are wanted most.
    for (const file of [...files].reverse()) {
      const named = { path: `recording/${safeName(file)}`, source: file }
      try {
        requireRecording(file)
        const handle = await open(file, constants.O_RDONLY | constants.O_NONBLOCK)
        const { size, mtimeMs } = await handle.stat()
        if (size <= left) {
          left -= size
          opened.unshift({ file, handle, bytes: size, mtimeMs })
          continue
        }
        await handle.close()
        yield { is: 'missing', ...named, reason: `more than the ${formatBytes(MOST_BYTES)} of recording that a bundle takes` }
        left = 0
      } catch (thrown) {
        yield { is: 'missing', ...named, reason: messageOf(thrown) }
      }
    }
    for (const { file, handle, bytes, mtimeMs } of opened)
      yield { is: 'file', path: `recording/${safeName(file)}`, source: file, bytes, mtimeMs, content: contentOf(handle, bytes) }
  } finally {
    for (const { handle } of opened) await handle.close()
  }
}

/** Throws E_RECORDING for a file that does not begin as a recording: a bundle goes to others, and takes nothing by mistake. */
function requireRecording(file: string): void {
  const segments = readRecording([file], () => loadConfig().config, [])
  try {
    segments.next()
  } finally {
    segments.return(undefined)
  }
}

/** Exactly so many bytes: an agent may be writing at the end of the file. Throws E_RECORDING for a file that has become shorter. */
async function* contentOf(handle: FileHandle, bytes: number): AsyncGenerator<Buffer> {
  for (let at = 0; at < bytes;) {
    const { bytesRead, buffer } = await handle.read(Buffer.alloc(Math.min(CHUNK_BYTES, bytes - at)), 0, null, at)
    if (bytesRead === 0) throw new AgentError('E_RECORDING', 'the recording became shorter while it was read')
    yield buffer.subarray(0, bytesRead)
    at += bytesRead
  }
}

/** Names of segments are safe as they are; a file that somebody has named otherwise keeps what an archive can hold. */
function safeName(file: string): string {
  return basename(file)
    .replaceAll(/[^\w.-]/g, '_')
    .slice(-80)
    .replace(/^\.+/, '_')
}
