/** How each source is doing: whether it answered, and on calm ticks how long that took. */
import { type PodList, RunClock, type SourceName } from '../model/index.ts'

/** What is said of a source that gives no answer; the kernel port does not tell why. The others say it themselves. */
const SILENCE = {
  node_cpu: 'the CPU time of the node could not be read',
  offline_cpu: 'cgroup of the best-effort root: its CPU time could not be read',
  online_cpu: "cgroups of the pods' root and the best-effort root: their CPU time could not be read",
  memory: '/proc/meminfo: no MemTotal or no MemAvailable could be read',
  cpu_pressure: '/proc/pressure/cpu could not be read',
  memory_pressure: '/proc/pressure/memory could not be read',
  io_pressure: '/proc/pressure/io could not be read',
  run_queue: '/proc/loadavg could not be read',
  online_pressure: 'cgroups of online pods: none of their pressure files could be read',
} as const satisfies Partial<Record<SourceName, string>>

/** Every node that an agent starts on has these. Others may be lacking, as PSI on many kernels: they are missed only once they have answered. */
const NEEDED: ReadonlySet<SourceName> = new Set(['node_cpu', 'offline_cpu', 'memory'])

export class SourceRuns extends RunClock<SourceName> {
  /** Takes whether a source gave an answer that was asked for at `nowMs`. */
  asked(name: keyof typeof SILENCE, hasAnswered: boolean, nowMs: number): void {
    const run = this.of(name)
    if (hasAnswered) run.ok(nowMs)
    else if (run.lastOkMs !== undefined || NEEDED.has(name)) run.failed(SILENCE[name], nowMs)
  }

  /** Takes the list of pods: it went well when the source last confirmed it. Odd pods in it are no failure of the source. */
  listed({ lost, everRead, atMs }: PodList, nowMs: number): void {
    if (lost !== undefined) this.of('pods').failed(lost, nowMs)
    else if (everRead) this.of('pods').ok(atMs)
  }

  /** Takes which of the block devices that were asked for are there. */
  lookedUp(
    { deviceNames, devices }: { readonly deviceNames: readonly string[]; readonly devices: ReadonlyMap<string, string> },
    nowMs: number,
  ): void {
    const run = this.of('devices')
    const missing = deviceNames.filter((name) => !devices.has(name))
    if (missing.length > 0) run.failed(`no block device ${missing.join(', ')}`, nowMs)
    else if (deviceNames.length > 0) run.ok(nowMs)
    else run.off()
  }
}
