/**
 * The part of the schema about suppression beyond the CPU allowance: pressure, the rungs of both ladders, memory, IO, eviction and the
 * agent's care for its own reaction. Every rung has the same settings, and none may share a threshold for entering and leaving.
 */
import { block } from './block.ts'
import * as leaf from './leaves.ts'

const HOUR_MS = 3_600_000
const MINUTE_MS = 60_000
/** Permyriad. A cut that left everything would be none, and the guard that makes it would do nothing for ever. */
const LESS_THAN_ALL = 9999

interface RungDefaults {
  readonly enabled: boolean
  readonly enter: number
  readonly exit: number
  readonly enterMs: number
  readonly exitMs: number
  readonly coolDownMs: number
  /** What the rung does, for the description of `enabled`. */
  readonly says: string
}

const timesOf = ({ enterMs, exitMs, coolDownMs }: RungDefaults) => ({
  enterMs: leaf.ms(enterMs, 0, HOUR_MS, 'How long the threshold must have been passed, with the rung below in force'),
  exitMs: leaf.ms(exitMs, 0, HOUR_MS, 'How long things must have been better than exitPermyriad before the rung is left'),
  coolDownMs: leaf.ms(coolDownMs, 0, HOUR_MS, 'Pause before the next rung, after this one has really done something'),
})

/** A rung of the CPU ladder: entered above a CPU use of the node, or while online work waits for CPU, and left below both. */
const cpuRung = (rung: RungDefaults) =>
  block({
    enabled: leaf.flag(rung.enabled, rung.says),
    enterPermyriad: leaf.share(rung.enter, 1, 'CPU use of the node from which the rung is climbed; of its capacity'),
    exitPermyriad: leaf.share(rung.exit, 1, 'CPU use of the node below which it is left; of its capacity'),
    ...timesOf(rung),
  })

/** A rung of the memory ladder: entered while less memory is available, and left while more is. */
const memoryRung = (rung: RungDefaults) =>
  block({
    enabled: leaf.flag(rung.enabled, rung.says),
    enterPermyriad: leaf.share(rung.enter, 1, 'Memory available to which the rung is climbed; of the memory of the node'),
    exitPermyriad: leaf.share(rung.exit, 1, 'Memory available above which it is left; of the memory of the node'),
    ...timesOf(rung),
  })

const pressure = block({
  enabled: leaf.flag(true, 'Cut the offline allowance while online work waits for CPU, whatever the use of the node is'),
  boundPermyriad: leaf.share(2000, 1, 'Time in which some task of an online group waited for CPU, above which is cut; PSI some'),
  exitPermyriad: leaf.share(1000, 1, 'The same, below which the allowance may grow again'),
  runQueuePermyriad: leaf.count(
    30_000,
    1,
    10_000_000,
    'Where the kernel counts no stalls of groups: tasks, those of offline work left out, that wait for a CPU above which is cut, permyriad of the CPUs',
  ),
  cutPermyriad: leaf.share(7000, 0, 'What a cut leaves of the allowance', LESS_THAN_ALL),
  cutMs: leaf.ms(200, 10, MINUTE_MS, 'Shortest time between two cuts; also the time that waiting is averaged over'),
  futileMs: leaf.ms(
    30_000,
    1000,
    HOUR_MS,
    'How long online work may wait in all, a quarter of the relief taken off, with the allowance at its floor before the guard stands aside; also how long waiting that never exceeds the bound may keep the allowance from growing',
  ),
})

const steady = block({
  turns: leaf.count(6, 2, 1000, 'Changes of direction of the offline allowance within windowMs that count as swinging'),
  windowMs: leaf.ms(30_000, 1000, HOUR_MS, 'Time in which they are counted; without swinging for so long, the dwell time halves'),
  mostDwellMs: leaf.ms(30_000, 100, HOUR_MS, 'Longest that suppressCpu.dwellMs is widened to while the allowance swings'),
})

const suppressMemory = block({
  enabled: leaf.flag(true, 'Squeeze offline pods when memory gets short, rung by rung'),
  // A single container that thrashes at its own limit counts here too, so this is no fine trigger.
  pressurePermyriad: leaf.share(
    2000,
    1,
    'Time in which some task of the node waited for memory, above which rungs up to memoryHighBe are climbed whatever is available; PSI some',
  ),
  highPermyriad: leaf.share(
    9000,
    100,
    'What memoryHighOt and memoryHighBe leave a pod of its working set, as it is when the rung is climbed',
  ),
  // Both off: a kubelet with the feature MemoryQoS writes the same files.
  protectLowPermyriad: leaf.share(
    0,
    0,
    'Value of memory.low of online pods, and of the groups above them; of their memory requests; 0 leaves it alone. cgroup v2 only',
  ),
  protectMinPermyriad: leaf.share(
    0,
    0,
    'Value of memory.min in the same way: what is below is never reclaimed, page cache neither; the kernel rather kills. 0 leaves it alone',
  ),
  staleMs: leaf.ms(
    10_000,
    100,
    10 * MINUTE_MS,
    'Age of the last reading beyond which no rung is climbed or left and no pod is evicted',
  ),
})

// Below such rates a pod may hold a lock of its file system for seconds, with online work behind it.
const bytesPerSecond = (says: string) => leaf.rate({ min: 65_536, unit: 'bytes' }, says)
const operationsPerSecond = (says: string) => leaf.rate({ min: 16, unit: '' }, says)

