/** `npm run reference`: writes the generated parts of the README. */
import { readFileSync, writeFileSync } from 'node:fs'
import { fillReadme, README } from './readme.ts'

const before = readFileSync(README, 'utf8')
const after = fillReadme(before)
if (after !== before) writeFileSync(README, after)
console.log(after === before ? 'README.md: nothing has changed' : 'README.md: references written')
