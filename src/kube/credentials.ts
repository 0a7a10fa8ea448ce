/**
 * The token and the certificates of a cluster, from files that the kubelet rotates under a running agent: a projected token lives for an
 * hour, a CA bundle for years. A file is looked at again at most once a second, on use, and what it last held stays in force while it can't
 * be read. Nothing here puts the token into a message.
 * Source: Kubernetes, "Accessing the Kubernetes API from a Pod"; kubelet pkg/volume/util/atomic_writer.go (files change by a swapped link).
 */
import { X509Certificate } from 'node:crypto'
import { closeSync, constants, fstatSync, openSync, readSync } from 'node:fs'
import { AgentError, messageOf } from '../model/index.ts'

const CHECK_MS = 1000
const MAX_TOKEN_BYTES = 64 * 1024
const MAX_CA_BYTES = 1024 * 1024
const TOKEN = /^[\x21-\x7e]+$/
const CERTIFICATE = /-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g

/** Where trouble is told of, once for each change of it. A pino logger is one. */
export interface KubeLogger {
  info(fields: object, message: string): void
  warn(fields: object, message: string): void
}

export const SILENT: KubeLogger = { info: () => {}, warn: () => {} }

interface WatchedFileOptions {
  readonly path: string
  readonly maxBytes: number
  /** Ends a message: what a person can do. */
  readonly hint: string
  /** The content as it is used; throws for one that can't be meant. */
  readonly check: (text: string) => string
  readonly now: () => number
}

/** One small file, read when it has changed. */
class WatchedFile {
  readonly #options: WatchedFileOptions
  #stamp = ''
  #content: string | undefined
  #problem: string | undefined
  #checkedMs = Number.NEGATIVE_INFINITY

  constructor(options: WatchedFileOptions) {
    this.#options = options
  }

  /** Why the file can't be used as it is now. */
  get problem(): string | undefined {
    return this.#problem
  }

  /** The content in force. Throws when there has never been any. */
  read(): string {
    const now = this.#options.now()
    if (now - this.#checkedMs >= CHECK_MS || this.#content === undefined) this.#look(now)
    if (this.#content === undefined) throw new Error(this.#problem ?? `${this.#options.path}: not read yet`)
    return this.#content
  }

  /** The next read looks at the file whatever its stamp says: two writes in one tick of the clock look the same. */
  doubt(): void {
    this.#stamp = ''
    this.#checkedMs = Number.NEGATIVE_INFINITY
  }

  #look(now: number): void {
    this.#checkedMs = now
    const { path, hint, check } = this.#options
    try {
      const text = this.#readChanged()
      if (text === undefined) return
      this.#content = check(text)
      this.#problem = undefined
    } catch (thrown) {
      // Seen with the next look, even if nothing touches the file till then.
      this.#stamp = ''
      const kept = this.#content === undefined ? '' : '; what it held before stays in force'
      this.#problem = `${path}: ${messageOf(thrown)}${kept}. ${hint}`
    }
  }

  /** The text, or undefined when the file is the one that was read before. */
  #readChanged(): string | undefined {
    const { path, maxBytes } = this.#options
    // Non-blocking: opening a FIFO would wait for a writer for ever.
    const fd = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK)
    try {
      const stat = fstatSync(fd)
      if (!stat.isFile()) throw new Error('not a regular file')
      const stamp = `${stat.dev}:${stat.ino}:${stat.mtimeMs}:${stat.ctimeMs}:${stat.size}`
      if (stamp === this.#stamp) return undefined
      if (stat.size > maxBytes) throw new Error(`${stat.size} bytes, more than the ${maxBytes} that it may have`)
      const buffer = Buffer.alloc(stat.size + 1)
      const length = readSync(fd, buffer, 0, buffer.length, 0)
      if (length !== stat.size) throw new Error('written while it was read')
      this.#stamp = stamp
      return buffer.toString('utf8', 0, length)
    } finally {
      closeSync(fd)
    }
  }
}

export interface CredentialsOptions {
  readonly tokenFile: string
  readonly caFile: string
  /** Monotonic milliseconds. */
  readonly now: () => number
  /** @default SILENT */
  readonly logger?: KubeLogger
}

export class Credentials {
  readonly #token: WatchedFile
  readonly #ca: WatchedFile
  readonly #logger: KubeLogger
  #told = ''

  constructor({ tokenFile, caFile, now, logger = SILENT }: CredentialsOptions) {
    this.#logger = logger
    this.#token = new WatchedFile({
      path: tokenFile,
      maxBytes: MAX_TOKEN_BYTES,
      hint: 'Mount a service account token there, or set cluster.tokenFile',
      check: checkToken,
      now,
    })
    this.#ca = new WatchedFile({
      path: caFile,
      maxBytes: MAX_CA_BYTES,
      hint: 'Put the certificates of the cluster there in PEM form, or set cluster.caFile',
      check: checkCertificates,
      now,
    })
  }

  /** Throws an Error that names the file if there has never been a token in it. */
  token(): string {
    return this.#read(this.#token)
  }

  /** One or more certificates in PEM form. Throws like `token`. */
  ca(): string {
    return this.#read(this.#ca)
  }

  /** The server refused the token: read the file again at the next use. */
  doubtToken(): void {
    this.#token.doubt()
  }

  /** The certificate of the server was not vouched for: read the file again at the next use. */
  doubtCa(): void {
    this.#ca.doubt()
  }

  /** What is wrong with the files, while what they held before is still in use. */
  get problems(): readonly string[] {
    return [this.#token.problem, this.#ca.problem].filter((problem) => problem !== undefined)
  }

  #read(file: WatchedFile): string {
    try {
      return file.read()
    } finally {
      this.#tell()
    }
  }

  #tell(): void {
    const { problems } = this
    const text = problems.join('\n')
    if (text === this.#told) return
    this.#told = text
    if (text === '') this.#logger.info({}, 'credentials readable again')
    else this.#logger.warn({ problems }, 'credentials not readable')
  }
}

function checkToken(text: string): string {
  const token = text.trim()
  if (token === '') throw new Error('the file is empty')
  if (!TOKEN.test(token)) throw new Error('not a token: it holds spaces or characters outside ASCII')
  return token
}

/** Node takes a bundle without one certificate in it, and then trusts nobody and says nothing. */
function checkCertificates(text: string): string {
  const certificates = text.match(CERTIFICATE) ?? []
  if (certificates.length === 0) throw new Error('no certificate in PEM form')
  for (const [index, certificate] of certificates.entries()) {
    try {
      void new X509Certificate(certificate)
    } catch (thrown) {
      throw new Error(`certificate ${index + 1} of ${certificates.length} can't be parsed`, { cause: thrown })
    }
  }
  return certificates.join('\n')
}

/**
 * The API server of the cluster that this process runs in, by the variables that the kubelet sets in every container; undefined outside
 * a cluster.
 */
export function inClusterServer(environment: Readonly<Record<string, string | undefined>>): string | undefined {
  const host = environment['KUBERNETES_SERVICE_HOST'] ?? ''
  const port = environment['KUBERNETES_SERVICE_PORT'] ?? ''
  if (host === '') return undefined
  const url = `https://${host.includes(':') ? `[${host}]` : host}:${port === '' ? '443' : port}`
  if (!/^[0-9]{0,5}$/.test(port) || !/^[-0-9A-Za-z.:]+$/.test(host) || !URL.canParse(url)) {
    throw new AgentError(
      'E_CONFIG',
      `KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT name no server: ${JSON.stringify(`${host} ${port}`.slice(0, 300))}`,
      { hint: 'Set cluster.server to the URL of the API server.' },
    )
  }
  return url
}
