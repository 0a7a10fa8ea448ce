/**
 * What single ranges can't say: settings that are good alone and impossible together. Each rule names its keys; it is judged once
 * all of them are valid by themselves, and its message names every one with its value, since the mistake may be in either.
 */
import { CPU_RUNGS, MEMORY_RUNGS, type Rung } from '../model/index.ts'
import type { Config } from './types.ts'

export interface Combination {
  /** Dotted keys; the message is about the first. */
  readonly keys: readonly [string, ...string[]]
  /** Why the values are impossible together; undefined when they are not. */
  readonly problem: (config: Config) => string | undefined
}

/** Two thresholds of a block between which nothing changes, with the lower one first. Equal ones would flap. */
function gap<Block extends keyof Config>(
  block: Block,
  low: keyof Config[Block] & string,
  high: keyof Config[Block] & string,
): Combination {
  return {
    keys: [`${block}.${low}`, `${block}.${high}`],
    problem: (config) => {
      const [lower, upper] = [config[block][low], config[block][high]]
      return lower < upper ? undefined : `${String(lower)} must be below ${block}.${high} (${String(upper)})`
    },
  }
}

/** Each rung is entered at what is at least as bad as what the one below it is entered at; rungs that are off don't count. */
function ordered(rungs: readonly Rung[], worse: 'above' | 'below'): Combination[] {
  return rungs.flatMap((upper, index) =>
    rungs.slice(0, index).map((lower, at): Combination => {
      const between = rungs.slice(at + 1, index)
      return {
        keys: [`${upper}.enterPermyriad`, `${lower}.enterPermyriad`, `${upper}.enabled`, `${lower}.enabled`],
        problem: (config) => {
          const [first, second] = [config[lower], config[upper]]
          // Of rungs that are on, only neighbours are compared: one mistake is told once.
          if (!first.enabled || !second.enabled || between.some((name) => config[name].enabled)) return undefined
          const [from, to] = [first.enterPermyriad, second.enterPermyriad]
          if (worse === 'above' ? from <= to : from >= to) return undefined
          const bound = worse === 'above' ? 'below' : 'above'
          return `${to} must not be ${bound} ${lower}.enterPermyriad (${from}), the rung that is climbed before it`
        },
      }
    }),
  )
}

const DEVICE_LISTS = ['devices', 'onlineDevices', 'offlineDevices'] as const

/** A device is for one use. Names only: that `259:0` and `nvme0n1` are the same device is known on the node alone. */
const DEVICE_USES: readonly Combination[] = DEVICE_LISTS.flatMap((one, index) =>
  DEVICE_LISTS.slice(index + 1).map((other): Combination => ({
    keys: [`suppressIo.${one}`, `suppressIo.${other}`],
    problem: ({ suppressIo }) => {
      const both = suppressIo[one].filter((device) => suppressIo[other].includes(device))
      return both.length === 0
        ? undefined
        : `${both.join(', ')} ${both.length === 1 ? 'stands' : 'stand'} in suppressIo.${other} too`
    },
  })),
)

const LADDERS: readonly Combination[] = [
  ...CPU_RUNGS.map((rung) => gap(rung, 'exitPermyriad', 'enterPermyriad')),
  // Of memory, what is available counts: a rung is left when there is more.
  ...MEMORY_RUNGS.map((rung) => gap(rung, 'enterPermyriad', 'exitPermyriad')),
  ...ordered(CPU_RUNGS, 'above'),
  ...ordered(MEMORY_RUNGS, 'below'),
]

