/**
 * A comparison as one page that needs nothing else: no network, no other file. Everything is in its tables too, so it can be read without
 * scripts and by a screen reader. What comes from the node is text and never markup; the policy in the page allows the one script and the one
 * style sheet that it carries, by their hashes, and nothing from anywhere.
 */
import { createHash } from 'node:crypto'
import { count } from '../../record/index.ts'
import { assetText } from '../../web/index.ts'
import type { Comparison, Range, Row } from './compare.ts'
import { type Chart, type Charts, chartsOf, type Line } from './course.ts'
import type { Difference, Side } from './differences.ts'
import type { Unit } from './measures.ts'
import { amount, OPEN_LOOP, type ReplayAbout, timeOf } from './text.ts'

/** Rows of the table that stands for the plots. */
const TABLE_ROWS = 60

/** The page as HTML. */
export function comparisonPage(comparison: Comparison, about: ReplayAbout): string {
  const charts = chartsOf(comparison.course, about.hasVariant)
  const style = `${assetText('uplot.css')}\n${assetText('replay.css')}`
  // Within an element of HTML a script ends at its first closing tag, wherever that stands.
  const script = `${assetText('uplot.js')}\n${assetText('replay.js')}`.replaceAll('</script', '<\\/script')
  const policy = `default-src 'none'; style-src '${hashOf(style)}'; script-src '${hashOf(script)}'; base-uri 'none'; form-action 'none'`
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="${policy}">
<title>kube-agent replay of ${escape(about.nodeName)}</title>
<style>${style}</style>
</head>
<body>
<header>
<h1>Replay of ${escape(about.nodeName)}</h1>
${intro(comparison, about)}
</header>
<main>
${about.hasVariant ? settingsTable(comparison) : ''}
${plots(charts)}
${about.hasVariant ? measuresTable(comparison) + differencesList(comparison) : ''}
${courseTable(charts)}
<h2>What this can’t tell</h2>
<p>${escape(OPEN_LOOP)}</p>
</main>
<script type="application/json" id="course">${jsonText(charts)}</script>
<script>${script}</script>
</body>
</html>
`
}

function hashOf(text: string): string {
  return `sha256-${createHash('sha256').update(text).digest('base64')}`
}

/** JSON that can stand within an element: nothing in it can end that. */
function jsonText({ wallMs, charts }: Charts): string {
  return JSON.stringify({ wallMs, charts }).replaceAll('<', '\\u003c')
}

function intro({ ticks, fromMs, toMs, differing, unlike, settings }: Comparison, about: ReplayAbout): string {
  const span = fromMs === undefined || toMs === undefined ? '' : `, ${timeOf(fromMs)} to ${timeOf(toMs)}`
  const parts = [
    `<p class="quiet">${escape(`${count(ticks, 'tick')}${span}; recorded by kube-agent ${about.versions.join(', ')}`)}</p>`,
  ]
  const verdict = !about.hasVariant
    ? unlike.ticks === 0
      ? 'With the recorded settings every tick is decided as the agent decided it.'
      : `With the recorded settings ${count(unlike.ticks, 'tick')} of ${ticks} would be decided otherwise, in: ${unlike.in.join(', ')}.`
    : settings.length === 0
      ? 'The settings are the recorded ones: there is nothing to compare.'
      : differing === 0
        ? `No difference: all ${count(ticks, 'tick')} are decided the same.`
        : `${differing} of ${count(ticks, 'decision')} would have differed.`
  parts.push(`<p class="verdict">${escape(verdict)}</p>`)
  const notes = [...about.problems]
  const { failedTicks, gaps, variantFailures, variantFailure } = about.notes
  if (failedTicks > 0) notes.push(`${count(failedTicks, 'tick')} failed when recorded, and decided nothing.`)
  if (gaps > 0) notes.push(`${count(gaps, 'gap')}: after each, the replay begins anew with what the agent remembered.`)
  if (variantFailures > 0)
    notes.push(`${count(variantFailures, 'tick')} could not be decided with the other settings: ${variantFailure ?? ''}`)
  if (about.hasVariant && unlike.ticks > 0)
    notes.push(
      `This version decides ${count(unlike.ticks, 'tick')} otherwise than the agent did, with the same settings: “recorded” is how this version decides.`,
    )
  if (notes.length > 0) parts.push(`<ul>${notes.map((note) => `<li>${escape(note)}</li>`).join('')}</ul>`)
  return parts.join('\n')
}

function settingsTable({ settings }: Comparison): string {
  if (settings.length === 0) return ''
  const rows = settings.map(
    ({ key, recorded, replayed }) =>
      `<tr><th scope="row">${escape(key)}</th><td>${escape(shown(recorded))}</td><td>${escape(shown(replayed))}</td></tr>`,
  )
  return section(
    'Settings',
    'settings',
    `<caption>Settings that differ</caption><thead><tr><th scope="col">setting</th><th scope="col">recorded</th><th scope="col">replayed</th></tr></thead><tbody>${rows.join('')}</tbody>`,
  )
}

function plots({ charts, ticksAPoint }: Charts): string {
  const note =
    ticksAPoint === 1
      ? 'Each tick is a point.'
      : `A point stands for ${ticksAPoint} ticks: the most of what is used, the least of what is given.`
  const figures = charts.map(
    (chart) => `<h2 id="${chart.id}-title">${escape(chart.title)}</h2>
<figure id="${chart.id}" tabindex="0" role="group" aria-labelledby="${chart.id}-title" aria-describedby="${chart.id}-caption">
<ul class="legend">${chart.series.map(legendEntry).join('')}</ul>
<div class="plot" id="${chart.id}-plot" aria-hidden="true"></div>
<output class="readout" id="${chart.id}-readout" aria-live="off"></output>
<figcaption id="${chart.id}-caption">${escape(captionOf(chart))}</figcaption>
</figure>`,
  )
  return `<p class="quiet">${note} Times are UTC. Drag to zoom in, double-click to zoom out; with a plot in focus the arrow keys, Page Up, Page Down, Home and End move the cursor. All numbers are in the tables below.</p>
<noscript><p>The plots need JavaScript; the tables below hold the same.</p></noscript>
${figures.join('\n')}`
}

function legendEntry({ label, colour, dash, width }: Line): string {
  const dashes = dash.length === 0 ? '' : ` stroke-dasharray="${dash.join(' ')}"`
  return `<li><svg viewBox="0 0 32 12" aria-hidden="true"><line x1="0" y1="6" x2="32" y2="6" stroke="var(${colour})" stroke-width="${width}"${dashes}/></svg>${escape(label)}</li>`
}

/** The plot in words. */
function captionOf({ series, unit }: Chart): string {
  return series
    .map(({ label, values }) => {
      const known = values.filter((value) => value !== null)
      const [least, most] = known.reduce(
        ([low, high], value) => [Math.min(low, value), Math.max(high, value)],
        [Infinity, -Infinity],
      )
      return `${label} from ${rounded(least)} to ${rounded(most)} ${unit}`
    })
    .join('; ')
}

function measuresTable({ rows, ticks }: Comparison): string {
  const telling = rows.filter(({ recorded, replayed }) => (recorded.most ?? 0) !== 0 || (replayed.most ?? 0) !== 0)
  return section(
    'What would have differed',
    'measures',
    `<caption>Recorded against replayed: least, mean over time and most; CPU in thousandths</caption>
<thead><tr><th scope="col" rowspan="2"></th><th scope="colgroup" colspan="3">recorded</th><th scope="colgroup" colspan="3">replayed</th><th scope="col" rowspan="2">differing, of ${ticks} ticks</th></tr>
<tr>${['min', 'mean', 'max', 'min', 'mean', 'max'].map((name) => `<th scope="col">${name}</th>`).join('')}</tr></thead>
<tbody>${telling.map(measureRow).join('')}</tbody>`,
  )
}

function measureRow({ name, unit, recorded, replayed, differing }: Row): string {
  const cells = [...rangeCells(recorded, unit), ...rangeCells(replayed, unit), String(differing)]
  return `<tr${differing > 0 ? ' class="differs"' : ''}><th scope="row">${escape(name)}</th>${cells.map((cell) => `<td>${cell}</td>`).join('')}</tr>`
}

function rangeCells({ least, mean, most }: Range, unit: Unit): readonly string[] {
  return [least, mean, most].map((value) => amount(value, unit))
}

function differencesList({ differences }: Comparison): string {
  if (differences.length === 0) return ''
  return `<h2>First differences</h2>\n<ol class="differences">${differences.map(differenceEntry).join('')}</ol>`
}

function differenceEntry({ wallMs, seq, what, recorded, replayed }: Difference): string {
  return `<li><strong>${escape(what)}</strong> <span class="quiet">${timeOf(wallMs)}, tick ${seq}</span><dl>${sideOf('recorded', recorded)}${sideOf('replayed', replayed)}</dl></li>`
}

function sideOf(name: string, { value, because }: Side): string {
  return `<dt>${name}</dt><dd>${escape(value)}${because === '' ? '' : `<br><span class="quiet">${escape(because)}</span>`}</dd>`
}

/** The plots as numbers, some rows of them. */
function courseTable({ wallMs, charts }: Charts): string {
  const every = Math.max(1, Math.ceil(wallMs.length / TABLE_ROWS))
  const heads = charts.map(
    ({ title, unit, series }) => `<th scope="colgroup" colspan="${series.length}">${escape(title)} (${unit})</th>`,
  )
  const names = charts.flatMap(({ series }) => series.map(({ label }) => `<th scope="col">${escape(label)}</th>`))
  const rows = wallMs.flatMap((at, index) => {
    if (index % every !== 0) return []
    const cells = charts.flatMap(({ series }) => series.map(({ values }) => `<td>${rounded(values[index] ?? null)}</td>`))
    return [`<tr><th scope="row">${timeOf(at).slice(11, 23)}</th>${cells.join('')}</tr>`]
  })
  const note = every === 1 ? 'Every point of the plots' : `One point of the plots in ${every}`
  return `<h2>The course in numbers</h2>
<details><summary>${escape(note)}</summary>
<div class="scroll" tabindex="0" role="region" aria-label="The course in numbers"><table><caption>${escape(note)}; times are UTC</caption>
<thead><tr><th scope="col" rowspan="2">time</th>${heads.join('')}</tr><tr>${names.join('')}</tr></thead><tbody>${rows.join('')}</tbody></table></div></details>`
}

function section(title: string, id: string, table: string): string {
  return `<h2 id="${id}-title">${escape(title)}</h2>
<div class="scroll" tabindex="0" role="region" aria-labelledby="${id}-title"><table>${table}</table></div>
`
}

function rounded(value: number | null): string {
  return value === null ? '–' : String(Math.round(value * 100) / 100)
}

function shown(value: unknown): string {
  return typeof value === 'string' ? value : JSON.stringify(value)
}

function escape(text: string): string {
  return text
    .replaceAll('&', '&amp;')
    .replaceAll('<', '&lt;')
    .replaceAll('>', '&gt;')
    .replaceAll('"', '&quot;')
    .replaceAll("'", '&#39;')
}
