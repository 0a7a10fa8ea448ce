/**
 * A certificate authority and a server certificate from it, made with the openssl CLI in a directory of the test. Names: localhost and
 * 127.0.0.1, as the client checks the address it dialled.
 */
import { execFile } from 'node:child_process'
import { readFileSync, renameSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'

const run = promisify(execFile)

const EC_KEY = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '2']

export interface Certificates {
  readonly ca: string
  readonly cert: string
  readonly key: string
}

let serial = 0

/** Each call makes a CA of its own: what one vouches for, another does not. */
export async function makeCertificates(directory: string): Promise<Certificates> {
  serial += 1
  const path = (name: string): string => join(directory, `${name}-${serial}.pem`)
  const [caKey, ca, key, cert] = [path('ca-key'), path('ca'), path('server-key'), path('server')]
  const caName = `/CN=kubernetes-${process.pid}-${serial}`
  const caUse = ['-addext', 'basicConstraints=critical,CA:TRUE', '-addext', 'keyUsage=critical,keyCertSign,digitalSignature']
  await run('openssl', ['req', '-x509', ...EC_KEY, '-keyout', caKey, '-out', ca, '-subj', caName, ...caUse])
  const request = path('server-request')
  await run('openssl', ['req', ...EC_KEY.slice(0, -2), '-keyout', key, '-out', request, '-subj', '/CN=kube-apiserver'])
  const extensions = path('server-extensions')
  writeFileSync(extensions, 'subjectAltName=IP:127.0.0.1,DNS:localhost\nextendedKeyUsage=serverAuth\nbasicConstraints=CA:FALSE\n')
  const signing = ['-CA', ca, '-CAkey', caKey, '-CAcreateserial', '-days', '2', '-extfile', extensions]
  await run('openssl', ['x509', '-req', '-in', request, '-out', cert, ...signing])
  return { ca: readFileSync(ca, 'utf8'), cert: readFileSync(cert, 'utf8'), key: readFileSync(key, 'utf8') }
}

/** The kubelet swaps a projected volume in one rename: a reader sees the old text or the new one, never half. */
export function replaceFile(path: string, text: string): void {
  writeFileSync(`${path}.new`, text)
  renameSync(`${path}.new`, path)
}
