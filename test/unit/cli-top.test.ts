/** The live view without a terminal: keys, order and filters, and the lines for any size; two of the screens are golden. */
import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { paint } from '../../src/cli/colour.ts'
import { openFullScreen } from '../../src/cli/screen.ts'
import { keysOf, listed, press, START, type Key, type TopState } from '../../src/cli/top/state.ts'
import { pageRowsOf, topLines, type TopView } from '../../src/cli/top/view.ts'
import { KnobTable, quotaOf } from '../../src/model/index.ts'
import type { PodStatus, Status } from '../../src/record/index.ts'
import { podStatuses } from '../../src/record/status/pods.ts'
import { FINDING, FLINK, pod, recorder, REGISTERED, tick, TRAIN, WEB, WISH, writingTick } from './record/fixtures.ts'

const STATUS: Status = statusAt(11_250)

function statusAt(nowMs: number, parts: Parameters<typeof writingTick>[0] = {}): Status {
  const record = recorder()
  record.resources([REGISTERED])
  record.tick(writingTick(parts))
  return record.status(nowMs, { pods: true })
}

function viewOf(over: Partial<TopView> = {}): TopView {
  const size = { columns: 80, rows: 24 }
  return { status: STATUS, sinceMs: 0, trouble: undefined, state: START, ...size, staleMs: 5000, colours: paint(false), ...over }
}

const char = (text: string): Key => ({ is: 'char', char: text })

/** The state after so many keys; throws when one of them quits. */
function after(keys: readonly Key[], state: TopState = START, pods: readonly PodStatus[] = STATUS.pods ?? []): TopState {
  let now = state
  for (const key of keys) {
    const next = press(now, key, { pods, pageRows: 10 })
    if (typeof next === 'string') throw new Error(next)
    now = next
  }
  return now
}

describe('top, drawn', () => {
  it.each([
    [80, 24, 'top-80.txt'],
    [200, 50, 'top-200.txt'],
    [Infinity, Infinity, 'top-once.txt'],
  ])('at %d × %d is golden', async (columns, rows, file) => {
    const selected = Number.isFinite(columns) ? 'uid-train' : undefined
    const lines = topLines(viewOf({ columns, rows, state: { ...START, selected } }))
    await expect(`${lines.map((line) => line.trimEnd()).join('\n')}\n`).toMatchFileSnapshot(`../golden/${file}`)
  })

  it('fits terminals of every size, with anything in it', () => {
    const long = Array.from({ length: 60 }, (_, index) => pod(`${'x'.repeat(index * 4)}-${index}`, index % 2 === 0 ? 'BE' : 'LS'))
    const crowded = statusAt(11_250, { pods: long, problems: ['p'.repeat(400)] })
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 250 }),
        fc.integer({ min: 2, max: 80 }),
        fc.constantFrom<Partial<TopState>>(
          {},
          { help: true },
          { editing: true, filter: 'x' },
          { filter: 'none' },
          { paused: true },
        ),
        (columns, rows, over) => {
          const view = viewOf({ status: crowded, columns, rows, state: { ...START, selected: 'uid--0', ...over } })
          let written = ''
          const screen = openFullScreen(
            (text) => (written += text),
            () => ({ columns, rows }),
          )
          screen.enter()
          screen.draw(topLines(view))
          expect(topLines(view).length).toBeLessThanOrEqual(rows)
          // eslint-disable-next-line no-control-regex
          const drawn = written.split(/\u001b\[\d+;1H/).slice(1)
          // eslint-disable-next-line no-control-regex
          for (const line of drawn) expect(line.replaceAll(/\u001b\[[\d;]*[a-zA-Z]/g, '').length).toBeLessThanOrEqual(columns)
          expect(pageRowsOf(view)).toBeGreaterThanOrEqual(1)
        },
      ),
    )
  })

  it('shows the page that the selected pod is on, and tells more of it', () => {
    const many = statusAt(11_250, { pods: Array.from({ length: 60 }, (_, index) => pod(`job-${index + 10}`, 'BE')) })
    const selected = listed(many.pods ?? [], START)[45]?.uid
    const lines = topLines(viewOf({ status: many, state: { ...START, selected } }))
    expect(lines.join('\n')).toContain('\nall offline pods share 600m: online work and the watermark leave no more\n')
    expect(lines.filter((line) => line.includes('default/job-55')).length).toBe(2)
  })

  it('says that nobody answers, how old the picture is, and that the last tick is old', () => {
    const gone = topLines(viewOf({ sinceMs: 7000, trouble: 'no agent answers at 127.0.0.1:9465: connect ECONNREFUSED' }))
    expect(gone[1]).toMatch(/^NO ANSWER, shown is what it said 7\.0 s ago: no agent answers at 127/)
    expect(topLines(viewOf({ sinceMs: 4000 }))[1]).toMatch(/^OK/)
    expect(topLines(viewOf({ sinceMs: 6000 }))[1]).toBe("STALE: the agent's last tick is 6.3 s old, and so is all below")
  })

  it('says what is wrong rather than that it is well', () => {
    const broken = recorder()
    broken.resources([{ ...REGISTERED, registered: false, lastError: 'no kubelet.sock' }])
    broken.tick(tick())
    expect(topLines(viewOf({ status: broken.status(11_000, { pods: true }) }))[1]).toMatch(
      /^error: kube-agent\.io\/be-cpu is not reg/,
    )
  })

  it('says that an agent of another version lists no pods', () => {
    const { pods: _pods, ...old } = STATUS
    expect(topLines(viewOf({ status: old })).join('\n')).toContain('this agent does not list its pods')
  })

  it('lets no name of a pod speak to the terminal', () => {
    const evil = statusAt(11_250, { pods: [pod('\u001b]0;owned\u0007\u001b[2J', 'BE')], problems: ['\u001b[31mred'] })
    expect(topLines(viewOf({ status: evil, columns: Infinity, rows: Infinity })).join('\n')).not.toMatch(/(?!\n)\p{Cc}/u)
  })
})

