/**
 * npm run test:vm [-- PATTERN]: the real-kernel suite on cgroup v2, with 8 CPUs, two sockets, SMT and two NUMA nodes, in a virtual machine.
 * Where that can't be had it says why and exits with 0; it exits with 1 when a test failed or the machine did. PATTERN is a regular
 * expression on the names of the tests. It leaves nothing behind but its cache of packages.
 */
import { copyFileSync, mkdtempSync, rmSync, symlinkSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { build } from 'esbuild'
import { runMachine } from './machine.ts'
import { getParts, NoMeans, requireMeans } from './parts.ts'

const SECONDS_MAX = 600

async function main(pattern: string | undefined): Promise<number> {
  requireMeans()
  const parts = getParts()
  const folder = mkdtempSync(join(tmpdir(), 'kube-agent-vm-'))
  const clean = (): void => rmSync(folder, { recursive: true, force: true })
  process.once('exit', clean)
  const suite = await bundleSuite(folder)
  const program = join(folder, 'kube-agent.mjs')
  copyFileSync('dist/kube-agent.mjs', program)
  // Optional packages are looked for beside the program.
  symlinkSync(resolve('node_modules'), join(folder, 'node_modules'))
  const filter = pattern === undefined ? [] : [`--test-name-pattern=${pattern}`]
  const options = ['--enable-source-maps', '--test-reporter=spec', ...filter]
  const startedMs = performance.now()
  const ran = await runMachine(
    parts,
    { command: [process.execPath, ...options, suite, program], secondsMax: SECONDS_MAX },
    folder,
  )
  console.log(`the virtual machine ran for ${((performance.now() - startedMs) / 1000).toFixed(0)} s`)
  console.log(summaryOf(ran.output))
  if (ran.exitCode === 0) return 0
  if (ran.killed !== undefined) console.error(`the virtual machine was killed: ${ran.killed}`)
  if (ran.exitCode === undefined) console.error(`its program did not end; the console said:\n${ran.console}`)
  return 1
}

/** The runner's own counts in one line. A test that was cancelled has not passed. */
function summaryOf(output: string): string {
  const count = (what: string): number => Number(new RegExp(`^ℹ ${what} (\\d+)$`, 'm').exec(output)?.[1] ?? 0)
  return `${count('pass')} passed, ${count('fail') + count('cancelled')} failed, ${count('skipped')} skipped`
}

async function bundleSuite(folder: string): Promise<string> {
  const outfile = join(folder, 'suite.mjs')
  await build({
    entryPoints: ['scripts/vm/suite.ts'],
    outfile,
    bundle: true,
    platform: 'node',
    target: 'node20',
    format: 'esm',
    sourcemap: 'inline',
    sourcesContent: false,
    logLevel: 'warning',
    banner: {
      js: "import { createRequire as __createRequire } from 'node:module'\nconst require = __createRequire(import.meta.url)",
    },
  })
  return outfile
}

for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.once(signal, () => process.exit(1))
try {
  process.exitCode = await main(process.argv[2])
} catch (thrown) {
  if (!(thrown instanceof NoMeans)) throw thrown
  console.log(`skipped: ${thrown.message}`)
}
