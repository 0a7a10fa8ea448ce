/**
 * The landing page: what this is, how it stands, and a link to everything else, as node_exporter has it. One static document
 * without scripts or outside resources; every text of the node goes through `escape`, since pod names and errors come from
 * elsewhere.
 */

export interface LandingContent {
  readonly title: string
  /** One line that says how it stands. */
  readonly brief: string
  /** The status page as text. */
  readonly page: string
  readonly links: readonly { readonly path: string; readonly about: string }[]
}

/** The page as HTML. */
export function landingPage({ title, brief, page, links }: LandingContent): string {
  const items = links.map(({ path, about }) => `<li><a href="${escape(path)}">${escape(path)}</a> ${escape(about)}</li>`)
  return `<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><title>${escape(title)}</title></head>
<body>
<h1>${escape(title)}</h1>
<p>${escape(brief)}</p>
<ul>
${items.join('\n')}
</ul>
<pre>${escape(page)}</pre>
</body>
</html>
`
}

function escape(text: string): string {
  return text
    .replaceAll('&', '&amp;')
    .replaceAll('<', '&lt;')
    .replaceAll('>', '&gt;')
    .replaceAll('"', '&quot;')
    .replaceAll("'", '&#39;')
}
