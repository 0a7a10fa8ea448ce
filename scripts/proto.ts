/**
 * Turns the .proto files into one ES module with types each, in src/kubelet/gen/ (git-ignored, made by every build). pbjs is run
 * from node_modules: nothing is fetched, and an ordinary user who can write the checkout can run it. The module is generated
 * once and kept until its inputs are newer. A module is moved into place only when it is whole, so that a build that was
 * interrupted, or two at once, leave nothing half-written behind.
 */
import { execFileSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, renameSync, rmSync, statSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const SCRIPT = fileURLToPath(import.meta.url)
const ROOT = dirname(dirname(SCRIPT))
const OUTPUT = join(ROOT, 'src/kubelet/gen')

const MODULES = [
  { name: 'deviceplugin', proto: 'proto/deviceplugin/v1beta1/api.proto' },
  { name: 'podresources', proto: 'proto/podresources/v1/api.proto' },
]

/** pbjs derives the types from the comments, so `--no-comments` would leave the .d.ts empty. */
const FLAGS =
  '--target static-module --wrap esm --dts --force-number --no-verify --no-convert --no-delimited --no-typeurl --no-service'.split(
    ' ',
  )

function modifiedMs(path: string): number {
  return statSync(path, { throwIfNoEntry: false })?.mtimeMs ?? 0
}

function generate(name: string, proto: string): void {
  const pbjs = createRequire(import.meta.url).resolve('protobufjs-cli/bin/pbjs')
  const scratch = mkdtempSync(join(OUTPUT, '.new-'))
  try {
    // The name of the root keeps the registries of two generated modules apart.
    const args = [...FLAGS, '--root', name, '--out', join(scratch, `${name}.js`), join(ROOT, proto)]
    execFileSync(process.execPath, [pbjs, ...args], { stdio: ['ignore', 'ignore', 'inherit'] })
    // The types go first: the age of the code is what the next run looks at.
    for (const file of [`${name}.d.ts`, `${name}.js`]) renameSync(join(scratch, file), join(OUTPUT, file))
  } finally {
    rmSync(scratch, { recursive: true, force: true })
  }
}

mkdirSync(OUTPUT, { recursive: true })
for (const { name, proto } of MODULES) {
  const newestInput = Math.max(modifiedMs(join(ROOT, proto)), modifiedMs(SCRIPT))
  const oldestOutput = Math.min(modifiedMs(join(OUTPUT, `${name}.js`)), modifiedMs(join(OUTPUT, `${name}.d.ts`)))
  if (oldestOutput <= newestInput) generate(name, proto)
}
