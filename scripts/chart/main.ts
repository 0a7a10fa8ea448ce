/**
 * `npm run manifests`: writes what of deploy/ is made from something else. values.schema.json from the agent's schema, the chart's copy of the alert
 * rules, and the plain manifests from the chart. test/deploy holds the files to it.
 */
import { mkdirSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { CHART } from './render.ts'
import { generatedFiles, manifestFiles } from './generated.ts'

// The manifests come from the chart as the other files make it: one after the other.
for (const files of [generatedFiles, manifestFiles]) {
  for (const [path, text] of files()) {
    mkdirSync(dirname(path), { recursive: true })
    writeFileSync(path, text)
    process.stdout.write(`${path.replace(`${join(CHART, '../../..')}/`, '')}\n`)
  }
}
