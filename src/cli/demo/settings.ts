/**
 * The demo's configuration and load, for any size of machine. Everything is as it is by default, except that warm-up, peak window and
 * pushes are short, and that on a machine with more than four CPUs the shares are scaled down to what four CPUs would give: the demo must not have
 * to burn half of a large machine to reach a watermark.
 */
import { loadConfig, type Config, type Override } from '../../config/index.ts'

const MOST_CPUS = 4
/** The lowest that the schema takes. */
const LEAST_WATERMARK_PERMYRIAD = 100
const DEFAULT_WATERMARK_PERMYRIAD = 6500

/** On a larger machine even the lowest watermark is more than what the demo burns, so it could show nothing. */
export const MOST_REAL_CPUS = Math.floor((MOST_CPUS * DEFAULT_WATERMARK_PERMYRIAD) / LEAST_WATERMARK_PERMYRIAD)

const SCALED = [
  'watermarkPermyriad',
  'lowWatermarkPermyriad',
  'marginPermyriad',
  'floorPermyriad',
  'otFloorPermyriad',
  'growthPermyriad',
  'deadBandPermyriad',
  'beHeadroomPermyriad',
] as const

export interface DemoLoad {
  readonly calmMilli: number
  readonly spikeMilli: number
  /** Share of what they asked for that BE pods use at first. */
  readonly beShare: number
  readonly otMilli: number
  /** Of BE CPU, for the play to begin: about a third of what it uses of the machine. */
  readonly worthwhileMilli: number
}

export interface DemoSettings {
  readonly config: Config
  readonly load: DemoLoad
}

/** The configuration of the demo on a machine with `cpus` CPUs, with the bed's own settings put over it. */
export function demoSettings(
  cpus: number,
  bedSettings: Readonly<Record<string, unknown>>,
  kubeletDirectory: string,
): DemoSettings {
  const defaults = loadConfig().config
  const used = Math.min(cpus, MOST_CPUS)
  const scale = used / cpus
  const settings: Record<string, unknown> = {
    'node.name': 'demo',
    'paths.devicePlugins': kubeletDirectory,
    'placement.lsSharePermyriad': Math.round(5000 * scale),
    'capacity.warmupMs': 3000,
    'capacity.peakWindowMs': 5000,
    // The peak of a busy minute on somebody's laptop must not leave nothing to sell.
    'capacity.reclaimCpuPermyriad': Math.round(9000 * scale),
    'kubelet.pushMs': 1000,
    ...Object.fromEntries(
      SCALED.map((key) => {
        const least = key === 'watermarkPermyriad' ? LEAST_WATERMARK_PERMYRIAD : 1
        return [`suppressCpu.${key}`, Math.max(least, Math.round(defaults.suppressCpu[key] * scale))]
      }),
    ),
    ...bedSettings,
  }
  const overrides: Override[] = Object.entries(settings).map(([key, value]) => ({ path: key.split('.'), value, origin: 'demo' }))
  const { config } = loadConfig({ overrides })
  const node = used * 1000
  return {
    config,
    load: { calmMilli: node * 0.08, spikeMilli: node * 0.7, beShare: 0.3, otMilli: 1000, worthwhileMilli: node * 0.35 },
  }
}
