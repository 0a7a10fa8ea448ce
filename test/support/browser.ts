/** A real Chromium for the tests of pages, from Debian's package: one for a file of tests, with a profile of its own that goes with it. */
import { existsSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type BrowserContext, chromium, type Page } from 'playwright-core'

const CHROMIUM = '/usr/bin/chromium'
/** Chromium beside other tests on two CPUs. */
const START_MS = 60_000

/** Why pages can't be opened here; undefined where they can. */
export const NO_BROWSER = existsSync(CHROMIUM) ? undefined : `needs ${CHROMIUM}, of the Debian package chromium`

export interface Browser {
  /** A new page that fails on nothing; what goes wrong on it is in `faults`: errors, violations of its policy, requests elsewhere. */
  open(url: string, options?: { readonly width?: number; readonly dark?: boolean }): Promise<OpenPage>
  close(): Promise<void>
}

export interface OpenPage {
  readonly page: Page
  readonly faults: readonly string[]
}

/** Starts the browser. */
export async function startBrowser(): Promise<Browser> {
  const profile = mkdtempSync(join(tmpdir(), 'kube-agent-browser-'))
  const context = await chromium.launchPersistentContext(profile, {
    executablePath: CHROMIUM,
    headless: true,
    timeout: START_MS,
    args: [
      '--no-sandbox',
      '--disable-gpu',
      '--disable-quic',
      '--no-first-run',
      '--disable-background-networking',
      '--disable-component-update',
      '--disable-sync',
    ],
    // Times of day are shown as they are where the reader is.
    env: { ...process.env, HOME: profile, TZ: 'UTC' },
  })
  return {
    open: (url, options) => open(context, url, options),
    close: async () => {
      await context.close()
      rmSync(profile, { recursive: true, force: true, maxRetries: 5 })
    },
  }
}

async function open(context: BrowserContext, url: string, { width = 1280, dark = false } = {}): Promise<OpenPage> {
  const page = await context.newPage()
  const faults: string[] = []
  // A page of a file has no origin: it may ask for nothing but itself.
  const isOwn = (asked: string): boolean =>
    url.startsWith('file:') ? asked.startsWith(url) : new URL(asked).origin === new URL(url).origin
  page.on('pageerror', (error) => void faults.push(`error: ${error.message}`))
  page.on('console', (message) => {
    if (message.type() === 'error' || message.type() === 'warning') faults.push(`${message.type()}: ${message.text()}`)
  })
  page.on('request', (request) => {
    if (!isOwn(request.url())) faults.push(`request to ${request.url()}`)
  })
  await page.setViewportSize({ width, height: 900 })
  await page.emulateMedia({ colorScheme: dark ? 'dark' : 'light' })
  await page.goto(url)
  return { page, faults }
}
