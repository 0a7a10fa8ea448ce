/**
 * How the stand-in is set up. Kubelets differ by release in what they wipe, what they send and what they show; `minor` picks one
 * release's ways, and each of them can be set by itself. Source: the releases named below, kubernetes 1.25 to 1.37 (pkg/kubelet/cm/
 * devicemanager, pkg/kubelet/apis/podresources, pkg/features/kube_features.go).
 */
import type { Wipe } from './socket-directory.ts'

/** The :authority of calls to the plugin: the socket's path as it is, the path percent-encoded, or `localhost`. */
export type Authority = 'raw-path' | 'percent-encoded' | 'localhost'

export interface KubeletStandInOptions {
  /** Made if it is not there. Its path leaves room for socket names within 107 bytes. */
  readonly directory: string
  /** In [0, 1). */
  readonly random: () => number
  /** The kubelet's minor release, from which the following take their defaults. @default 36 */
  readonly minor?: number
  /** What a start removes: `files` is what kubelets up to 1.32 do. */
  readonly wipe?: Wipe
  /** Kubelets up to 1.36 drop the registered plugin when the stream of its predecessor ends. */
  readonly oldStreamEndsNew?: boolean
  /** Kubelets up to 1.25 send the raw path, which Node's HTTP/2 server does not take. */
  readonly authority?: Authority
  /** Whether the pod-resources API shows terminated pods as well, as kubelets up to 1.33 do. */
  readonly podResourcesShowsTerminated?: boolean
  /** Whether the pod-resources API answers Get, as kubelets from 1.34 do unless told otherwise. */
  readonly podResourcesGet?: boolean
  /** Whether the status of a pod names each device it holds, as with kubelets from 1.36. */
  readonly statusNamesDevices?: boolean
  /** Where the pod-resources API listens, on kubelet.sock; made if it is not there. @default no pod-resources API */
  readonly podResourcesDirectory?: string
  /** Milliseconds, for the rate limit of the pod-resources API. @default real time */
  readonly now?: () => number
  /** @default 10000 */
  readonly statusPeriodMs?: number
  /** How long Register dials the plugin back. @default 10000 */
  readonly dialTimeoutMs?: number
  /** How long a plugin may take to prepare a container. @default 30000 */
  readonly preStartTimeoutMs?: number
}

export type Settings = Required<Omit<KubeletStandInOptions, 'podResourcesDirectory'>>

export function settle(options: KubeletStandInOptions): Settings {
  const { minor = 36 } = options
  return {
    minor,
    wipe: minor <= 32 ? 'files' : 'sockets',
    oldStreamEndsNew: minor <= 36,
    authority: minor <= 25 ? 'raw-path' : 'localhost',
    podResourcesShowsTerminated: minor <= 33,
    podResourcesGet: minor >= 34,
    statusNamesDevices: minor >= 36,
    now: () => performance.now(),
    statusPeriodMs: 10_000,
    dialTimeoutMs: 10_000,
    preStartTimeoutMs: 30_000,
    ...options,
  }
}
