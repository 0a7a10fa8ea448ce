/** The files of deploy/ that are made from something else, by path. */
import { readFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { type Case, CHART, renderChart } from './render.ts'
import { valuesSchema } from './values-schema.ts'

const DEPLOY = resolve(import.meta.dirname, '../../deploy')

/** Where the plain manifests are, and the values that each was rendered with: for those who install without Helm. */
export const MANIFESTS: readonly (Case & { readonly file: string; readonly about: string })[] = [
  {
    file: 'observe.yaml',
    about: `The chart with its default values: agents that sense and decide, and change nothing. No way back from enforce.yaml: release.yaml is.`,
    values: {},
  },
  {
    file: 'enforce.yaml',
    about: `The chart with config.mode: enforce: agents that advertise and write. Applied over observe.yaml, it goes on from there.`,
    values: { config: { mode: 'enforce' } },
  },
  {
    file: 'release.yaml',
    about: `The chart with config.mode: enforce and releaseNodes: true, to be applied before kubectl delete -f: puts every node back as it was.`,
    values: { config: { mode: 'enforce' }, releaseNodes: true },
  },
]

/** Pods with host paths are not for namespaces of the levels baseline and restricted. */
const NAMESPACE = `apiVersion: v1
kind: Namespace
metadata:
  name: kube-agent
  labels:
    app.kubernetes.io/name: kube-agent
    # The agent mounts directories of the node.
    pod-security.kubernetes.io/enforce: privileged`

/** What needs no Go: the schema of the values, and the alert rules that the chart ships. */
export function generatedFiles(): ReadonlyMap<string, string> {
  return new Map([
    [join(CHART, 'values.schema.json'), `${JSON.stringify(valuesSchema(), null, 2)}\n`],
    [join(CHART, 'files/alerts.yaml'), readFileSync(join(DEPLOY, 'monitoring/alerts.yaml'), 'utf8')],
  ])
}

/** The plain manifests, as the chart in deploy/chart renders them now. Throws where it does not. */
export function manifestFiles(): ReadonlyMap<string, string> {
  const rendered = renderChart(MANIFESTS)
  return new Map(
    MANIFESTS.map(({ file, about }, index) => {
      const { error, texts } = rendered[index] ?? { error: 'nothing was rendered', texts: [] }
      if (error !== undefined) throw new Error(`${file}: ${error}`)
      const head = `# ${about}\n# Made from deploy/chart by npm run manifests: change the chart, not this.`
      return [join(DEPLOY, 'manifests', file), `${[`${head}\n${NAMESPACE}`, ...texts].join('\n---\n')}\n`]
    }),
  )
}
