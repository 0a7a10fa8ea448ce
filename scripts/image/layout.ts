/**
 * What the image holds beside its base: Node, the bundle, a command `kube-agent` and, of the optional koffi, the files for this machine. The
 * build stage of deploy/Dockerfile runs this file (`layout.ts DIRECTORY`); scripts/image/main.ts lays the same over a base made of this
 * machine's libraries. Needs the bundle in dist/.
 */
import {
  chmodSync,
  copyFileSync,
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { dirname, join, resolve } from 'node:path'

const ROOT = resolve(import.meta.dirname, '../..')
const NODE = 'usr/local/bin/node'
const HOME = 'usr/local/lib/kube-agent'
/** Of koffi, what it loads: its sources for other machines and its documentation are most of it. */
const KOFFI = ['package.json', 'index.cjs', 'src/koffi/index.cjs', 'src/koffi/src/static.cjs']

/** Writes the layout into an empty or new directory. */
export function layOut(directory: string): void {
  const at = (path: string): string => {
    mkdirSync(dirname(join(directory, path)), { recursive: true })
    return join(directory, path)
  }
  copyFileSync(process.execPath, at(NODE))
  chmodSync(at(NODE), 0o755)
  // There is no /usr/bin/env in the image, so the first line names its node: `kubectl exec POD -- kube-agent status`.
  const bundle = readFileSync(join(ROOT, 'dist/kube-agent.mjs'), 'utf8').replace(/^#!.*/, `#!/${NODE}`)
  writeFileSync(at(`${HOME}/kube-agent.mjs`), bundle, { mode: 0o755 })
  symlinkSync('../lib/kube-agent/kube-agent.mjs', at('usr/local/bin/kube-agent'))
  const modules = join(ROOT, 'node_modules')
  const natives = join(modules, '@koromix')
  for (const name of existsSync(natives) ? readdirSync(natives) : []) {
    if (!name.startsWith('koffi-linux-')) continue
    cpSync(join(natives, name), at(`${HOME}/node_modules/@koromix/${name}`), { recursive: true })
    for (const file of KOFFI) copyFileSync(join(modules, 'koffi', file), at(`${HOME}/node_modules/koffi/${file}`))
  }
}

const [, program, directory] = process.argv
if (program === import.meta.filename) {
  if (directory === undefined) throw new Error('usage: layout.ts DIRECTORY')
  layOut(directory)
}
