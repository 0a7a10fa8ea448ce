/** Any text in any knob's file, of both dialects: a value within the kernel's range that is written and read back as itself, or nothing. */
import { describe, expect, it } from 'vitest'
import { CpuSet } from '../../src/cpu/index.ts'
import { DIALECTS } from '../../src/kernel/dialect.ts'
import {
  formatKnobValue,
  identicalValue,
  IoLimits,
  isQuota,
  type KnobKind,
  type KnobSetting,
  type KnobValue,
} from '../../src/model/index.ts'
import { announce, fuzz, type Verdict, texts } from './support.ts'

announce('knob-text')

interface AnyFile {
  readonly name: string
  readonly decode: (text: string) => KnobValue | undefined
  readonly encode: (value: KnobValue) => string
  readonly instead?: AnyFile
}

const FILES = (['v1', 'v2'] as const).flatMap((dialect) =>
  Object.entries(DIALECTS[dialect].knobs as unknown as Record<KnobKind, AnyFile>).flatMap(([kind, file]) =>
    [file, ...(file.instead === undefined ? [] : [file.instead])].map((one) => ({ dialect, kind: kind as KnobKind, file: one })),
  ),
)

const SAMPLES = [
  '-1',
  '0',
  '1',
  '1024',
  '50000 100000',
  'max 100000',
  'max',
  '0-3,8',
  'default 100',
  'default 50\n8:16 200\n8:0 default',
  '8:16 rbps=2097152 wbps=max riops=max wiops=120\n259:0 rbps=1 wbps=1 riops=1 wiops=1',
  'THAWED',
  'FROZEN',
  '9223372036854771712',
]

/** Kernel: bvt_warp_ns and qos_level go below 0. */
const SIGNED: readonly KnobKind[] = ['bvt', 'qosLevel']
/** Kernel: the largest number in any of these files is one of 64 bits. */
const MOST = 2 ** 64

function check(kind: KnobKind, value: KnobValue): void {
  const inRange = (amount: number | null): boolean =>
    amount === null || (Number.isFinite(amount) && Math.abs(amount) <= MOST && (amount >= 0 || SIGNED.includes(kind)))
  if (value instanceof CpuSet) expect(value.size).toBeLessThanOrEqual(8192)
  else if (value instanceof IoLimits) {
    for (const limits of value.devices.values())
      for (const limit of Object.values(limits) as (number | null)[])
        if (limit !== null && (!Number.isSafeInteger(limit) || limit < 0)) throw new Error(`a limit of ${limit}`)
  } else if (isQuota(value)) {
    if (!inRange(value.quotaUs) || !inRange(value.periodUs) || value.periodUs <= 0)
      throw new Error(`a quota of ${value.quotaUs}/${value.periodUs}`)
  } else if (!inRange(value)) throw new Error(`${kind} of ${value}`)
}

describe('knobs', () => {
  fuzz('hold a value in range, or nothing, whatever the file says', texts(...SAMPLES), (text) => {
    let verdict: Verdict = 'refused'
    for (const { dialect, kind, file } of FILES) {
      const value = file.decode(text.trim())
      if (value === undefined) continue
      verdict = 'taken'
      check(kind, value)
      formatKnobValue({ kind, value } as KnobSetting)
      // The period is a file of its own under v1; this text form does not hold it.
      const again = file.decode(file.encode(value).trim())
      if (!identicalValue(again, value))
        throw new Error(`${dialect} ${kind}: ${JSON.stringify(value)} is written as ${file.encode(value)}`)
    }
    return verdict
  })

  it('are numbers in the files of more than ten kinds, and none of them takes one that no kernel could print', () => {
    const takers = (text: string): number => FILES.filter(({ file }) => file.decode(text) !== undefined).length
    expect(takers('1')).toBeGreaterThan(10)
    expect(takers('9'.repeat(400))).toBe(0)
  })
})
