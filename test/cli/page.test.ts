/**
 * The status page in a real Chromium: over the demo, whose numbers have to be those of /statusz, and over a node of 512 CPUs and 250 pods
 * that never was. Set SCREENSHOTS to a directory to look at what the tests saw.
 */
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Page, Response } from 'playwright-core'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { formatBytes, formatMilliCpu } from '../../src/model/index.ts'
import type { HistoryPage, Recorder, Status } from '../../src/record/index.ts'
import { type HttpServer, startHttp } from '../../src/serve/index.ts'
import { type Browser, NO_BROWSER, startBrowser } from '../support/browser.ts'
import { LargeNode, shareAt } from '../support/large-node.ts'
import { capturedLogger, recorder } from '../unit/record/fixtures.ts'
import { startKubeAgent } from './program.ts'

const TEST_MS = 90_000
const SHOWN_MS = 20_000
/** More of the page than this is the pods, one like the other. */
const SHOT_PX = 3000

let browser: Browser

beforeAll(async () => {
  if (NO_BROWSER === undefined) browser = await startBrowser()
}, TEST_MS)

afterAll(async () => {
  if (NO_BROWSER === undefined) await browser.close()
})

beforeEach((context) => {
  if (NO_BROWSER !== undefined) context.skip(NO_BROWSER)
})

async function screenshot(page: Page, name: string): Promise<void> {
  const directory = process.env['SCREENSHOTS']
  if (directory === undefined) return
  // What was resized or repainted has settled by then.
  await sleep(300)
  const { width = 0 } = page.viewportSize() ?? {}
  await page.screenshot({ path: join(directory, `${name}.png`), fullPage: true, clip: { x: 0, y: 0, width, height: SHOT_PX } })
}

/** The number of the tick that the page shows. */
async function shownSeq(page: Page): Promise<number> {
  return Number(await page.locator('#main').getAttribute('data-seq'))
}

/** The text beside a name among the headline numbers. */
function numberOf(page: Page, name: string): Promise<string | null> {
  return page.locator(`#numbers [data-number="${name}"] dd`).textContent()
}

describe('the status page over the demo', () => {
  it(
    'shows the numbers of /statusz of the same tick, filters, explains, and says when the agent is gone',
    { timeout: TEST_MS },
    async () => {
      const demo = startKubeAgent(['demo', '--simulated', '--json', '--http', '0'])
      const ended = once(demo, 'exit') as Promise<[number | null]>
      const { stdout } = demo
      if (stdout === null) throw new Error('no output')
      const lines = createInterface({ input: stdout })
      const address = await new Promise<string>((resolve) => {
        lines.on('line', (line) => {
          const event = JSON.parse(line) as { readonly event: string; readonly address?: string }
          if (event.event === 'http') resolve(event.address ?? '')
        })
      })
      expect(address).toMatch(/^http:\/\/127\.0\.0\.1:\d+\/$/)
      const { page, faults } = await browser.open(address)
      const answers = new Map<number, Status>()
      page.on('response', (response) => void remember(response, answers))

      // Until both BE pods are there, and suppression has something to say.
      await page.locator('#pods tbody tr[data-class="BE"]').nth(1).waitFor({ timeout: SHOWN_MS })
      await expectNumbersOfStatus(page, answers)
      await page.getByLabel('Class', { exact: true }).selectOption('BE')
      expect(await page.locator('#pods tbody th').allTextContents()).toEqual(['batch/flink-a', 'batch/flink-b'])
      expect(await page.locator('#filter-count').textContent()).toMatch(/^2 of \d pods$/)
      await page.getByLabel('Class', { exact: true }).selectOption('')
      await page.getByLabel('Pod or reason').fill('shop/')
      expect(await page.locator('#pods tbody th').allTextContents()).toEqual(['shop/web'])
      await page.getByLabel('Pod or reason').fill('')

      await page.locator('[data-cpu="1"]').hover()
      expect(await page.locator('#map-detail').textContent()).toMatch(
        /^CPU 1, core 1, NUMA node 0, socket 0: .*may run there: .*shop\/web/,
      )
      await page.getByRole('button', { name: 'shop/web' }).click()
      await expect.poll(() => page.locator('#explain-text').textContent()).toMatch(/class +LS/)
      await page.getByRole('button', { name: 'Close' }).click()
      await screenshot(page, 'demo')
      expect(faults).toEqual([])

      const [code] = await ended
      expect(code).toBe(0)
      await expect
        .poll(() => page.locator('#feed').textContent(), { timeout: SHOWN_MS })
        .toMatch(/^NO ANSWER from the agent since \d\d:/)
      await screenshot(page, 'gone')
      await page.close()
    },
  )
})

