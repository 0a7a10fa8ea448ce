/** What each knob is for and which settings make use of it: a table that can't miss a kind. */
import type { Config } from '../../config/index.ts'
import type { Dialect, KnobKind } from '../../model/index.ts'

/** What to do about groups that may not be written. */
export const WRITABLE = 'Run as root, with the cgroup tree of the host mounted read-write.'

interface KnobUse {
  readonly is: string
  /** Whether the configuration makes use of it. */
  readonly wanted: (config: Config, dialect: Dialect) => boolean
  /** What switches that off. */
  readonly off: string
  /** Without it the agent does not start in the mode enforce. */
  readonly vital?: true
}

const reclaims = ({ suppressMemory, memoryHighOt, memoryHighBe }: Config): boolean =>
  suppressMemory.enabled && (memoryHighOt.enabled || memoryHighBe.enabled)

const byName = (backend: Config['identity']['backend'], is: string): KnobUse => ({
  is,
  wanted: ({ identity }) => identity.enabled && identity.backend === backend,
  off: 'identity.backend: auto',
})

export const KNOB_USES: Readonly<Record<KnobKind, KnobUse>> = {
  quota: { is: 'the allowance and the limits of offline pods', wanted: () => true, off: 'mode: observe', vital: true },
  burst: { is: 'CPU burst of online pods', wanted: ({ burst }) => burst.enabled, off: 'burst.enabled: false' },
  bvt: byName('bvt', 'the identity of classes'),
  coreCookie: {
    is: 'core scheduling',
    wanted: ({ identity }) => identity.coreScheduling,
    off: 'identity.coreScheduling: false',
  },
  qosLevel: byName('qosLevel', 'the identity of classes'),
  offline: byName('offline', 'the identity of classes'),
  btShares: byName('offline', 'shares among offline pods'),
  idle: byName('idle', 'OT pods that yield to all others'),
  weight: { is: 'shares among offline pods', wanted: ({ identity }) => identity.enabled, off: 'identity.enabled: false' },
  memoryMin: {
    is: 'memory of online pods that is never reclaimed',
    wanted: ({ suppressMemory }) => suppressMemory.protectMinPermyriad > 0,
    off: 'suppressMemory.protectMinPermyriad: 0',
  },
  memoryLow: {
    is: 'memory of online pods that is reclaimed last',
    wanted: ({ suppressMemory }) => suppressMemory.protectLowPermyriad > 0,
    off: 'suppressMemory.protectLowPermyriad: 0',
  },
  memoryHigh: {
    is: 'taking memory back from offline pods',
    wanted: (config, dialect) => dialect === 'v2' && reclaims(config),
    off: 'memoryHighOt.enabled: false and memoryHighBe.enabled: false',
  },
  memoryMax: { is: 'memory limits of offline pods', wanted: ({ limits }) => limits.enabled, off: 'limits.enabled: false' },
  memorySoft: {
    is: 'taking memory back from offline pods, in place of memory.high',
    wanted: (config, dialect) => dialect === 'v1' && reclaims(config),
    off: 'memoryHighOt.enabled: false and memoryHighBe.enabled: false',
  },
  ioWeight: { is: 'IO weight of offline pods', wanted: ({ suppressIo }) => suppressIo.enabled, off: 'suppressIo.enabled: false' },
  ioMax: { is: 'IO limits of offline pods', wanted: ({ suppressIo }) => suppressIo.enabled, off: 'suppressIo.enabled: false' },
  cpuset: { is: 'CPUs of each class', wanted: ({ placement }) => placement.enabled, off: 'placement.enabled: false' },
  freeze: { is: 'freezing OT pods', wanted: ({ cpuFreeze }) => cpuFreeze.enabled, off: 'cpuFreeze.enabled: false' },
}
