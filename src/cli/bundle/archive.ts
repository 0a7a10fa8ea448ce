/** From parts to an archive: secrets out, each text within its bound, and at the end a manifest and a page that say what is in it and what is not. */
import { createHash } from 'node:crypto'
import { redact } from '../../model/index.ts'
import { labelled } from '../../record/index.ts'
import { jsonText, MAX_PART_BYTES, type Part, type TextPart } from './part.ts'
import { tarOf, type TarFile } from './tar.ts'

/** A file of a bundle, as its manifest lists it. */
export interface ListedFile {
  readonly path: string
  readonly source: string
  readonly bytes: number
  /** Hexadecimal. */
  readonly sha256: string
  /** Places where something that looked like a secret was taken out. */
  readonly redactions?: number
  /** Length of what the file was cut from. */
  readonly cutFromBytes?: number
  readonly note?: string
}

export interface MissingFile {
  readonly path: string
  readonly source: string
  readonly reason: string
}

/** What went into a bundle; complete when its last byte is out. */
export interface Contents {
  readonly files: ListedFile[]
  readonly missing: MissingFile[]
}

export interface BundleAbout {
  /** The directory that everything is in. */
  readonly directory: string
  readonly version: string
  readonly nodeName: string
  readonly wallMs: number
}

/** The bytes of a tar archive of the parts, and of README.txt and manifest.json after them. Fills `contents` as it goes. */
export function archiveOf(parts: AsyncIterable<Part>, about: BundleAbout, contents: Contents): AsyncGenerator<Buffer> {
  return tarOf(filesOf(parts, about, contents))
}

async function* filesOf(parts: AsyncIterable<Part>, about: BundleAbout, { files, missing }: Contents): AsyncGenerator<TarFile> {
  const { directory, wallMs } = about
  const fileOf = (path: string, bytes: Buffer): TarFile => ({
    path: `${directory}/${path}`,
    bytes: bytes.length,
    mtimeMs: wallMs,
    content: [bytes],
  })
  const list = (path: string, source: string, bytes: Buffer, more: Partial<ListedFile> = {}): void => {
    files.push({ path, source, bytes: bytes.length, sha256: createHash('sha256').update(bytes).digest('hex'), ...more })
  }
  for await (const part of parts) {
    if (part.is === 'missing') missing.push({ path: part.path, source: part.source, reason: redact(part.reason).text })
    else if (part.is === 'file') {
      const hash = createHash('sha256')
      const { path, source, bytes, mtimeMs, content } = part
      yield { path: `${directory}/${path}`, bytes, mtimeMs, content: hashed(content, (chunk) => hash.update(chunk)) }
      files.push({ path, source, bytes, sha256: hash.digest('hex') })
    } else {
      const { bytes, more } = bytesOf(part)
      list(part.path, part.source, bytes, more)
      yield fileOf(part.path, bytes)
    }
  }
  const readme = Buffer.from(readmeOf(about, { files, missing }))
  list('README.txt', 'kube-agent bundle', readme)
  yield fileOf('README.txt', readme)
  const { version, nodeName } = about
  const madeAt = new Date(wallMs).toISOString()
  yield fileOf('manifest.json', Buffer.from(jsonText({ format: 1, version, nodeName, madeAt, files, missing })))
}

async function* hashed(content: AsyncIterable<Buffer>, take: (chunk: Buffer) => void): AsyncGenerator<Buffer> {
  for await (const chunk of content) {
    take(chunk)
    yield chunk
  }
}

function bytesOf({ text, note }: TextPart): { readonly bytes: Buffer; readonly more: Partial<ListedFile> } {
  const { text: safe, count } = redact(text)
  const whole = Buffer.from(safe)
  const more = { ...(count === 0 ? {} : { redactions: count }), ...(note === undefined ? {} : { note }) }
  if (whole.length <= MAX_PART_BYTES) return { bytes: whole, more }
  let end = MAX_PART_BYTES
  // UTF-8: never within a character.
  while (((whole[end] ?? 0) & 0xc0) === 0x80) end -= 1
  return { bytes: whole.subarray(0, end), more: { ...more, cutFromBytes: whole.length } }
}

/** What is missing, one paragraph for each reason: an agent that does not answer is one reason for many files. */
export function missingLines(missing: readonly MissingFile[]): readonly string[] {
  const paths = new Map<string, string[]>()
  for (const { path, reason } of missing) paths.set(reason, [...(paths.get(reason) ?? []), path])
  return [...paths].flatMap(([reason, those]) => labelled('  missing', `${those.join(', ')}: ${reason}`, '  missing  '.length))
}

const COLUMN = 34

/** For whoever opens the bundle: what it is, where to begin, what is missing. */
function readmeOf({ version, nodeName, wallMs }: BundleAbout, { files, missing }: Contents): string {
  const row = ({ path, source, cutFromBytes, note }: ListedFile): readonly string[] => {
    const remarks = [
      ...(cutFromBytes === undefined ? [] : [`cut: it had ${cutFromBytes} bytes`]),
      ...(note === undefined ? [] : [note]),
    ]
    return labelled(`  ${path}`, [source, ...remarks].join('; '), COLUMN)
  }
  return `${[
    `Support bundle of kube-agent ${version}, node ${nodeName}, made ${new Date(wallMs).toISOString()}.`,
    '',
    'Begin with agent/status.txt (look/status.txt where no agent answered) and node/doctor.txt.',
    'A recording is read with: kube-agent replay DIR/recording',
    'What is not in here: the log of the agent (kubectl logs POD, or journalctl -u kube-agent).',
    '',
    'Names of pods, namespaces and nodes are in here as they are, and labels of pods in a recording. What looked',
    'like a secret was replaced by [redacted]; environments of pods and contents of token files are not in here.',
    '',
    'Files, and where each is from (manifest.json has their lengths and SHA-256):',
    '',
    ...files.flatMap(row),
    '',
    ...(missing.length === 0 ? ['Nothing is missing.'] : ['Missing, and why:', '']),
    ...missingLines(missing),
  ].join('\n')}\n`
}