async function remember(response: Response, answers: Map<number, Status>): Promise<void> {
  if (!response.url().includes('/statusz')) return
  const status = (await response.json().catch(() => undefined)) as Status | undefined
  if (status?.lastTick !== undefined) answers.set(status.lastTick.seq, status)
}

interface Shown {
  readonly seq: number
  readonly numbers: Readonly<Record<string, string>>
  readonly pods: readonly (readonly string[])[]
  readonly cpus: readonly string[]
}

// Scripts for the page are texts: what is checked with the types of Node knows no document.
const READ_PAGE = `(() => {
  const all = (selector) => [...document.querySelectorAll(selector)]
  return {
    seq: Number(document.querySelector('#main').dataset.seq),
    numbers: Object.fromEntries(all('#numbers > div').map((row) => [row.firstElementChild.textContent, row.lastElementChild.textContent])),
    pods: all('#pods tbody tr').map((row) => [...row.cells].map((cell) => cell.textContent)),
    cpus: all('[data-cpu]').map((cell) => cell.textContent),
  }
})()`
const IS_WIDER = 'document.documentElement.scrollWidth > document.documentElement.clientWidth'
const MARK_OLD = `for (const element of document.querySelectorAll('#pods tbody tr, [data-cpu], #numbers > div')) element.setAttribute('data-old', '')`
const UPDATE_MS = `performance.getEntriesByName('update', 'measure').at(-1).duration`
const HIDE = `Object.defineProperty(document, 'hidden', { value: true }); document.dispatchEvent(new Event('visibilitychange'))`

/** Reads the page at one instant, between two updates, and compares it with what /statusz answered for that very tick. */
async function expectNumbersOfStatus(page: Page, answers: ReadonlyMap<number, Status>): Promise<void> {
  let shown: Shown | undefined
  await expect
    .poll(
      async () => {
        shown = await page.evaluate<Shown>(READ_PAGE)
        return answers.get(shown.seq)?.allowance
      },
      { timeout: SHOWN_MS },
    )
    .toBeDefined()
  const status = shown === undefined ? undefined : answers.get(shown.seq)
  if (shown === undefined || status?.allowance === undefined) throw new Error('no tick was shown')
  const { allowance, node, pods = [], cpuMap = [] } = status
  expect(shown.numbers).toMatchObject({
    tick: `${status.lastTick?.seq}, ${status.lastTick?.pace}`,
    watermark: formatMilliCpu(allowance.watermarkMilli),
    allowance: `${formatMilliCpu(allowance.allowanceMilli)}, by ${allowance.bound}`,
    'online and system': formatMilliCpu(allowance.onlineMilli),
    'offline uses': formatMilliCpu(allowance.offlineMilli),
  })
  expect(shown.numbers['node uses']).toContain(
    `${formatMilliCpu(allowance.nodeMilli)} of ${formatMilliCpu(allowance.capacityMilli)} (`,
  )
  expect(shown.numbers['memory available']).toContain(formatBytes(node?.memoryAvailableBytes ?? 0))
  expect(shown.pods.map(([name, qosClass]) => [name, qosClass])).toEqual(pods.map(({ pod, qosClass }) => [pod, qosClass]))
  expect(shown.pods.map(([, , , why]) => why)).toEqual(pods.map(({ why }) => why))
  expect(shown.cpus.join('')).toBe(cpuMap.flatMap(({ cores }) => cores.join('')).join(''))
}