describe('the reason of a pod', () => {
  it.each([
    ['chosen to be evicted (rung memoryEvictOt)', { wishes: [WISH] }],
    ['would be evicted (rung memoryEvictOt)', { wishes: [{ ...WISH, dryRun: true }] }],
    ['frozen: its tasks stand still', { actual: [[TRAIN.reading.group, 'freeze', 1]] as const }],
    ['80m of 2000m asked: online work and the watermark leave no more', {}],
    ['OfflineResourcesIncomplete', { suppression: null, findings: [{ ...FINDING, name: 'train', uid: 'uid-train' }] }],
    ['label kube-agent.io/qos-class=OT', { suppression: null }],
  ])('is %j', (why, parts) => {
    expect(statusAt(11_250, parts).pods?.find(({ uid }) => uid === 'uid-train')?.why).toBe(why)
  })

  const job = (askedMilli: number) => ({ ...pod('job', 'BE'), askedMilli })
  const stateOf = (parts: Parameters<typeof writingTick>[0]) => statusAt(11_250, parts).pods?.[0]

  it('is not suppression while nothing is written, nor for a pod that uses all it asked for', () => {
    expect(stateOf({ pods: [job(2000)] })).toMatchObject({
      state: 'squeezed',
      why: expect.stringMatching(/^all offline/) as unknown,
    })
    expect(stateOf({ pods: [job(700)] })).toMatchObject({ state: 'fine' })
    for (const mode of ['observe', 'plan'] as const) {
      expect(stateOf({ pods: [job(2000)], mode })).toMatchObject({ state: 'fine' })
      expect(stateOf({ pods: [TRAIN], mode })).toMatchObject({
        state: 'squeezed',
        why: '80m of 2000m asked: not by suppression, explain tells more',
      })
    }
  })

  it('is not suppression where the quota is below what both suppression and the group of all offline pods give', () => {
    const actual = [[FLINK.reading.group, 'quota', quotaOf(300)]] as const
    expect(stateOf({ pods: [FLINK], actual })?.why).toBe('300m of 2000m asked: not by suppression, explain tells more')
    expect(stateOf({ pods: [FLINK] })?.why).toBe('600m of 2000m asked: online work and the watermark leave no more')
  })

  it('and its limit are not those of a knob that this kernel lacks', () => {
    const record = writingTick({ pods: [TRAIN] })
    const limitOf = (usable: boolean) => {
      const { snapshot } = record
      const { capabilities } = snapshot
      const quota = usable ? capabilities.knobs.quota : ({ usable: false, reason: 'no CFS bandwidth control' } as const)
      const lacking = { ...capabilities, knobs: { ...capabilities.knobs, quota } }
      return podStatuses({ ...record, snapshot: { ...snapshot, capabilities: lacking, actual: new KnobTable() } }, 11_250)[0]
    }
    expect(limitOf(true)).toMatchObject({ limitMilli: 80 })
    expect(limitOf(false)).not.toHaveProperty('limitMilli')
  })

  it('of an online pod that runs into its limit is that', () => {
    const { use } = WEB.reading
    if (use === undefined) throw new Error('no use')
    const web = { ...WEB, reading: { ...WEB.reading, use: { ...use, value: { ...use.value, throttledPermyriad: 4000 } } } }
    expect(statusAt(11_250, { pods: [web] }).pods).toMatchObject([
      { why: 'its own limit throttles it in 40 % of periods', state: 'odd' },
    ])
  })
})

