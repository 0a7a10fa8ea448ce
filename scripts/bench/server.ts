/** The online server of the latency bench: nginx from Debian, with a page to serve. */
import { mkdirSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { join } from 'node:path'

const PAGE_BYTES = 16_384
const WORDS = 400

/**
 * One worker, which compresses its page anew for each request, as a service that works for its answers does: some 30 % of a CPU at 3,000 requests a second.
 * On the first CPU, as `worker_cpu_affinity auto` would have it, while the client is on the last: a server that waits for a CPU waits for
 * hogs, not for who measures it. No log, so that no disk takes part. Returns the path of the configuration.
 */
export function writeServer(directory: string, port: number): string {
  mkdirSync(join(directory, 'www'))
  writeFileSync(join(directory, 'www/page.html'), page())
  const file = join(directory, 'nginx.conf')
  const paths = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map((name) => `${name}_temp_path ${directory}/${name};`)
  writeFileSync(
    file,
    `user root; daemon off; worker_processes 1; worker_cpu_affinity 1; pid ${directory}/nginx.pid; error_log ${directory}/nginx.log;
events { worker_connections 2048; }
http {
  access_log off; gzip on; gzip_comp_level 1; keepalive_requests 1000000000; ${paths.join(' ')}
  server { listen 127.0.0.1:${port}; root ${directory}/www; }
}
`,
  )
  return file
}

/** Text that compresses about as well as text does: the same words in an order without a pattern, the same for every run. */
function page(): string {
  let state = 1
  let text = ''
  while (text.length < PAGE_BYTES) {
    state = (state * 1_103_515_245 + 12_345) % 2 ** 31
    text += `${((state % WORDS) * 7919).toString(36)} `
  }
  return text.slice(0, PAGE_BYTES)
}

/** A TCP port of the loopback that nobody listens on at the moment. */
export async function freePort(): Promise<number> {
  const server = createServer()
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const address = server.address()
  await new Promise((resolve) => server.close(resolve))
  return typeof address === 'object' && address !== null ? address.port : 0
}