export const COMBINATIONS: readonly Combination[] = [
  {
    keys: ['suppressCpu.lowWatermarkPermyriad', 'suppressCpu.watermarkPermyriad'],
    problem: ({ suppressCpu: { lowWatermarkPermyriad: low, watermarkPermyriad: high } }) =>
      low < high ? undefined : `${low} must be below suppressCpu.watermarkPermyriad (${high})`,
  },
  {
    keys: ['suppressCpu.otFloorPermyriad', 'suppressCpu.floorPermyriad'],
    problem: ({ suppressCpu: { otFloorPermyriad: ot, floorPermyriad: both } }) =>
      ot <= both ? undefined : `${ot} must not be above suppressCpu.floorPermyriad (${both}), which OT shares with BE`,
  },
  {
    keys: ['suppressCpu.floorPermyriad', 'suppressCpu.marginPermyriad', 'suppressCpu.watermarkPermyriad'],
    problem: ({ suppressCpu: { floorPermyriad: floor, marginPermyriad: margin, watermarkPermyriad: high } }) =>
      floor + margin < high
        ? undefined
        : `${floor} and suppressCpu.marginPermyriad (${margin}) together must be below suppressCpu.watermarkPermyriad (${high})`,
  },
  {
    keys: ['loop.guardMs', 'loop.hotMs'],
    problem: ({ loop: { guardMs, hotMs } }) =>
      guardMs <= hotMs ? undefined : `${guardMs} must not be above loop.hotMs (${hotMs})`,
  },
  {
    keys: ['loop.hotMs', 'loop.calmMs'],
    problem: ({ loop: { hotMs, calmMs } }) =>
      hotMs <= calmMs ? undefined : `${hotMs} must not be above loop.calmMs (${calmMs})`,
  },
  {
    keys: ['placement.reservedCpus', 'placement.dedicatedCpus'],
    problem: ({ placement: { reservedCpus: reserved, dedicatedCpus: dedicated } }) =>
      reserved.overlaps(dedicated)
        ? `${String(reserved)} shares CPUs ${String(reserved.intersect(dedicated))} with placement.dedicatedCpus (${String(dedicated)})`
        : undefined,
  },
  {
    keys: ['placement.lsSharePermyriad', 'placement.dedicatedCpus'],
    problem: ({ placement: { lsSharePermyriad: share, dedicatedCpus: dedicated } }) =>
      share === 0 && dedicated.isEmpty
        ? '0 needs CPUs in placement.dedicatedCpus (none): offline pods would have none to run on; name some, or write 1 or more'
        : undefined,
  },
  {
    keys: ['cluster.kubeletVerify', 'cluster.kubelet'],
    problem: ({ cluster: { kubeletVerify, kubelet } }) =>
      kubeletVerify || /^https:\/\/(?:127\.\d+\.\d+\.\d+|\[::1\]|localhost)(?::|$)/.test(kubelet)
        ? undefined
        : `false needs a loopback address in cluster.kubelet (${kubelet}): the token would go to whoever answers there`,
  },
  {
    keys: ['identity.rootIdle', 'onExit'],
    problem: ({ identity: { rootIdle }, onExit }) =>
      rootIdle && onExit !== 'release'
        ? `true needs onExit: release, not ${onExit}: a kubelet that starts while no agent runs must find the root as it left it`
        : undefined,
  },
  {
    keys: ['resources.beCpu', 'resources.beMemory', 'resources.otCpu', 'resources.otMemory'],
    problem: ({ resources: { fullNames } }) => {
      const names = Object.values(fullNames)
      return new Set(names).size === names.length ? undefined : `${names.join(', ')} must be four different names`
    },
  },
  {
    keys: ['suppressCpu.staleMs', 'loop.calmMs'],
    problem: ({ suppressCpu: { staleMs }, loop: { calmMs } }) =>
      staleMs >= 2 * calmMs ? undefined : `${staleMs} must be at least twice loop.calmMs (${calmMs}), or calm readings are stale`,
  },
  {
    keys: ['suppressCpu.windowMs', 'loop.guardMs'],
    problem: ({ suppressCpu: { windowMs }, loop: { guardMs } }) =>
      windowMs >= guardMs
        ? undefined
        : `${windowMs} must not be below loop.guardMs (${guardMs}), the pace of the readings it averages`,
  },
  ...LADDERS,
  ...DEVICE_USES,
  gap('pressure', 'exitPermyriad', 'boundPermyriad'),
  gap('suppressIo', 'exitPermyriad', 'pressurePermyriad'),
  gap('nodeSignals', 'memoryLowWatermarkPermyriad', 'memoryWatermarkPermyriad'),
  {
    keys: ['suppressMemory.staleMs', 'loop.calmMs'],
    problem: ({ suppressMemory: { staleMs }, loop: { calmMs } }) =>
      staleMs >= 2 * calmMs ? undefined : `${staleMs} must be at least twice loop.calmMs (${calmMs}), or calm readings are stale`,
  },
  {
    keys: ['recording.maxBytes', 'recording.segmentBytes'],
    problem: ({ recording: { maxBytes, segmentBytes } }) =>
      maxBytes >= 2 * segmentBytes
        ? undefined
        : `${maxBytes} must be at least twice recording.segmentBytes (${segmentBytes}): the oldest segment goes whole`,
  },
  {
    keys: ['steady.mostDwellMs', 'suppressCpu.dwellMs'],
    problem: ({ steady: { mostDwellMs }, suppressCpu: { dwellMs } }) =>
      mostDwellMs >= dwellMs ? undefined : `${mostDwellMs} must not be below suppressCpu.dwellMs (${dwellMs}), which it widens`,
  },
  {
    keys: ['pressure.cutMs', 'loop.guardMs'],
    problem: ({ pressure: { cutMs }, loop: { guardMs } }) =>
      cutMs >= guardMs
        ? undefined
        : `${cutMs} must not be below loop.guardMs (${guardMs}), the shortest time between two readings`,
  },
  {
    keys: ['pressure.futileMs', 'pressure.cutMs'],
    problem: ({ pressure: { futileMs, cutMs } }) =>
      futileMs > cutMs ? undefined : `${futileMs} must be above pressure.cutMs (${cutMs}), or no cut has the time to show`,
  },
]
