/**
 * What cgroup v2 answers, write by write in one tree: found on a real 6.1 kernel, and held against it by the suite in the virtual machine
 * (scripts/vm) and against the model kernel wherever tests run. A process is in C.
 * Kernel: kernel/sched/core.c (cpu_max_write, cpu_weight_write_u64), kernel/cgroup/cpuset.c (update_cpumask), mm/page_counter.c.
 */
import type { KnobSetting } from '../../src/model/index.ts'
import { A, B, C, D, E, TOP } from './places.ts'
import { cpus, ioMax, knob, MIB, NO_DISK, quotaUs } from './settings.ts'

/** Place, what is written there, and what the outcome is. */
export const KNOWN_V2: readonly (readonly [number, KnobSetting, string])[] = [
  // Quota: no child is held to its parent's share; the least is 1000 µs, the period 1 ms to 1 s.
  [A, quotaUs(999), 'refused'],
  [A, quotaUs(1000), 'applied'],
  [B, quotaUs(150_000), 'applied'],
  [C, quotaUs(800_000), 'applied'],
  [A, quotaUs(40_000), 'applied'],
  [A, quotaUs(20_000, 999), 'refused'],
  [A, quotaUs(20_000, 1_000_001), 'refused'],
  [A, quotaUs(null, 1_000_001), 'refused'],
  [A, quotaUs(1000, 1000), 'applied'],
  [A, quotaUs(null), 'applied'],
  // Burst: within the quota.
  [E, quotaUs(20_000), 'applied'],
  [E, knob('burst', 20_001), 'refused'],
  [E, knob('burst', 20_000), 'applied'],
  [E, quotaUs(10_000), 'refused'],
  [E, quotaUs(30_000), 'applied'],
  [E, knob('burst', 0), 'applied'],
  [E, quotaUs(10_000), 'applied'],
  [E, quotaUs(null), 'applied'],
  [E, knob('burst', 90_000), 'applied'],
  [E, quotaUs(80_000), 'refused'],
  // Weight and idle: not at once, and idle eats the weight.
  [D, knob('weight', 700), 'applied'],
  [D, knob('weight', 0), 'refused'],
  [D, knob('weight', 10_001), 'refused'],
  [D, knob('idle', 1), 'applied'],
  [D, knob('weight', 700), 'refused'],
  [D, knob('weight', 10_001), 'refused'],
  [D, knob('idle', 1), 'applied'],
  [D, knob('idle', 2), 'refused'],
  [D, knob('idle', 0), 'applied'],
  [D, knob('weight', 10_000), 'applied'],
  // cpuset: anything of what is possible; where a process is, the port puts all CPUs in the place of none.
  [B, cpus('0'), 'applied'],
  [C, cpus('1'), 'applied'],
  [C, cpus('0-7'), 'applied'],
  [A, cpus('4-5'), 'applied'],
  [C, cpus(''), 'applied'],
  [A, cpus(''), 'applied'],
  [D, cpus('0'), 'applied'],
  [D, cpus(''), 'applied'],
  [E, cpus('8'), 'refused'],
  [E, cpus('0-1,8000'), 'refused'],
  // Memory: a part of a page is dropped, and what is beyond all memory is no limit.
  [TOP, knob('memoryMax', 512 * MIB), 'applied'],
  [A, knob('memoryMax', 1024 * MIB), 'applied'],
  [A, knob('memoryMax', 64 * MIB + 1), 'applied'],
  [A, { kind: 'memoryMax', value: null }, 'applied'],
  [A, knob('memoryHigh', 2 ** 63), 'applied'],
  [A, { kind: 'memoryMin', value: null }, 'applied'],
  // IO: a weight within its range; a disk that is not there has no limits, and none to take away.
  [A, knob('ioWeight', 1), 'applied'],
  [A, knob('ioWeight', 10_000), 'applied'],
  [A, knob('ioWeight', 0), 'refused'],
  [A, knob('ioWeight', 10_001), 'refused'],
  [E, ioMax(NO_DISK, { readBps: MIB }), 'vanished'],
  [E, ioMax(NO_DISK), 'applied'],
  [E, knob('freeze', 1), 'applied'],
  [E, knob('freeze', 2), 'refused'],
  [E, knob('freeze', 0), 'applied'],
]

/** The same for limits on a disk. Kernel: tg_set_limit() in block/blk-throttle.c. */
export const knownOn = (disk: string): readonly (readonly [number, KnobSetting, string])[] => [
  [E, ioMax(disk, { readBps: 2, writeBps: MIB, readIops: 2, writeIops: 120 }), 'applied'],
  [E, ioMax(disk, { readBps: 0 }), 'refused'],
  [E, ioMax(disk, { readBps: 1 }), 'refused'],
  [E, ioMax(disk, { readIops: 1 }), 'refused'],
  [E, ioMax(disk, { writeBps: MIB }), 'applied'],
  // A child may ask for more than its parent has.
  [A, ioMax(disk, { readBps: 100 }), 'applied'],
  [B, ioMax(disk, { readBps: 200, writeIops: 2 ** 32 }), 'applied'],
  [A, ioMax(disk), 'applied'],
  [A, ioMax(disk), 'applied'],
]
