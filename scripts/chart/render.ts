/**
 * Renders the chart with scripts/chart/render.go, a program of Go's template engine and sprig, as `helm template` would. Debian has what it is
 * built of: golang-go, golang-github-masterminds-sprig-dev, golang-k8s-sigs-yaml-dev, golang-github-xeipuuv-gojsonschema-dev.
 */
import { spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { parseAllDocuments } from 'yaml'

const ROOT = resolve(import.meta.dirname, '../..')
/** The chart's directory. */
export const CHART = join(ROOT, 'deploy/chart/kube-agent')
const SOURCE = join(import.meta.dirname, 'render.go')
/** Where Debian keeps Go packages. */
const PACKAGES = '/usr/share/gocode'
const NEEDED = ['github.com/Masterminds/sprig', 'sigs.k8s.io/yaml', 'github.com/xeipuuv/gojsonschema']
const CACHE = join(ROOT, 'node_modules/.cache/kube-agent-chart')
/** Some ten seconds of CPU, on a machine with other things to do. */
const BUILD_MS = 240_000
const RENDER_MS = 60_000

/** One installation: the name of the release, and values over those of the chart. */
export interface Case {
  /** @default kube-agent */
  readonly release?: string
  /** @default kube-agent */
  readonly namespace?: string
  /** Of the cluster. @default v1.26.0, the oldest that the chart is for: what it gives there, every later one takes */
  readonly kubeVersion?: string
  readonly values?: Readonly<Record<string, unknown>>
}

/** A Kubernetes object as far as everybody looks at it. */
export interface Manifest {
  readonly apiVersion: string
  readonly kind: string
  readonly metadata: {
    readonly name: string
    readonly namespace?: string
    readonly labels?: Readonly<Record<string, string>>
    readonly annotations?: Readonly<Record<string, string>>
  }
  readonly [key: string]: unknown
}

/** What a rendering gives: objects in the order of installation, the text that they were read from, and the notes; or why there are none. */
export interface Rendered {
  readonly error?: string
  readonly objects: readonly Manifest[]
  readonly texts: readonly string[]
  readonly notes: string
}

/** Why the chart can't be rendered on this machine, as one line; undefined when it can. */
export function whyNoRenderer(): string | undefined {
  if (spawnSync('go', ['version']).status !== 0) return 'needs Go (golang-go), to render the chart'
  const missing = NEEDED.filter((name) => !existsSync(join(PACKAGES, 'src', name)))
  return missing.length === 0 ? undefined : `needs the Go packages ${missing.join(', ')} in ${PACKAGES}, to render the chart`
}

/** The program's path; built when it is not there for this source. Throws with what the compiler said. */
function renderer(): string {
  const digest = createHash('sha256').update(readFileSync(SOURCE)).digest('hex').slice(0, 16)
  const program = join(CACHE, `render-${digest}`)
  if (existsSync(program)) return program
  mkdirSync(CACHE, { recursive: true })
  const work = mkdtempSync(join(CACHE, 'build-'))
  const env = {
    PATH: process.env['PATH'],
    HOME: work,
    GO111MODULE: 'off',
    GOPATH: PACKAGES,
    GOCACHE: join(work, 'cache'),
    GOTMPDIR: work,
    GOFLAGS: '',
  }
  try {
    // With cgo as it comes: Go's own packages are there compiled that way.
    const args = ['build', '-ldflags=-s -w', '-o', join(work, 'render'), SOURCE]
    const built = spawnSync('go', args, { encoding: 'utf8', env, cwd: work, timeout: BUILD_MS })
    if (built.status !== 0) throw new Error(`render.go can't be built: ${built.error?.message ?? ''}${built.stderr}`)
    renameSync(join(work, 'render'), program)
    return program
  } finally {
    rmSync(work, { recursive: true, force: true })
  }
}

/** Renders each of the cases, in their order. Throws where the program itself fails. */
export function renderChart(cases: readonly Case[], chart = CHART): Rendered[] {
  const requests = cases.map(({ release = 'kube-agent', namespace = 'kube-agent', kubeVersion = 'v1.26.0', values = {} }) => ({
    release,
    namespace,
    kubeVersion,
    values,
  }))
  const run = spawnSync(renderer(), [chart], {
    encoding: 'utf8',
    input: JSON.stringify(requests),
    timeout: RENDER_MS,
    maxBuffer: 1 << 26,
  })
  if (run.status !== 0) throw new Error(`the chart can't be rendered: ${run.error?.message ?? ''}${run.stderr}`)
  const answers = JSON.parse(run.stdout) as readonly {
    readonly files?: Readonly<Record<string, string>>
    readonly error?: string
  }[]
  return answers.map(({ files, error }) => (files === undefined ? failed(error ?? '') : renderedOf(files)))
}

const failed = (error: string): Rendered => ({ error, objects: [], texts: [], notes: '' })

/** Helm installs kinds in an order of its own; these are the ones that the chart has. */
const ORDER = ['NetworkPolicy', 'ServiceAccount', 'ConfigMap', 'ClusterRole', 'ClusterRoleBinding', 'Service', 'DaemonSet']

function renderedOf(files: Readonly<Record<string, string>>): Rendered {
  const { 'templates/NOTES.txt': notes = '', ...templates } = files
  const documents = Object.values(templates)
    .flatMap((text) => text.split(/^---$/m))
    .map((text) => text.trim())
    .filter((text) => text !== '')
    .map((text) => ({ text, object: objectOf(text) }))
  const rank = ({ object }: { readonly object: Manifest }): number =>
    (ORDER.indexOf(object.kind) + ORDER.length + 1) % (ORDER.length + 1)
  documents.sort((left, right) => rank(left) - rank(right))
  return { objects: documents.map(({ object }) => object), texts: documents.map(({ text }) => text), notes }
}

/** One document, strictly: a key given twice is a mistake. */
function objectOf(text: string): Manifest {
  const [document, second] = parseAllDocuments(text, { uniqueKeys: true })
  if (document === undefined || second !== undefined || !('errors' in document)) throw new Error(`not one document:\n${text}`)
  const [problem] = [...document.errors, ...document.warnings]
  if (problem !== undefined) throw new Error(`${problem.message}\n${text}`)
  return document.toJS() as Manifest
}
