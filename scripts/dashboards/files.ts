/** The dashboards as the files that are shipped. */
import { format, resolveConfig } from 'prettier'
import { FLEET } from './fleet.ts'
import { NODE } from './node.ts'
import { grafanaJson } from './panels.ts'

/** Where they are shipped. */
export const DIRECTORY = new URL('../../deploy/monitoring/dashboards/', import.meta.url)

export const DASHBOARDS = { 'fleet.json': FLEET, 'node.json': NODE } as const

/** The text of each file by its name. */
export async function dashboardFiles(): Promise<ReadonlyMap<string, string>> {
  const options = { ...(await resolveConfig(DIRECTORY)), parser: 'json' }
  const entries = Object.entries(DASHBOARDS).map(
    async ([name, dashboard]) => [name, await format(JSON.stringify(grafanaJson(dashboard)), options)] as const,
  )
  return new Map(await Promise.all(entries))
}
