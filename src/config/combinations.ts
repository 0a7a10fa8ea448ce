/**
 * What single ranges can't say: settings that are good alone and impossible together. Each rule names its keys; it is judged once
 * all of them are valid by themselves, and its message names every one with its value, since the mistake may be in either.
 */
import type { Config } from './types.ts'

export interface Combination {
  /** Dotted keys; the message is about the first. */
  readonly keys: readonly [string, ...string[]]
  /** Why the values are impossible together; undefined when they are not. */
  readonly problem: (config: Config) => string | undefined
}

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
]
