/**
 * Bundles the program into one file, dist/kube-agent.mjs, that runs on plain Node without node_modules: what the image ships and what
 * `npm run demo` runs. CommonJS packages inside an ES module need a `require`, hence the banner.
 */
import { chmodSync, readFileSync } from 'node:fs'
import { build } from 'esbuild'
import { ASSET_FILES } from '../src/web/index.ts'

const { version } = JSON.parse(readFileSync('package.json', 'utf8')) as { version: string }
const outfile = 'dist/kube-agent.mjs'
/** Inside the bundle, which is one file: what browsers are given. */
const assets = Object.fromEntries(Object.entries(ASSET_FILES).map(([name, file]) => [name, readFileSync(file, 'utf8')]))

await build({
  entryPoints: ['src/main.ts'],
  outfile,
  bundle: true,
  platform: 'node',
  target: 'node20',
  format: 'esm',
  legalComments: 'none',
  // Native and optional: found at run time where it is installed, told of where it is not.
  external: ['koffi'],
  // Names stay: people read stack traces. To keep them beside short ones (keepNames) would cost a call for each closure that is made, 2 % of all
  // CPU time.
  minifyWhitespace: true,
  minifySyntax: true,
  logLevel: 'warning',
  define: { KUBE_AGENT_VERSION: JSON.stringify(version), KUBE_AGENT_ASSETS: JSON.stringify(assets) },
  banner: {
    js: [
      // One worker thread for V8 and one heap of malloc for all threads: each has one of its own else, and there is too little to share out. A
      // nursery of 1 MiB: a larger one costs a tenth less CPU time in calm, and ten times itself in memory.
      // And what is never called is never compiled, functions called where they are written among it: 8 MiB.
      '#!/usr/bin/env -S MALLOC_ARENA_MAX=1 node --v8-pool-size=1 --max-semi-space-size=1 --max-lazy',
      "import { createRequire as __createRequire } from 'node:module'",
      "import { setFlagsFromString as __setFlags } from 'node:v8'",
      // A daemon that makes little garbage has no use for a nursery of 48 MiB; the flag only works before the nursery has grown.
      "__setFlags('--semi-space-growth-factor=1')",
      // Collect when the heap has grown by a fifth, not when it has doubled: on a node memory is what others pay for.
      "__setFlags('--heap-growing-percent=20')",
      // Optimise only what stays hot: code that runs once a second gains nothing from it, and each job leaves memory behind.
      "__setFlags('--interrupt-budget=1000000')",
      // Each pool thread keeps a heap of its own; the agent has next to nothing for them to do.
      "process.env.UV_THREADPOOL_SIZE ??= '2'",
      'const require = __createRequire(import.meta.url)',
    ].join('\n'),
  },
})
// V8 keeps a source with a single character beyond Latin-1 at two bytes for each.
const wide = /[\u0100-\uffff]/.exec(readFileSync(outfile, 'utf8'))
if (wide !== null) {
  const { index, input } = wide
  throw new Error(
    `the bundle would take twice its size in memory: write ${wide[0]} as an escape in ${JSON.stringify(input.slice(index - 60, index + 20))}`,
  )
}
chmodSync(outfile, 0o755)
