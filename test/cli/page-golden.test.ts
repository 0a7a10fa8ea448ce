/**
 * The status page as a screen reader is told of it, and that there is something to see: one tick that never changes, in a real Chromium. After
 * a change that is meant, rewrite the golden with: npx vitest run test/cli/page-golden.test.ts -u
 */
import type { Page } from 'playwright-core'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { CpuSet } from '../../src/cpu/index.ts'
import { type HttpServer, startHttp } from '../../src/serve/index.ts'
import { type Browser, NO_BROWSER, startBrowser } from '../support/browser.ts'
import {
  capturedLogger,
  FINDING,
  FLINK,
  MEMORY,
  reading,
  recorder,
  REGISTERED,
  SIGNALS,
  SUPPRESSION,
  writingTick,
} from '../unit/record/fixtures.ts'

const START_MS = 90_000
const SHOWN_MS = 20_000
/** Of the last tick, and when it is looked at. */
const TICK_MS = 11_000
const NOW_MS = 11_250

/** Hot, short of memory, with a pod that asks for something odd: as much of the page as there is to see. */
const FIRST = writingTick({
  nowMs: TICK_MS,
  pace: 'hot',
  suppression: { ...SUPPRESSION, ladder: { inForce: ['cpuNarrow'], changedMs: TICK_MS - 2400 } },
  memory: MEMORY,
  node: {
    cpu: reading({ usedMilli: 5900, windowMs: 100 }, TICK_MS - 40),
    memory: reading({ totalBytes: MEMORY.totalBytes, availableBytes: MEMORY.availableBytes }, TICK_MS),
  },
  signals: SIGNALS,
  findings: [FINDING],
})
const NARROWED = 'Now offline pods are narrowed to 3 by cpuNarrow.'

const record = recorder()
let browser: Browser
let server: HttpServer

beforeAll(async () => {
  record.resources([
    REGISTERED,
    {
      ...REGISTERED,
      resource: 'be-memory',
      fullName: 'kube-agent.io/be-memory',
      registered: false,
      lastError: 'no kubelet.sock',
    },
  ])
  record.tick(FIRST)
  const { logger } = capturedLogger('error')
  server = await startHttp({ host: '127.0.0.1', port: 0, recorder: record, now: () => ({ nowMs: NOW_MS, wallMs: 0 }), logger })
  if (NO_BROWSER === undefined) browser = await startBrowser()
}, START_MS)

afterAll(async () => {
  if (NO_BROWSER === undefined) await browser.close()
  await server.close()
})

beforeEach((context) => {
  if (NO_BROWSER !== undefined) context.skip(NO_BROWSER)
})

async function open(dark: boolean): Promise<Page> {
  const { page } = await browser.open(`http://127.0.0.1:${server.port}/`, { dark })
  await expect.poll(() => page.locator('#main').getAttribute('data-seq'), { timeout: SHOWN_MS }).toBe('1')
  await expect.poll(() => page.locator('#cpu-chart .u-value').first().textContent(), { timeout: SHOWN_MS }).toBe('03:00:10')
  return page
}

/** What the pixels of a picture are like. */
interface Pixels {
  /** Colours, of which those of smoothed edges are many. */
  readonly colours: number
  /** The one that most pixels have, as red, green and blue of 0 to 255. */
  readonly background: readonly [number, number, number]
  /** Its share, 0 to 1. */
  readonly backgroundShare: number
}

// A text, since what is checked with the types of Node knows no canvas. The browser itself reads its picture.
const pixelsOf = (png: Buffer): string => `(async () => {
  const bytes = Uint8Array.from(atob(${JSON.stringify(png.toString('base64'))}), (character) => character.charCodeAt(0))
  const picture = await createImageBitmap(new Blob([bytes], { type: 'image/png' }))
  const context = new OffscreenCanvas(picture.width, picture.height).getContext('2d')
  context.drawImage(picture, 0, 0)
  const pixels = new Uint32Array(context.getImageData(0, 0, picture.width, picture.height).data.buffer)
  const counts = new Map()
  for (const pixel of pixels) counts.set(pixel, (counts.get(pixel) ?? 0) + 1)
  const [[most, count]] = [...counts].sort(([, one], [, other]) => other - one)
  return { colours: counts.size, background: [most & 255, (most >> 8) & 255, (most >> 16) & 255], backgroundShare: count / pixels.length }
})()`

describe('the status page of a tick that stands still', () => {
  it('reads as its golden does', { timeout: START_MS }, async () => {
    const page = await open(false)
    const first = await page.locator('body').ariaSnapshot()
    // Rounds later it reads the same: the golden is no moment's luck.
    await page.waitForTimeout(2500)
    expect(await page.locator('body').ariaSnapshot()).toBe(first)
    await expect(`${first}\n`).toMatchFileSnapshot('../golden/page.txt')
    await page.close()
  })

  it('says beside the map what cpuNarrow leaves to offline pods', { timeout: START_MS }, async () => {
    const because = { code: 'suppress.narrow', dedicated: '', nodePermyriad: 9700, enterPermyriad: 9000 } as const
    const narrowed = {
      group: FLINK.reading.group,
      kind: 'cpuset',
      value: CpuSet.parse('3'),
      rule: 'suppressCpu',
      because,
    } as const
    const page = await open(false)
    expect(await page.locator('#map-note').isVisible()).toBe(false)
    record.tick(writingTick({ seq: 2, nowMs: TICK_MS, claims: [[narrowed]] }))
    await expect.poll(() => page.locator('#map-note').textContent(), { timeout: SHOWN_MS }).toBe(NARROWED)
    expect(await page.locator('#map').textContent()).toMatch(/^.*SSLLLLBB$/)
    record.tick(FIRST)
    await expect.poll(() => page.locator('#map-note').isVisible(), { timeout: SHOWN_MS }).toBe(false)
    await page.close()
  })

  it.each([
    { scheme: 'light', dark: false, background: [255, 255, 255] },
    { scheme: 'dark', dark: true, background: [15, 19, 24] },
  ])(
    'is drawn when it is $scheme: on its ground there are lines, letters and the colours of the map',
    { timeout: START_MS },
    async ({ dark, background }) => {
      const page = await open(dark)
      const { page: reader } = await browser.open('about:blank')
      const whole = await reader.evaluate<Pixels>(pixelsOf(await page.screenshot({ fullPage: true })))
      expect(whole.background).toEqual(background)
      expect(whole.backgroundShare).toBeGreaterThan(0.5)
      expect(whole.backgroundShare).toBeLessThan(0.97)
      expect(whole.colours).toBeGreaterThan(50)
      for (const part of ['#cpu-chart', '#wait-chart', '#map', '#pods']) {
        const { colours, backgroundShare } = await reader.evaluate<Pixels>(pixelsOf(await page.locator(part).screenshot()))
        expect({ part, isDrawn: colours > 10 && backgroundShare < 0.99 }).toEqual({ part, isDrawn: true })
      }
      await reader.close()
      await page.close()
    },
  )
})
