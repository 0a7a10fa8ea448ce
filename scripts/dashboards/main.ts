/** `npm run dashboards`: writes the dashboards that are shipped. */
import { writeFileSync } from 'node:fs'
import { dashboardFiles, DIRECTORY } from './files.ts'

for (const [name, text] of await dashboardFiles()) writeFileSync(new URL(name, DIRECTORY), text)
