/** A node for the benchmarks: pods as real cgroups below a root of their own, with manifests, laid out as the kubelet lays them out. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { stringify } from 'yaml'
import { manifestOf, podSpec } from '../../src/cli/demo/pods.ts'
import { GroupSandbox, KubeletGroups } from '../../src/kernel/index.ts'
import type { GroupPath, PodSpec } from '../../src/model/index.ts'

export class BenchNode {
  readonly sandbox: GroupSandbox
  readonly directory: string
  readonly podGroups: GroupPath[] = []
  readonly #groups: KubeletGroups

  constructor() {
    this.sandbox = new GroupSandbox('/sys/fs/cgroup', `kube-agent-bench-${process.pid}`)
    this.#groups = new KubeletGroups(this.sandbox)
    this.directory = mkdtempSync(join(tmpdir(), 'kube-agent-bench-'))
    mkdirSync(join(this.directory, 'pods'))
  }

  /** Makes pods with one container each, three fifths of them online. */
  addPods(count: number): void {
    for (let index = 0; index < count; index += 1) {
      const spec = benchPod(index)
      this.podGroups.push(this.#groups.startPod(spec).group)
      writeFileSync(join(this.directory, 'pods', `${spec.name}.yaml`), manifestOf(spec))
    }
  }

  /** Writes a configuration for `run` on this node and returns its path. Kubelet sockets are expected in `dp` and `pr`. */
  writeConfig(settings: Readonly<Record<string, unknown>>): string {
    const file = join(this.directory, 'config.yaml')
    const at = (name: string): string => join(this.directory, name)
    const own = {
      mode: 'enforce',
      node: { cgroupRoot: this.sandbox.root },
      paths: { state: at('state'), devicePlugins: at('dp'), podResources: at('pr') },
      pods: { directory: at('pods') },
      log: { level: 'warn' },
    }
    writeFileSync(file, stringify({ ...own, ...settings }))
    return file
  }

  async close(): Promise<void> {
    await this.sandbox.remove()
    rmSync(this.directory, { recursive: true, force: true })
  }
}

function benchPod(index: number): PodSpec {
  const uid = `00000000-0000-4000-8000-${String(index).padStart(12, '0')}`
  const name = `pod-${index}`
  if (index % 5 < 3) return podSpec({ uid, name, namespace: 'online', kubeletQos: 'Burstable', requestMilli: 100 })
  const kind = index % 5 === 3 ? 'be' : 'ot'
  const extended = { [`kube-agent.io/${kind}-cpu`]: 1, [`kube-agent.io/${kind}-memory`]: 1 }
  return podSpec({ uid, name, namespace: 'offline', kubeletQos: 'BestEffort', extended })
}
