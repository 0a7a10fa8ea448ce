/** Which form of a page a client gets, by RFC 9110 §12.5.1. */
import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { chooseFormat, type Format } from '../../../src/serve/negotiate.ts'

const ALL: readonly Format[] = ['text', 'json', 'html']
/** What browsers send (Firefox, Chromium), and Prometheus. */
const BROWSER = 'text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8'
const PROMETHEUS = 'application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.3,*/*;q=0.1'

describe('the form of a page', () => {
  it.each<[accept: string, offered: readonly Format[], chosen: Format | undefined]>([
    ['', ALL, 'text'],
    ['*/*', ALL, 'text'],
    ['application/json', ALL, 'json'],
    ['APPLICATION/JSON', ALL, 'json'],
    [BROWSER, ['html', 'text'], 'html'],
    [BROWSER, ['text', 'html'], 'html'],
    [BROWSER, ['text', 'json'], 'text'],
    [PROMETHEUS, ['text'], 'text'],
    // By weight, not by order.
    ['text/plain;q=0.2, application/json;q=0.9', ALL, 'json'],
    ['application/json;q=0.2, text/*;q=0.9', ALL, 'text'],
    // The most specific range counts, however heavy another is.
    ['text/*;q=1, text/plain;q=0.1, application/json;q=0.5', ['text', 'json'], 'json'],
    // 0 is a refusal.
    ['text/plain;q=0, */*', ['text', 'json'], 'json'],
    ['*/*;q=0', ALL, undefined],
    ['image/png', ALL, undefined],
    ['application/json', ['text', 'html'], undefined],
    // Blanks, case, other parameters.
    ['application/json ; charset=utf-8 ; Q=0.8 , text/html;q=0.1', ALL, 'json'],
    // What can't be read is passed over; if nothing can, anything will do.
    ['json', ALL, 'text'],
    [',,;q=1', ALL, 'text'],
    ['application/json;q=high, text/plain;q=0.5', ALL, 'json'],
    ['*/json, text/html', ALL, 'html'],
  ])('for %j of %j is %j', (accept, offered, chosen) => {
    expect(chooseFormat(accept, offered)).toBe(chosen)
  })

  it('is one of those offered or none, for any header, and never one that the header refuses', () => {
    const range = fc.tuple(
      fc.constantFrom('text/plain', 'text/html', 'application/json', 'text/*', '*/*', 'image/png', 'x'),
      fc.constantFrom('', ';q=0', ';q=0.001', ';q=0.5', ';q=1', ';q=7', ';v=1;q=0.3'),
    )
    fc.assert(
      fc.property(
        fc.oneof(
          fc.array(range).map((all) => all.map((parts) => parts.join('')).join(',')),
          fc.string(),
        ),
        (accept) => {
          const chosen = chooseFormat(accept, ALL)
          if (chosen === undefined) return
          expect(ALL).toContain(chosen)
          const refused = { text: /text\/plain;q=0(,|$)/, json: /application\/json;q=0(,|$)/, html: /text\/html;q=0(,|$)/ }[
            chosen
          ]
          const taken = {
            text: /text\/plain(;q=[0-9.]*[1-9]|;v|,|$)/,
            json: /json(;q=[0-9.]*[1-9]|;v|,|$)/,
            html: /html(;q=[0-9.]*[1-9]|;v|,|$)/,
          }[chosen]
          if (refused.test(accept)) expect(accept).toMatch(taken)
        },
      ),
    )
  })
})
