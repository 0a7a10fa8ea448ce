/**
 * Kubernetes objects held to Kubernetes' own schema, offline and strictly: by the validators that kubernetes-models has made of the OpenAPI
 * documents (what is required, what has which type), and by the compiler on its types, which alone knows a field that there is not.
 */
import { createRequire } from 'node:module'
import { join, resolve } from 'node:path'
import ts from 'typescript'
import { messageOf } from '../../src/model/index.ts'
import type { Manifest } from '../../scripts/chart/render.ts'

const ROOT = resolve(import.meta.dirname, '../..')
const require = createRequire(import.meta.url)

/** Where the models of the kinds are that this project has. */
const MODELS: Readonly<Record<string, string>> = {
  'v1 ConfigMap': 'v1/ConfigMap',
  'v1 Namespace': 'v1/Namespace',
  'v1 Pod': 'v1/Pod',
  'v1 Service': 'v1/Service',
  'v1 ServiceAccount': 'v1/ServiceAccount',
  'apps/v1 DaemonSet': 'apps/v1/DaemonSet',
  'apps/v1 Deployment': 'apps/v1/Deployment',
  'apps/v1 StatefulSet': 'apps/v1/StatefulSet',
  'batch/v1 Job': 'batch/v1/Job',
  'networking.k8s.io/v1 NetworkPolicy': 'networking.k8s.io/v1/NetworkPolicy',
  'rbac.authorization.k8s.io/v1 ClusterRole': 'rbac.authorization.k8s.io/v1/ClusterRole',
  'rbac.authorization.k8s.io/v1 ClusterRoleBinding': 'rbac.authorization.k8s.io/v1/ClusterRoleBinding',
}

interface Model {
  validate(): void
}

const nameOf = ({ kind, metadata }: Manifest): string => `${kind} ${metadata.name}`

/** What is wrong with the objects, one line each; empty when nothing is. An object of a kind without a model is a problem. */
export function schemaProblems(objects: readonly Manifest[]): string[] {
  const problems: string[] = []
  const known: { readonly object: Manifest; readonly model: string }[] = []
  for (const object of objects) {
    const model = MODELS[`${object.apiVersion} ${object.kind}`]
    if (model === undefined) problems.push(`${nameOf(object)}: no model of ${object.apiVersion} ${object.kind}`)
    else known.push({ object, model })
  }
  for (const { object, model } of known) {
    const [name = ''] = model.split('/').slice(-1)
    const models = require(`kubernetes-models/${model}`) as Record<string, new (data: object) => Model>
    const Made = models[name]
    try {
      if (Made === undefined) throw new Error(`kubernetes-models/${model} has no ${name}`)
      new Made(object).validate()
    } catch (thrown) {
      problems.push(`${nameOf(object)}: ${messageOf(thrown)}`)
    }
  }
  return [...problems, ...unknownFields(known)]
}

/** Each object as a literal of its type: an object literal may have no property that its type does not have, at any depth. */
function unknownFields(objects: readonly { readonly object: Manifest; readonly model: string }[]): string[] {
  const imports = [...new Set(objects.map(({ model }) => model))].map((model) => {
    const name = model.split('/').at(-1)
    return `import type { I${name} } from 'kubernetes-models/${model}'`
  })
  const starts: number[] = []
  let text = `${imports.join('\n')}\n`
  for (const [index, { object, model }] of objects.entries()) {
    starts.push(text.length)
    text += `export const object${index}: I${model.split('/').at(-1)} = ${JSON.stringify(object, null, 1)}\n`
  }
  const file = join(ROOT, 'test/support/objects.virtual.ts')
  const options: ts.CompilerOptions = {
    module: ts.ModuleKind.NodeNext,
    moduleResolution: ts.ModuleResolutionKind.NodeNext,
    target: ts.ScriptTarget.ES2022,
    lib: ['lib.es2022.d.ts'],
    strict: true,
    noEmit: true,
    skipLibCheck: true,
    types: [],
  }
  const host = ts.createCompilerHost(options)
  const [getSourceFile, fileExists] = [host.getSourceFile.bind(host), host.fileExists.bind(host)]
  host.fileExists = (path) => path === file || fileExists(path)
  host.getSourceFile = (path, ...rest) =>
    path === file ? ts.createSourceFile(path, text, options.target ?? ts.ScriptTarget.ES2022) : getSourceFile(path, ...rest)
  const program = ts.createProgram([file], options, host)
  return ts.getPreEmitDiagnostics(program).map(({ messageText, start = 0 }) => {
    const at = starts.findLastIndex((offset) => offset <= start)
    const object = objects[at]?.object
    return `${object === undefined ? 'imports' : nameOf(object)}: ${ts.flattenDiagnosticMessageText(messageText, ' ')}`
  })
}
