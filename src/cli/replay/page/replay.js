/**
 * Draws the course of a replay. The data stands in the page, as JSON; the tables there say the same without any of this. The plots share one
 * time axis: the cursor of one is that of all, and the arrow keys move it.
 */
;(() => {
  const Plot = globalThis.uPlot
  const { wallMs, charts } = JSON.parse(document.getElementById('course').textContent)
  const seconds = wallMs.map((ms) => ms / 1000)
  const HEIGHT = 220
  const STEP = { ArrowLeft: -1, ArrowRight: 1, PageUp: -20, PageDown: 20 }
  const drawn = []

  const colourOf = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim()
  const timeText = (at, length = 12) => new Date(at * 1000).toISOString().slice(11, 11 + length)
  const valueText = (value, unit) =>
    value === null || value === undefined ? 'not known' : `${Math.round(value * 100) / 100} ${unit}`

  function optionsOf(chart, width) {
    const quiet = colourOf('--quiet')
    const axis = {
      stroke: quiet,
      grid: { stroke: colourOf('--rule'), width: 1 },
      ticks: { stroke: colourOf('--rule'), width: 1 },
    }
    return {
      width,
      height: HEIGHT,
      // Room for the last time on the axis.
      padding: [null, 28, null, null],
      legend: { show: false },
      tzDate: (at) => Plot.tzDate(new Date(at * 1000), 'Etc/UTC'),
      cursor: { sync: { key: 'replay' }, drag: { x: true, y: false } },
      scales: { y: { range: (_plot, _least, most) => [0, most > 0 ? most * 1.08 : 1] } },
      axes: [
        { ...axis, space: 90, values: (_plot, times) => times.map((at) => timeText(at, 8)) },
        { ...axis, size: 56, values: (_plot, values) => values.map((value) => `${value} ${chart.unit}`) },
      ],
      series: [
        {},
        ...chart.series.map(({ label, colour, dash, width: thick }) => ({
          label,
          stroke: colourOf(colour),
          width: thick,
          dash,
          points: { show: false },
          // An allowance stands until it changes: a slope between two ticks would be a value that it never had.
          paths: Plot.paths.stepped({ align: 1 }),
        })),
      ],
      hooks: { setCursor: [(plot) => read(chart, plot.cursor.idx)] },
    }
  }

  function read(chart, index) {
    const out = document.getElementById(`${chart.id}-readout`)
    if (index === null || index === undefined) {
      out.textContent = ''
      return
    }
    const values = chart.series.map(({ label, values: of }) => `${label} ${valueText(of[index], chart.unit)}`)
    out.textContent = `${timeText(seconds[index])}: ${values.join(', ')}`
  }

  function draw(chart) {
    const place = document.getElementById(`${chart.id}-plot`)
    place.replaceChildren()
    const data = [seconds, ...chart.series.map(({ values }) => values)]
    return new Plot(optionsOf(chart, place.clientWidth), data, place)
  }

  /** Moves the cursor of every plot to a sample. */
  function moveTo(plot, index) {
    const [first, last] = [plot.valToIdx(plot.scales.x.min), plot.valToIdx(plot.scales.x.max)]
    const at = Math.min(last, Math.max(first, index))
    plot.setCursor({ left: plot.valToPos(seconds[at], 'x'), top: HEIGHT / 3 }, true, true)
  }

  function onKey(entry, event) {
    const { plot } = entry
    const now = plot.cursor.idx ?? 0
    const to =
      event.key === 'Home'
        ? 0
        : event.key === 'End'
          ? seconds.length - 1
          : STEP[event.key] === undefined
            ? undefined
            : now + STEP[event.key]
    if (to === undefined) return
    event.preventDefault()
    moveTo(plot, to)
  }

  for (const chart of charts) {
    const entry = { chart, plot: draw(chart) }
    drawn.push(entry)
    const figure = document.getElementById(chart.id)
    const out = document.getElementById(`${chart.id}-readout`)
    figure.addEventListener('keydown', (event) => onKey(entry, event))
    // The plots move together: only the one in focus speaks.
    figure.addEventListener('focus', () => out.setAttribute('aria-live', 'polite'))
    figure.addEventListener('blur', () => out.setAttribute('aria-live', 'off'))
  }
  const redraw = () => {
    for (const entry of drawn) {
      entry.plot.destroy()
      entry.plot = draw(entry.chart)
    }
  }
  matchMedia('(prefers-color-scheme: dark)').addEventListener('change', redraw)
  let width = innerWidth
  addEventListener('resize', () => {
    if (innerWidth === width) return
    width = innerWidth
    redraw()
  })
})()
