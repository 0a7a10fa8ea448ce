/**
 * What this process can see of the node for itself, whether an agent answers or not: doctor's findings, the facts behind them, the
 * configuration; and, where no agent answers, a look at the node as `plan` and `explain` take one. Nothing is written.
 */
import type { Config, LoadedConfig } from '../../config/index.ts'
import { adviceOn, renderConfig, renderConfigJson } from '../../config/index.ts'
import { realNow } from '../../compose.ts'
import { AgentError, messageOf, podKey, redactCommand } from '../../model/index.ts'
import { renderExplanation, renderStatus } from '../../record/index.ts'
import { paint } from '../colour.ts'
import type { NodeFacts } from '../doctor/facts.ts'
import { gatherFacts, type GatherOptions } from '../doctor/gather.ts'
import { countStates, judge } from '../doctor/judge.ts'
import { renderFindings } from '../doctor/text.ts'
import { lookOnce } from '../once.ts'
import { planData, planText } from '../plan.ts'
import { VERSION } from '../version.ts'
import { jsonText, type Part } from './part.ts'

/** The configuration that a command line asks for, or what is wrong with it and the defaults in its place. */
export interface Settings {
  readonly config: Config
  /** Undefined where it has a mistake. */
  readonly loaded: LoadedConfig | undefined
  readonly problem: AgentError | undefined
}

/** The configuration, or each mistake in it. */
export function* configParts({ loaded, problem }: Settings): Generator<Part> {
  const source = 'kube-agent config show'
  if (loaded === undefined) {
    const reason = 'the configuration has a mistake: see config/mistakes.txt'
    yield { is: 'missing', path: 'config/show.txt', source, reason }
    const text = `${problem?.message ?? ''}\n${problem?.hint ?? ''}\n`
    yield { is: 'text', path: 'config/mistakes.txt', source: 'kube-agent config check', text }
    return
  }
  yield { is: 'text', path: 'config/show.txt', source, text: renderConfig(loaded) }
  yield { is: 'text', path: 'config/show.json', source: 'kube-agent config show --json', text: renderConfigJson(loaded) }
  const advice = adviceOn(loaded.config)
  if (advice.length > 0)
    yield { is: 'text', path: 'config/advice.txt', source: 'kube-agent config check', text: `${advice.join('\n')}\n` }
}

/** Findings and facts of this node, and versions. Takes some seconds where something does not answer. */
export async function* doctorParts(config: Config, options: GatherOptions): AsyncGenerator<Part> {
  let facts: NodeFacts
  try {
    facts = await gatherFacts(config, options)
  } catch (thrown) {
    yield { is: 'missing', path: 'node/doctor.txt', source: 'kube-agent doctor', reason: messageOf(thrown) }
    return
  }
  const { kernel, kubelet, state, pods, api, http } = facts
  const findings = judge(facts, config)
  yield { is: 'text', path: 'node/doctor.txt', source: 'kube-agent doctor', text: renderFindings(findings, paint(false)) }
  const values: readonly (readonly [file: string, source: string, value: unknown])[] = [
    ['doctor.json', 'kube-agent doctor --json', { summary: countStates(findings), findings }],
    ['kernel.json', 'kernel, CPUs, cgroups and knobs, as doctor found them', kernelData(kernel)],
    ['kubelet.json', 'sockets, settings and managers of the kubelet, as doctor found them', kubelet],
    ['restore-journal.json', 'the state directory and what its journal has to put back', state],
    ['cluster.json', 'pod source, API server and HTTP address, as doctor found them', { pods, api, http }],
    ['versions.json', 'this program and what it runs on', versions(kernel.release)],
  ]
  for (const [file, source, value] of values) yield { is: 'text', path: `node/${file}`, source, text: jsonText(value) }
}

function kernelData({ kubeletCommand, topology, ...rest }: NodeFacts['kernel']): unknown {
  const command = kubeletCommand === undefined ? undefined : redactCommand(kubeletCommand)
  if ('problem' in topology) return { ...rest, topology, kubeletCommand: command }
  const { online, smt, sockets, nodes, caches, cores } = topology
  return { ...rest, topology: { online, smt, sockets, nodes, caches, cores }, kubeletCommand: command }
}

function versions(kernel: string) {
  const { version: node, platform, arch } = process
  return { kubeAgent: VERSION, node, platform, arch, kernel }
}

const LOOK = 'a look of this process, which knows nothing of the past'

/** Status, plan and explanations of a node on which no agent answers. Takes some seconds. */
export async function* lookParts(config: Config): AsyncGenerator<Part> {
  try {
    const { recorder, record } = await lookOnce(config)
    const { nowMs } = realNow()
    const status = recorder.status(nowMs, { pods: true })
    yield { is: 'text', path: 'look/status.txt', source: LOOK, text: renderStatus(status) }
    yield { is: 'text', path: 'look/status.json', source: LOOK, text: jsonText(status) }
    yield { is: 'text', path: 'look/plan.txt', source: 'kube-agent plan', text: `${planText(record)}\n` }
    yield { is: 'text', path: 'look/plan.json', source: 'kube-agent plan --json', text: jsonText(planData(record)) }
    const explained = record.snapshot.pods.pods.map(({ spec }) => {
      const subject = `pod ${podKey(spec)}`
      return `==== ${subject}\n${renderExplanation(recorder.explain(subject, nowMs))}\n`
    })
    yield { is: 'text', path: 'look/explain-pods.txt', source: 'kube-agent explain, for each pod', text: explained.join('') }
  } catch (thrown) {
    if (!(thrown instanceof AgentError)) throw thrown
    yield { is: 'missing', path: 'look/status.txt', source: LOOK, reason: thrown.message }
  }
}
