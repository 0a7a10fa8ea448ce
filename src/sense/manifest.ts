/** Kubernetes Pod manifests as text → PodSpecs, each document by itself. What a Pod object means is read in model/pod-object.ts. */
import type { PodSpec } from '../model/index.ts'
import { messageOf, oneLine, podFromObject } from '../model/index.ts'
import { readDocuments } from './yaml-documents.ts'

/** More than a person reads of one file. */
const MAX_PROBLEMS = 20
const MAX_MESSAGE = 300

export interface ParsedManifest {
  readonly pods: readonly PodSpec[]
  /** One line each: file, line, what is wrong. */
  readonly problems: readonly string[]
}

/** Reads every Pod in a YAML or JSON text. A document that can't be used is a problem and takes no other down with it. Never throws. */
export function parseManifest(text: string, origin: string): ParsedManifest {
  const pods: PodSpec[] = []
  const problems: string[] = []
  for (const document of readDocuments(text)) {
    if (problems.length === MAX_PROBLEMS) {
      problems.push(`${origin}: more problems than these; the rest of the file is left out`)
      break
    }
    if (document.problem !== undefined) {
      problems.push(`${origin}:${document.problem.line}: ${document.problem.message}`)
      continue
    }
    try {
      const pod = podFromObject(document.toJS(), origin)
      if (pod !== undefined) pods.push(pod)
    } catch (thrown) {
      problems.push(`${origin}:${document.line}: ${oneLine(messageOf(thrown), MAX_MESSAGE)}`)
    }
  }
  return { pods, problems }
}
