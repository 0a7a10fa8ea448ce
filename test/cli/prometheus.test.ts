/**
 * A real Prometheus scrapes a real agent: every metric arrives with values, every panel of the dashboards gets an answer, and the alerts
 * are evaluated without an error and without any firing at a node that is well.
 */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { stringify } from 'yaml'
import { afterEach, beforeEach, describe, expect, it, type TestContext } from 'vitest'
import { DaemonBed } from '../support/daemon-bed.ts'
import { filledIn, needsPromtool, PANEL_QUERIES, promtool, RULES_FILE } from '../unit/monitoring/support.ts'
import { IS_ROOT } from './program.ts'

const HAS_PROMETHEUS = spawnSync('prometheus', ['--version']).status === 0

let directory: string
let bed: DaemonBed | undefined
let prometheusProcess: ChildProcess | undefined

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'kube-agent-prometheus-'))
})

afterEach(async () => {
  if (prometheusProcess !== undefined && prometheusProcess.exitCode === null && prometheusProcess.signalCode === null) {
    const ended = once(prometheusProcess, 'exit')
    prometheusProcess.kill('SIGKILL')
    await ended
  }
  prometheusProcess = undefined
  await bed?.close()
  bed = undefined
  rmSync(directory, { recursive: true, force: true })
})

/** A port of loopback that nobody listens on just now. */
async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  server.close()
  await once(server, 'close')
  return typeof address === 'object' && address !== null ? address.port : 0
}

async function waitFor<T>(what: string, look: () => Promise<T | undefined>): Promise<T> {
  for (let tries = 0; tries < 150; tries += 1) {
    const found = await look().catch(() => undefined)
    if (found !== undefined) return found
    await sleep(200)
  }
  throw new Error(`still waiting for ${what}`)
}

async function startAgent(): Promise<string> {
  const port = await freePort()
  const settings = {
    metrics: { perPod: true },
    // So that the offline pod gets a set of CPUs of its own; sharing all of them it would be left alone.
    placement: { lsSharePermyriad: 5000 },
    own: { weight: false, nice: 0 },
    log: { level: 'warn' },
    suppressCpu: { enabled: true },
  }
  bed = await DaemonBed.open({ port, settings })
  const agent = bed.start()
  await waitFor('the agent', async () => ((await bed?.get('/readyz'))?.status === 200 && !agent.hasEnded ? true : undefined))
  return `127.0.0.1:${port}`
}

interface Answer {
  readonly status: string
  readonly data: {
    readonly result: readonly { readonly metric: Readonly<Record<string, string>>; readonly value: readonly [number, string] }[]
  }
}

class Prometheus {
  readonly #url: string

  private constructor(url: string) {
    this.#url = url
  }

  static async scraping(target: string): Promise<Prometheus> {
    const listen = `127.0.0.1:${await freePort()}`
    const config = {
      global: { scrape_interval: '300ms', evaluation_interval: '500ms' },
      rule_files: [RULES_FILE],
      scrape_configs: [{ job_name: 'kube-agent', honor_labels: true, static_configs: [{ targets: [target] }] }],
    }
    writeFileSync(join(directory, 'prometheus.yaml'), stringify(config))
    const child = spawn(
      'prometheus',
      [
        `--config.file=${join(directory, 'prometheus.yaml')}`,
        `--storage.tsdb.path=${join(directory, 'tsdb')}`,
        `--web.listen-address=${listen}`,
        '--log.level=error',
      ],
      { cwd: directory, stdio: 'ignore' },
    )
    prometheusProcess = child
    const prometheus = new Prometheus(`http://${listen}`)
    await waitFor('Prometheus', async () => ((await fetch(`http://${listen}/-/ready`)).ok ? true : undefined))
    return prometheus
  }

  async get<T>(path: string): Promise<T> {
    return (await (await fetch(`${this.#url}${path}`)).json()) as T
  }

  async query(expr: string): Promise<Answer> {
    return this.get(`/api/v1/query?query=${encodeURIComponent(expr)}`)
  }

  /** Values by one label of the series. */
  async values(expr: string, label: string): Promise<Readonly<Record<string, number>>> {
    const { data } = await this.query(expr)
    return Object.fromEntries(data.result.map(({ metric, value }) => [metric[label] ?? '', Number(value[1])]))
  }
}

function needsBoth(context: TestContext): void {
  if (!HAS_PROMETHEUS) context.skip('needs prometheus (Debian: prometheus)')
  if (!IS_ROOT) context.skip('needs root: real cgroups can only be made by root')
}

interface Rules {
  readonly data: {
    readonly groups: readonly {
      readonly rules: readonly { readonly name: string; readonly health: string; readonly lastError?: string }[]
    }[]
  }
}

describe('Prometheus beside a running agent', () => {
  it(
    'finds its scrape clean, its series in the database, its panels answered and no alert firing',
    { timeout: 120_000 },
    async (context) => {
      needsBoth(context)
      needsPromtool(context)
      const target = await startAgent()
      const scrape = await (await fetch(`http://${target}/metrics`)).text()
      expect(promtool(['check', 'metrics'], scrape, 'input')).toEqual({ code: 0, output: '' })

      const prometheus = await Prometheus.scraping(target)
      await waitFor('six scrapes', async () => {
        const { up = 0 } = await prometheus
          .values('count_over_time(up{job="kube-agent"}[1m])', 'nothing')
          .then((found) => ({ up: found[''] }))
        return up >= 6 ? true : undefined
      })

      expect(await prometheus.values('kube_agent_kubelet_registered', 'resource')).toEqual({
        'be-cpu': 1,
        'be-memory': 1,
        'ot-cpu': 1,
        'ot-memory': 1,
      })
      expect(await prometheus.values('kube_agent_mode == 1', 'mode')).toEqual({ enforce: 1 })
      expect(await prometheus.values('kube_agent_pods{class="BE"}', 'class')).toEqual({ BE: 1 })
      expect(await prometheus.values('kube_agent_pod_cpuset_cpus > 0', 'pod')).toHaveProperty('batch')
      expect(
        (await prometheus.values('kube_agent_writes_total{outcome="applied", knob="quota"}', 'knob'))['quota'],
      ).toBeGreaterThan(0)
      expect((await prometheus.values('rate(kube_agent_guard_beats_total[1m])', 'job'))['kube-agent']).toBeGreaterThan(0)
      expect((await prometheus.values('kube_agent_suppress_watermark_cores', 'job'))['kube-agent']).toBeGreaterThan(0)
      expect((await prometheus.values('scrape_samples_scraped', 'job'))['kube-agent']).toBeLessThan(800)

      // Without a pod that asks for OT, an API server or a reaction yet some have nothing to show; none may be refused.
      const answers = await Promise.all(
        PANEL_QUERIES.map(async ({ title, expr }) => ({
          title,
          ...(await prometheus.query(filledIn(expr, target).replaceAll('[5m]', '[1m]'))),
        })),
      )
      expect(answers.filter(({ status }) => status !== 'success')).toEqual([])
      const shown = answers.filter(({ data }) => data.result.length > 0).length
      expect(shown).toBeGreaterThan(PANEL_QUERIES.length * 0.7)

      const rules = (await prometheus.get<Rules>('/api/v1/rules')).data.groups.flatMap((group) => group.rules)
      expect(rules.length).toBeGreaterThan(20)
      expect(rules.filter(({ health, lastError }) => health !== 'ok' || lastError !== undefined)).toEqual([])
      expect(await prometheus.values('ALERTS{alertstate="firing"}', 'alertname')).toEqual({})
    },
  )
})
