/** Real files in a directory of the test's own, and the lines of the error a load ends in. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { onTestFinished } from 'vitest'
import { type ConfigSources, loadConfig } from '../../../src/config/index.ts'
import { AgentError } from '../../../src/model/index.ts'

export function tempDirectory(): string {
  const directory = mkdtempSync(join(tmpdir(), 'kube-agent-config-'))
  onTestFinished(() => rmSync(directory, { recursive: true, force: true }))
  return directory
}

export function yamlFile(content: string | Uint8Array): string {
  const file = join(tempDirectory(), 'config.yaml')
  writeFileSync(file, content)
  return file
}

export function failureOf(sources: ConfigSources): AgentError {
  try {
    loadConfig(sources)
  } catch (thrown) {
    if (thrown instanceof AgentError) return thrown
    throw thrown
  }
  throw new Error('the configuration loaded')
}

/** The issues found in a file of this content, as `LINE:COL: key: message`. */
export function issuesOf(content: string): string[] {
  const file = yamlFile(content)
  const failure = failureOf({ file })
  if (failure.code !== 'E_CONFIG') throw failure
  return failure.message.split('\n').map((line) => (line.startsWith(`${file}:`) ? line.slice(file.length + 1) : line))
}