const suppressIo = block({
  enabled: leaf.flag(false, 'Hold back what offline pods read and write on block devices'),
  beWeight: leaf.count(20, 1, 1000, 'IO weight of BE pods, where others have 100'),
  otWeight: leaf.count(5, 1, 1000, 'IO weight of OT pods'),
  devices: leaf.deviceList('Devices on which offline pods together are limited'),
  readBps: bytesPerSecond('What offline pods together may read a second on each of the devices'),
  writeBps: bytesPerSecond('What they may write there a second'),
  readIops: operationsPerSecond('How often they may read there a second'),
  writeIops: operationsPerSecond('How often they may write there a second'),
  otSharePermyriad: leaf.share(5000, 1, 'What OT pods together may use of these limits'),
  onlineDevices: leaf.deviceList('Devices for online work: offline pods get only onlineBps there'),
  onlineBps: leaf.byteCount(
    1_048_576,
    65_536,
    Number.MAX_SAFE_INTEGER,
    'Bytes a second that offline pods may read, and write, there',
  ),
  offlineDevices: leaf.deviceList('Devices given to offline pods: without limits, even while online work waits for IO'),
  pressurePermyriad: leaf.share(
    2000,
    1,
    'Time in which some task of online work (or of the node) waited for IO, above which limits are cut; PSI some',
  ),
  exitPermyriad: leaf.share(1000, 1, 'The same, below which limits grow again'),
  cutPermyriad: leaf.share(5000, 1, 'What a cut leaves of the limits', LESS_THAN_ALL),
  floorPermyriad: leaf.share(500, 1, 'What offline pods keep of the limits in any case'),
  growthPermyriad: leaf.share(500, 1, 'Growth of the limits back a second; of what is configured'),
})

const evict = block({
  enabled: leaf.flag(false, 'Let the rungs that evict do so; without, suppression ends at what comes before them'),
  dryRunCpu: leaf.flag(false, 'Only tell which pods cpuEvict would evict'),
  dryRunMemory: leaf.flag(false, 'Only tell which pods memoryEvictOt and memoryEvictBe would evict'),
  intervalMs: leaf.ms(10_000, 1000, HOUR_MS, 'Shortest time between two evictions'),
  perHour: leaf.count(20, 1, 1000, 'Most evictions in an hour'),
  holdMs: leaf.ms(
    12_000,
    0,
    10 * MINUTE_MS,
    'How long sales must have been stopped before the first pod is evicted: the kubelet tells the scheduler every 10 s',
  ),
  minAgeMs: leaf.ms(0, 0, HOUR_MS, 'Pods younger than this are not evicted'),
  gracePeriodSeconds: leaf.count(30, 0, 3600, 'Time that an evicted pod has to end; a shorter one of its own is kept'),
  force: leaf.flag(false, 'Delete a pod whose eviction a disruption budget has refused for forceAfterMs'),
  forceAfterMs: leaf.ms(60_000, 0, HOUR_MS, 'How long a disruption budget is waited for, with force'),
})

const own = block({
  weight: leaf.flag(true, "Give the agent's own cgroup the highest weight, so that it reacts in time on a full node"),
  nice: leaf.count(-10, -20, 0, 'Nice value of the agent; 0 leaves it as it was started'),
  realtimePriority: leaf.count(0, 0, 50, 'Priority of the agent in the real-time class SCHED_FIFO; 0 for none (needs koffi)'),
})

/** The blocks, in the order in which they stand in the schema. */
export const SUPPRESSION = {
  pressure,
  steady,
  cpuNarrow: cpuRung({
    enabled: true,
    enter: 9000,
    exit: 8000,
    enterMs: 2000,
    exitMs: 10_000,
    coolDownMs: 5000,
    says: 'Keep offline pods to as few CPUs as their allowance needs, those of online pods last',
  }),
  cpuFreeze: cpuRung({
    enabled: false,
    enter: 9500,
    exit: 8500,
    enterMs: 5000,
    exitMs: 15_000,
    coolDownMs: 15_000,
    says: 'Freeze OT pods: they stand still, and their probes and connections may fail',
  }),
  cpuEvict: cpuRung({
    enabled: false,
    enter: 9500,
    exit: 8500,
    enterMs: 60_000,
    exitMs: 60_000,
    coolDownMs: 30_000,
    says: 'Evict offline pods for CPU, one after the other (needs evict.enabled)',
  }),
  suppressMemory,
  memoryHold: memoryRung({
    enabled: true,
    enter: 1500,
    exit: 2000,
    enterMs: 1000,
    exitMs: 30_000,
    coolDownMs: 1000,
    says: 'Stop selling offline capacity: what is allocated is all that is offered',
  }),
  memoryHighOt: memoryRung({
    enabled: true,
    enter: 1200,
    exit: 1700,
    enterMs: 1000,
    exitMs: 30_000,
    coolDownMs: 5000,
    says: 'Reclaim memory of OT pods: memory.high, under cgroup v1 the soft limit',
  }),
  memoryHighBe: memoryRung({
    enabled: true,
    enter: 1000,
    exit: 1500,
    enterMs: 2000,
    exitMs: 30_000,
    coolDownMs: 5000,
    says: 'Reclaim memory of BE pods in the same way',
  }),
  memoryEvictOt: memoryRung({
    enabled: true,
    enter: 700,
    exit: 1200,
    enterMs: 3000,
    exitMs: 30_000,
    // As long as a pod has to end by default: before that, what the first one frees does not show.
    coolDownMs: 30_000,
    says: 'Evict OT pods for memory (needs evict.enabled)',
  }),
  memoryEvictBe: memoryRung({
    enabled: true,
    enter: 500,
    exit: 1000,
    enterMs: 5000,
    exitMs: 30_000,
    coolDownMs: 15_000,
    says: 'Evict BE pods for memory (needs evict.enabled)',
  }),
  suppressIo,
  evict,
  own,
}
