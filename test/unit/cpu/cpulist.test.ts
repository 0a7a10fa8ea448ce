import { describe, expect, it } from 'vitest'
import { CpuListError, CpuSet, MAX_CPU_ID } from '../../../src/cpu/index.ts'

const ids = (text: string, lastCpu?: number): number[] => [...CpuSet.parse(text, { lastCpu })]

function errorOf(text: string, lastCpu?: number): CpuListError {
  try {
    CpuSet.parse(text, { lastCpu })
  } catch (thrown) {
    if (thrown instanceof CpuListError) return thrown
    throw thrown
  }
  throw new Error(`${JSON.stringify(text)} was taken`)
}

describe('CPU list text', () => {
  // Each row was written to cpuset.cpus of a v1 cpuset of a machine with CPUs 0-1, kernel 6.18, and read back.
  it.each([
    ['0', [0]],
    ['0-1', [0, 1]],
    ['0,1', [0, 1]],
    ['1,0', [0, 1]],
    [',0', [0]],
    ['0,', [0]],
    ['0,,1', [0, 1]],
    [' 0 ', [0]],
    ['0 1', [0, 1]],
    ['0\t1', [0, 1]],
    ['0\n', [0]],
    ['\n0', [0]],
    ['0 \n1', [0, 1]],
    ['0,\n1', [0, 1]],
    ['0\r\n1', [0, 1]],
    ['0\v1', [0, 1]],
    ['0\f1', [0, 1]],
    ['N', [1]],
    ['0-N', [0, 1]],
    ['N-N', [1]],
    ['all', [0, 1]],
    ['ALL', [0, 1]],
    ['All', [0, 1]],
    ['0,all', [0, 1]],
    ['all:1/2', [0]],
    ['all:N/N', [0, 1]],
    ['0-1:1/2', [0]],
    ['0-1:0/2', []],
    ['0-1:2/2', [0, 1]],
    ['0-1:1/1', [0, 1]],
    ['0-1:1/2,N', [0, 1]],
    ['0-1:1/2 1', [0, 1]],
    ['0-1:N/2', [0]],
    ['0-1:1/N', [0, 1]],
    ['0-1:1/4294967295', [0]],
    ['01', [1]],
    ['0000000000000000000000000001', [1]],
    ['00-001', [0, 1]],
    ['0-1,0-1', [0, 1]],
    ['', []],
    ['\n', []],
    [',', []],
    [' , ', []],
  ])('takes %j as the kernel does', (text, expected) => {
    expect(ids(text, 1)).toEqual(expected)
  })

  it.each([
    'n',
    'N-0',
    'allx',
    '0-1:3/2',
    '0-1:1/0',
    '0-1:1/2x',
    '0:1/2',
    '0-1:1',
    '0-1:',
    '0-1:/2',
    '0-1:1/',
    '0-1:1/2/3',
    '0-1:1/2-3',
    '0-1:1/2:3',
    '0-1:1/4294967296',
    '1-0',
    '-1',
    '+1',
    '0-',
    '-',
    '0--1',
    '0 -1',
    '0- 1',
    '0 - 1',
    '0x1',
    '1x',
    '2',
    '0-2',
    '8191',
    '4294967296',
    '99999999999999999999999',
    'a',
    'none',
    '0;1',
    '0.1',
    'NN',
    'N1',
    '1N',
    '0N',
    '0all',
    '0-1-1',
  ])('refuses %j as the kernel does', (text) => {
    expect(errorOf(text, 1).text).toBe(text)
  })

  it('does not copy the accidents of the kernel reader', () => {
    expect(ids('0\n1', 1), 'the kernel drops the 1').toEqual([0, 1])
    expect(ids('1-1:1/4294967295', 1), 'the kernel wraps round to CPU 0').toEqual([1])
    for (const text of ['0-1:1/2N', '0-1:1/2all', '0\u00a01', '0\u00001']) expect(errorOf(text, 1).text).toBe(text)
  })

  it('reads the used CPUs of each group, the last group cut short', () => {
    expect(CpuSet.parse('0-31:2/4').toString()).toBe('0-1,4-5,8-9,12-13,16-17,20-21,24-25,28-29')
    expect(CpuSet.parse('9-38:4/10').toString()).toBe('9-12,19-22,29-32')
    expect(CpuSet.parse('0-9:4/8').toString()).toBe('0-3,8-9')
    expect(CpuSet.parse('8190-8191:1/4294967295').toString()).toBe('8190')
  })

  it('takes CPUs up to 8191, and up to the last CPU where that is known', () => {
    expect(ids(String(MAX_CPU_ID))).toEqual([8191])
    expect(CpuSet.parse('all', { lastCpu: MAX_CPU_ID }).size).toBe(8192)
    expect(errorOf('8192').expected).toBe('a CPU number, at most 8191')
    expect(errorOf('0-8', 7).expected).toBe('the last CPU of the range, at most 7')
  })

  it('refuses N and all, and says why, where the last CPU is not known', () => {
    expect(errorOf('0-N').message).toContain('the last CPU is not known')
    expect(errorOf('3,all').message).toContain('the last CPU is not known')
    expect(errorOf('N').message).toContain('the last CPU is not known')
  })

  it.each([-1, 0.5, Number.NaN, MAX_CPU_ID + 1])('refuses %d as the last CPU', (lastCpu) => {
    expect(errorOf('0', lastCpu).text).toBe(String(lastCpu))
  })

  it.each([
    ['0-3,x', 'CPU list "0-3,x", column 5: expected a CPU number, found "x"'],
    ['0-', 'CPU list "0-", column 3: expected the last CPU of the range, found the end'],
    ['12-8,1', 'CPU list "12-8,1", column 4: expected a CPU not below 12, found "8"'],
    ['0-7:3/2', 'CPU list "0-7:3/2", column 5: expected at most the group size, 2, found "3"'],
    ['0-7:1/0', 'CPU list "0-7:1/0", column 7: expected a group size above 0, found "0"'],
    ['0-7:1', 'CPU list "0-7:1", column 6: expected "/" and a group size, found the end'],
    ['0x10', 'CPU list "0x10", column 2: expected a comma, white space or the end of the list, found "x10"'],
    ['1,9000', 'CPU list "1,9000", column 3: expected a CPU number, at most 8191, found "9000"'],
  ])('points at what is wrong in %j', (text, message) => {
    const error = errorOf(text)
    expect(error.message).toBe(message)
    expect(error.name).toBe('CpuListError')
    expect(message).toContain(`column ${error.column}:`)
  })

  it('keeps the message short however long the text is', () => {
    expect(errorOf('x'.repeat(100_000)).message.length).toBeLessThan(200)
    expect(errorOf('9'.repeat(100_000)).message.length).toBeLessThan(200)
  })
})