describe('the status page over 512 CPUs and 250 pods', () => {
  const TEN_MINUTES = 600
  let record: Recorder
  let server: HttpServer
  let nowMs = 0
  let node: LargeNode
  let page: Page
  let faults: readonly string[]

  beforeAll(async () => {
    record = recorder(capturedLogger('error').logger, 512)
    node = new LargeNode()
    let tick = node.tick(0, 0.3)
    for (let second = 0; second < TEN_MINUTES; second += 1) {
      nowMs = 60_000 + second * 1000
      // Ticks of this node are dear: a load that moves every 15 s draws as good a picture.
      if (second % 15 === 0) tick = node.tick(nowMs, shareAt(nowMs))
      const { snapshot } = tick
      record.tick({ ...tick, snapshot: { ...snapshot, nowMs, wallMs: snapshot.wallMs + nowMs - snapshot.nowMs } })
    }
    const { logger } = capturedLogger('error')
    server = await startHttp({ host: '127.0.0.1', port: 0, recorder: record, now: () => ({ nowMs, wallMs: 0 }), logger })
    if (NO_BROWSER === undefined) ({ page, faults } = await browser.open(url()))
  }, TEST_MS)

  afterAll(() => server.close())

  const url = (): string => `http://127.0.0.1:${server.port}/`
  const rows = () => page.locator('#pods tbody tr')

  function nextTick(share: number): number {
    nowMs += 1000
    const tick = node.tick(nowMs, share)
    record.tick(tick)
    return tick.snapshot.seq
  }

  async function settled(seq: number): Promise<void> {
    await expect.poll(() => shownSeq(page), { timeout: SHOWN_MS }).toBe(seq)
  }

  it('is whole, wide and narrow, light and dark: nothing wider than the window, no fault', { timeout: TEST_MS }, async () => {
    await settled(nextTick(0.9))
    expect(await page.locator('[data-cpu]').count()).toBe(512)
    expect(await rows().count()).toBe(252)
    expect(await page.locator('.chart canvas').count()).toBe(2)
    expect(await page.locator('#cpu-caption').textContent()).toMatch(/^From \d\d:\d\d:\d\d to .* node at most \d+\.\d CPU/)
    for (const width of [1280, 400]) {
      for (const colorScheme of ['light', 'dark'] as const) {
        await page.emulateMedia({ colorScheme })
        await page.setViewportSize({ width, height: 900 })
        const isWider = await page.evaluate<boolean>(IS_WIDER)
        expect(isWider, `${width} px`).toBe(false)
        await screenshot(page, `${width}-${colorScheme}`)
      }
    }
    expect(faults).toEqual([])
  })

  it('shows text of the node as text, whatever it is', { timeout: TEST_MS }, async () => {
    await settled(nextTick(0.5))
    expect(await page.getByRole('button', { name: '<img src=x onerror=alert(1)>/odd-1' }).count()).toBe(1)
    expect(await page.locator('main img').count()).toBe(0)
    expect(faults).toEqual([])
  })

  it('changes in place, at little cost: rows, cells and focus stay', { timeout: TEST_MS }, async () => {
    await settled(nextTick(0.3))
    const button = page.getByRole('button', { name: 'batch/flink-7', exact: true })
    await button.focus()
    await page.evaluate(MARK_OLD)
    const before = await numberOf(page, 'node uses')
    await settled(nextTick(0.95))
    expect(await numberOf(page, 'node uses')).not.toBe(before)
    expect(await page.locator('#pods tbody tr[data-old]').count()).toBe(252)
    expect(await page.locator('[data-cpu][data-old]').count()).toBe(512)
    expect(await page.locator(':focus').textContent()).toBe('batch/flink-7')
    expect(await page.locator('#numbers > div:not([data-old])').count()).toBe(0)
    const updateMs = await page.evaluate<number>(UPDATE_MS)
    // On an idle machine 5 ms; the browser shares two CPUs with everything else.
    expect(updateMs).toBeLessThan(250)
  })

  it('can be walked by keyboard, and is named for those who do not see it', { timeout: TEST_MS }, async () => {
    await settled(nextTick(0.5))
    expect(await page.getByRole('main').count()).toBe(1)
    for (const name of ['Problems and ladders', 'CPUs by class', 'Pods', 'Last decisions'])
      expect(await page.getByRole('heading', { name, exact: true }).count()).toBe(1)
    const map = page.getByRole('listbox', { name: 'CPUs by class' })
    await map.focus()
    await page.keyboard.press('Home')
    expect(await map.getAttribute('aria-activedescendant')).toBe('cpu-0')
    await page.keyboard.press('ArrowRight')
    expect(await map.getAttribute('aria-activedescendant')).toBe('cpu-256')
    expect(await map.getByRole('option', { selected: true }).getAttribute('aria-label')).toBe('CPU 256: reserved')
    await page.keyboard.press('ArrowDown')
    expect(await map.getAttribute('aria-activedescendant')).not.toBe('cpu-256')
    await page.keyboard.press('ArrowUp')
    expect(await page.locator('#map-detail').textContent()).toMatch(/^CPU \d+, core \d+, NUMA node 0, socket 0: /)
    await page.keyboard.press('Enter')
    await expect.poll(() => page.locator('#explain-text').textContent()).toContain('NUMA node')
    await page.keyboard.press('Escape')
    // The text alternative: every letter of the map with its CPUs, and every pod that has some of its own.
    const words = await page.getByRole('table', { name: 'The map in words' }).innerText()
    expect(words).toContain('reserved')
    await page.locator('#own-title').click()
    const own = await page.getByRole('table', { name: 'CPUs that pods have for themselves' }).innerText()
    expect(own).toMatch(/LSX\s+trade\/matching-0\s+8\s+4-7, 260-263/)
  })

  it('fades the CPUs that no matching pod may use, and marks the others without colour', { timeout: TEST_MS }, async () => {
    await settled(nextTick(0.5))
    await page.getByLabel('Pod or reason').fill('trade/matching-0')
    expect(await rows().count()).toBe(1)
    expect(await page.locator('[data-cpu][data-match="yes"]').count()).toBe(8)
    expect(await page.locator('[data-cpu][data-match="no"]').count()).toBe(504)
    await page.getByLabel('Pod or reason').fill('')
    expect(await page.locator('[data-match]').count()).toBe(0)
    await page.getByLabel('held back or odd only').check()
    expect(await rows().count()).toBeLessThan(252)
    await screenshot(page, 'filtered')
  })

  it('draws what /history has, and no second of it twice', { timeout: TEST_MS }, async () => {
    await settled(nextTick(0.5))
    await settled(nextTick(0.6))
    await page.getByText('The charts as a table').click()
    const history = (await (await fetch(`${url()}history`)).json()) as HistoryPage
    const newest = history.wallMs.at(-1) ?? 0
    const minute = history.wallMs.flatMap((wallMs, at) =>
      Math.floor(wallMs / 60_000) === Math.floor(newest / 60_000) ? [at] : [],
    )
    const highest = Math.max(...minute.map((at) => history.series.nodeMilli[at] ?? 0))
    const cells = await page.locator('#minutes tbody tr').first().locator('td').allTextContents()
    expect(cells[0]).toBe(formatMilliCpu(highest))
    expect(await page.locator('#minutes tbody tr').count()).toBeLessThanOrEqual(11)
  })

  // The last: the page is hidden from then on.
  it(
    'says that its numbers are old when the loop has stopped, and asks nothing while hidden or paused',
    { timeout: TEST_MS },
    async () => {
      await settled(nextTick(0.5))
      nowMs += 12_000
      await expect
        .poll(() => page.locator('#feed').textContent(), { timeout: SHOWN_MS })
        .toMatch(/^STALE: .* last tick was 1\d\.\d s ago/)
      await screenshot(page, 'stale')
      let requests = 0
      page.on('request', () => (requests += 1))
      await page.getByRole('button', { name: 'Pause' }).click()
      await sleep(300)
      requests = 0
      await sleep(1300)
      expect(requests).toBe(0)
      expect(await page.locator('#feed').textContent()).toBe('Paused: what is shown stands still.')
      await page.getByRole('button', { name: 'Pause' }).click()
      await expect.poll(() => requests, { timeout: SHOWN_MS }).toBeGreaterThan(0)
      await page.evaluate(HIDE)
      await sleep(300)
      requests = 0
      await sleep(1300)
      expect(requests).toBe(0)
    },
  )
})
