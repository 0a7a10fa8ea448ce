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
  minify: true,
  keepNames: true,
  logLevel: 'warning',
  define: { KUBE_AGENT_VERSION: JSON.stringify(version), KUBE_AGENT_ASSETS: JSON.stringify(assets) },
  banner: {
    js: [
      // One worker thread for V8: each has a heap of its own, and there is too little garbage to share out. A nursery of 2 MiB: in 1 MiB
      // the garbage of a tick or two is collected while what was made with it still lives, which is then copied.
      '#!/usr/bin/env -S node --v8-pool-size=1 --min-semi-space-size=2',
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
chmodSync(outfile, 0o755)
