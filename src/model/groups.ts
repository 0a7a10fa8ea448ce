/**
 * Names of cgroups as the kubelet makes them, for both cgroup drivers. A GroupPath is the path inside a hierarchy, the same
 * for every v1 controller and for v2: `/kubepods/besteffort/pod1234`. It is built from parts that were checked here, so that no
 * field of a pod can lead outside the cgroup root.
 * Source: kubernetes pkg/kubelet/cm (container_manager_linux.go; cgroup_manager_linux.go: CgroupName.ToSystemd), 1.36, and
 * opencontainers/cgroups systemd (ExpandSlice), which makes one directory of each level in a slice's name.
 */
import { AgentError } from './errors.ts'
import type { KubeletQos } from './qos.ts'

export type GroupPath = string

export type CgroupDriver = 'cgroupfs' | 'systemd'

export interface GroupLayout {
  /** The kubelet's --cgroup-root, `/` on most nodes. With the systemd driver it may also be the path of the slice it has become. */
  readonly root: GroupPath
  readonly driver: CgroupDriver
}

const QOS_FOLDERS: Record<KubeletQos, string> = { Guaranteed: '', Burstable: 'burstable', BestEffort: 'besteffort' }

/** Whether a text names one directory entry: it holds no slash and is no dot entry. Kernel: NAME_MAX is 255 bytes. */
export function isGroupName(name: string): boolean {
  return name !== '' && name.length <= 255 && name !== '.' && name !== '..' && !name.includes('/') && !name.includes('\0')
}

/** Whether a text is the path of a group below the root of a hierarchy, or of that root, and leads nowhere else. */
export function isGroupPath(text: string): boolean {
  return text === '/' || (text.startsWith('/') && text.slice(1).split('/').every(isGroupName))
}

/** Joins a parent group and one name; throws E_GROUP_NAME for what isGroupName() refuses. */
export function childGroup(parent: GroupPath, name: string): GroupPath {
  if (!isGroupName(name)) {
    throw new AgentError('E_GROUP_NAME', `not the name of a cgroup: ${JSON.stringify(name.slice(0, 80))}`)
  }
  return parent === '/' ? `/${name}` : `${parent}/${name}`
}

/** The parent of a group; the parent of `/` is `/`. */
export function parentGroup(group: GroupPath): GroupPath {
  const cut = group.lastIndexOf('/')
  return cut <= 0 ? '/' : group.slice(0, cut)
}

/** How many steps a group lies below the root of its hierarchy: `/` is 0. */
export function groupDepth(group: GroupPath): number {
  if (group === '/') return 0
  let depth = 0
  for (let at = group.indexOf('/'); at >= 0; at = group.indexOf('/', at + 1)) depth += 1
  return depth
}

const SLICE = '.slice'

/**
 * One level down a tree of slices. A slice's name carries the whole path with a `-` between the levels, so a `-` within a level is
 * written `_`: `b-c` below `/a.slice` is `/a.slice/a-b_c.slice`.
 */
function childSlice(parent: GroupPath, name: string): GroupPath {
  const stem = parent.slice(parent.lastIndexOf('/') + 1, -SLICE.length)
  return childGroup(parent, `${stem === '' ? '' : `${stem}-`}${name.replaceAll('-', '_')}${SLICE}`)
}

/** The slice that the kubelet's cgroup root becomes: `/a.slice/a-b.slice` for `/a/b`; one that is a slice already stays as it is. */
function rootSlice(root: GroupPath): GroupPath {
  if (root.endsWith(SLICE)) return root
  let slice: GroupPath = '/'
  for (const name of root.split('/')) if (name !== '') slice = childSlice(slice, name)
  return slice
}

/** The root of all pods: `/kubepods`, or `/kubepods.slice` with the systemd driver. */
export function podsRoot(layout: GroupLayout): GroupPath {
  return layout.driver === 'systemd' ? childSlice(rootSlice(layout.root), 'kubepods') : childGroup(layout.root, 'kubepods')
}

/** The group that holds all pods of one kubelet QoS class. Guaranteed pods sit directly below the pods' root. */
export function qosRoot(layout: GroupLayout, qos: KubeletQos): GroupPath {
  const folder = QOS_FOLDERS[qos]
  if (folder === '') return podsRoot(layout)
  return layout.driver === 'systemd' ? childSlice(podsRoot(layout), folder) : childGroup(podsRoot(layout), folder)
}

const POD_UID = /^[0-9A-Za-z][0-9A-Za-z-]{0,62}$/

/**
 * Whether a text may serve as a pod's UID: a UUID, or the 32 hex digits of a static pod's config hash. Never with a `_`: that is what a
 * `-` becomes in a slice's name, and two UIDs must not name one group.
 */
export function isPodUid(text: string): boolean {
  return POD_UID.test(text)
}

/**
 * The group of a pod. Throws E_GROUP_NAME if the UID could name anything but one directory entry.
 * For a static pod `uid` must be the annotation kubernetes.io/config.hash, not the mirror pod's UID.
 */
export function podGroup(layout: GroupLayout, qos: KubeletQos, uid: string): GroupPath {
  if (!isPodUid(uid)) throw new AgentError('E_GROUP_NAME', `not a pod UID: ${JSON.stringify(uid.slice(0, 80))}`)
  const root = qosRoot(layout, qos)
  return layout.driver === 'systemd' ? childSlice(root, `pod${uid}`) : childGroup(root, `pod${uid}`)
}

/** Whether a directory entry below a QoS root is a pod's group, whichever driver made it and below whichever cgroup root. */
export function isPodGroupName(name: string): boolean {
  return /^((.+-)?kubepods(-burstable|-besteffort)?-)?pod[0-9A-Za-z]/.test(name)
}

/**
 * A container's group (or the sandbox's), as every runtime names it below a pod's group: with the cgroupfs driver
 * `<id>` (containerd, docker) or `crio-<id>`, with systemd `cri-containerd-<id>.scope`, `docker-<id>.scope` or `crio-<id>.scope`.
 * Not cri-o's monitor of a container (`crio-conmon-<id>.scope`).
 */
const CONTAINER_GROUP = /^(?:(?:crio-)?([0-9a-f]{12,64})|(?:cri-containerd|docker|crio)-([0-9a-f]{12,64})\.scope)$/

/** The runtime's id of the container whose group has this name; undefined for the name of any other group. */
export function containerIdOf(groupName: string): string | undefined {
  const [, plain, scoped] = CONTAINER_GROUP.exec(groupName) ?? []
  return plain ?? scoped
}

/** The last name in a group's path. */
export function groupName(group: GroupPath): string {
  return group.slice(group.lastIndexOf('/') + 1)
}