describe('keys', () => {
  it.each<[string, readonly Key[]]>([
    ['q', [char('q')]],
    ['\u0003', [{ is: 'interrupt' }]],
    ['\u001a', [{ is: 'suspend' }]],
    ['\u001b[A\u001b[B', [{ is: 'up' }, { is: 'down' }]],
    ['\u001bOA', [{ is: 'up' }]],
    ['\u001b[5~\u001b[6~', [{ is: 'pageUp' }, { is: 'pageDown' }]],
    ['\u001b', [{ is: 'escape' }]],
    ['\u001b[1;5C\u001b[200~x', [char('x')]],
    ['\r\u007f', [{ is: 'enter' }, { is: 'backspace' }]],
    ['ä😀\u0001', [char('ä'), char('😀')]],
  ])('are understood: %j', (text, keys) => {
    expect(keysOf(text)).toEqual(keys)
  })

  it('take any bytes without an end or an error', () => {
    const bytes = fc.array(fc.constantFrom('\u001b', '[', 'O', '5', '~', 'A', ';', 'q', '\u0000', 'é')).map((all) => all.join(''))
    fc.assert(
      fc.property(bytes, (text) => {
        expect(keysOf(text).length).toBeLessThanOrEqual(text.length)
      }),
    )
  })

  it('never leave a state that can not be drawn', () => {
    const anyKey = fc.constantFrom<Key>(
      ...['s', 'r', '/', 'c', 'p', '?', 'j', 'k', 'x'].map(char),
      ...(['up', 'down', 'pageUp', 'pageDown', 'home', 'end', 'enter', 'escape', 'backspace'] as const).map((is) => ({ is })),
    )
    fc.assert(
      fc.property(fc.array(anyKey, { maxLength: 30 }), (keys) => {
        const state = after(keys)
        expect(topLines(viewOf({ state })).length).toBe(24)
        expect(state.filter.length).toBeLessThanOrEqual(60)
      }),
    )
  })

  it('quit only where they are no part of a filter', () => {
    expect(press(START, char('q'), { pods: [], pageRows: 1 })).toBe('quit')
    expect(after([char('/'), char('q')])).toMatchObject({ filter: 'q', editing: true })
    expect(press({ ...START, editing: true }, { is: 'interrupt' }, { pods: [], pageRows: 1 })).toBe('quit')
  })
})

describe('order and filters', () => {
  const names = (state: TopState): readonly string[] =>
    listed(STATUS.pods ?? [], state).map((row) => row.pod.replace('default/', ''))

  it('filter by name, class and reason, whatever the case', () => {
    expect(names(after([char('/'), ...'TRAIN'.split('').map(char), { is: 'enter' }]))).toEqual(['train'])
    expect(names({ ...START, filter: 'asked' })).toEqual(['flink', 'train'])
    expect(names(after([{ is: 'escape' }], { ...START, filter: 'train' }))).toEqual(['flink', 'train', 'web'])
  })

  it('walk through the classes that have pods', () => {
    const classes = [1, 2, 3, 4].map((times) => after(Array.from({ length: times }, () => char('c'))).qosClass)
    expect(classes).toEqual(['LS', 'BE', 'OT', undefined])
  })

  it('sort by each column, the same pod before its equals every time', () => {
    expect(names({ ...START, sort: 'limit' })).toEqual(['flink', 'train', 'web'])
    expect(names({ ...START, sort: 'class' })).toEqual(['web', 'flink', 'train'])
    expect(names({ ...START, sort: 'name', reversed: true })).toEqual(['web', 'train', 'flink'])
  })

  it('keep the selected pod while the order changes, and stop at both ends', () => {
    const second = after([{ is: 'down' }, { is: 'down' }])
    expect(second.selected).toBe('uid-train')
    expect(after([char('s'), char('r')], second).selected).toBe('uid-train')
    expect(after([{ is: 'end' }]).selected).toBe('uid-web')
    expect(after([{ is: 'up' }], after([{ is: 'home' }])).selected).toBe('uid-flink')
  })
})

describe('the whole screen', () => {
  it('writes only the lines that have changed, in one piece, and nothing where none has', () => {
    const written: string[] = []
    const screen = openFullScreen(
      (text) => void written.push(text),
      () => ({ columns: 10, rows: 3 }),
    )
    screen.draw(['before it is taken'])
    screen.enter()
    screen.enter()
    screen.draw(['one', 'two', '0123456789'])
    screen.draw(['one', '2', '0123456789'])
    screen.draw(['one', '2', '0123456789'])
    screen.draw(['one'])
    screen.leave()
    screen.leave()
    expect(written).toEqual([
      '\u001b[?1049h\u001b[?25l\u001b[?7l\u001b[2J',
      // What fills a line is not erased after: the cursor still stands on its last column.
      '\u001b[1;1Hone\u001b[0m\u001b[K\u001b[2;1Htwo\u001b[0m\u001b[K\u001b[3;1H0123456789\u001b[0m',
      '\u001b[2;1H2\u001b[0m\u001b[K',
      '\u001b[2;1H\u001b[J',
      '\u001b[0m\u001b[?7h\u001b[?25h\u001b[?1049l',
    ])
  })
})
