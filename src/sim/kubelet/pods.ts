/**
 * The pods of the node: which are active, which have failed for good, which containers the runtime says are running. Pods outlive
 * the kubelet process, as they do in the API server; what the process knows of the runtime is a picture taken at its start.
 * Source: kubernetes pkg/kubelet (kubelet_pods.go: filterOutInactivePods; cm/devicemanager/manager.go: isContainerAlreadyRunning), 1.36.
 */
import { kindOf, type AdmissionResult, type StandInPod } from './pod.ts'

export type PodPhase = 'Pending' | 'Running' | 'Succeeded' | 'Failed'

export interface PodRecord {
  readonly pod: StandInPod
  phase: PodPhase
  /** Whether the running kubelet process has been told of the pod. */
  known: boolean
  /** The last word of the kubelet on this pod. */
  verdict: AdmissionResult | undefined
  /** Resolves with the verdict of the process that is running, or of the next one. */
  decided: Promise<AdmissionResult>
  decide: (verdict: AdmissionResult) => void
}

export class Pods {
  readonly #records = new Map<string, PodRecord>()
  /** Pods that a checkpoint knows and nobody has named yet: they exist until they are removed. */
  readonly #unnamed = new Set<string>()
  readonly #running = new Set<string>()
  #runningAtStart: ReadonlySet<string> = new Set()

  get records(): readonly PodRecord[] {
    return [...this.#records.values()]
  }

  get(uid: string): PodRecord | undefined {
    return this.#records.get(uid)
  }

  add(pod: StandInPod): PodRecord {
    const record: PodRecord = { pod, phase: 'Pending', known: false, verdict: undefined, ...deferred() }
    this.#records.set(pod.uid, record)
    this.#unnamed.delete(pod.uid)
    return record
  }

  remove(uid: string): void {
    this.finish(uid, 'Succeeded')
    this.#records.delete(uid)
    this.#unnamed.delete(uid)
  }

  /** The pod has ended: it stays, and is no longer active. */
  finish(uid: string, phase: 'Succeeded' | 'Failed'): void {
    const record = this.#records.get(uid)
    if (record === undefined) return
    record.phase = phase
    for (const { name } of record.pod.containers) this.#running.delete(key(uid, name))
  }

  isActive(uid: string): boolean {
    const record = this.#records.get(uid)
    return record === undefined ? this.#unnamed.has(uid) : isActive(record)
  }

  active(): readonly PodRecord[] {
    return this.records.filter(isActive)
  }

  /** The pod is admitted, and the runtime runs what stays: init containers have come and gone. */
  run({ pod }: PodRecord): void {
    for (const container of pod.containers) if (kindOf(container) !== 'init') this.setRunning(pod.uid, container.name, true)
  }

  setRunning(uid: string, container: string, running: boolean): void {
    if (running) this.#running.add(key(uid, container))
    else this.#running.delete(key(uid, container))
  }

  /** The node has lost power: no container runs. */
  rebooted(): void {
    this.#running.clear()
  }

  /** A new kubelet process looks at its checkpoint and at the runtime; every active pod is to be admitted again. */
  processStarted(uidsInCheckpoint: Iterable<string>, runtimeAnswers: boolean): void {
    for (const uid of uidsInCheckpoint) if (!this.#records.has(uid)) this.#unnamed.add(uid)
    this.#runningAtStart = new Set(runtimeAnswers ? this.#running : [])
    for (const record of this.records) record.known = false
    for (const record of this.active()) {
      if (record.verdict === undefined) continue
      Object.assign(record, { phase: 'Pending', verdict: undefined, ...deferred() })
    }
  }

  ranAtStart(uid: string, container: string): boolean {
    return this.#runningAtStart.has(key(uid, container))
  }
}

function isActive({ phase }: PodRecord): boolean {
  return phase === 'Pending' || phase === 'Running'
}

function key(uid: string, container: string): string {
  return `${uid}/${container}`
}

function deferred(): Pick<PodRecord, 'decided' | 'decide'> {
  let decide: PodRecord['decide'] = () => {}
  const decided = new Promise<AdmissionResult>((resolve) => {
    decide = resolve
  })
  return { decided, decide }
}
