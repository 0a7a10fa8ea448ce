/** One table of the texts for browsers: where each stands in the repository, and how to get it wherever the program runs from. */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'

/** Files by name, relative to the root of the repository. scripts/bundle.ts puts their texts into the bundle. */
export const ASSET_FILES = {
  /** uPlot as a script that defines the global `uPlot`, and its style sheet. */
  'uplot.js': 'node_modules/uplot/dist/uPlot.iife.min.js',
  'uplot.css': 'node_modules/uplot/dist/uPlot.min.css',
  'status.html': 'src/serve/page/status.html',
  'status.css': 'src/serve/page/status.css',
  'status.js': 'src/serve/page/status.js',
  'map.js': 'src/serve/page/map.js',
  'charts.js': 'src/serve/page/charts.js',
  'tables.js': 'src/serve/page/tables.js',
  'dom.js': 'src/serve/page/dom.js',
  'format.js': 'src/serve/page/format.js',
  'feed.js': 'src/serve/page/feed.js',
  'replay.css': 'src/cli/replay/page/replay.css',
  'replay.js': 'src/cli/replay/page/replay.js',
} as const

export type AssetName = keyof typeof ASSET_FILES

/** Set by the bundler: the texts of ASSET_FILES by name. */
declare const KUBE_AGENT_ASSETS: Readonly<Record<AssetName, string>> | undefined

/** The text of an asset. */
export function assetText(name: AssetName): string {
  if (typeof KUBE_AGENT_ASSETS !== 'undefined') return KUBE_AGENT_ASSETS[name]
  return readFileSync(join(import.meta.dirname, '../..', ASSET_FILES[name]), 'utf8')
}
