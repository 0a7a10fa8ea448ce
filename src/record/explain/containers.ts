/**
 * The containers of a pod by name, each with its group. Spec and cgroup tree know a container by its id only, which the spec has in its
 * status and the tree in the group's name; where the pod source tells no ids, as a directory of manifests, no group can be named.
 */
import type { ContainerKind, ContainerSpec, GroupPath, PodReading } from '../../model/index.ts'
import { containerIdOf, groupName } from '../../model/index.ts'

export interface ContainerExplanation {
  readonly name: string
  readonly kind: ContainerKind
  /** The runtime's id without its scheme; undefined while it has none, or nobody tells it. */
  readonly id?: string
  /** Undefined while no group of the pod has its id. */
  readonly group?: GroupPath
}

/** The containers of the pod, and its groups that are of none of them. */
export function explainContainers({ spec, childGroups }: PodReading): {
  readonly containers: readonly ContainerExplanation[]
  readonly otherGroups: readonly GroupPath[]
} {
  const groupOf = new Map(childGroups.map((group) => [containerIdOf(groupName(group)) ?? groupName(group), group]))
  const containers = spec.containers.map((container) => {
    const id = plainId(container)
    const group = id === undefined ? undefined : groupOf.get(id)
    return {
      name: container.name,
      kind: container.kind,
      ...(id === undefined ? {} : { id }),
      ...(group === undefined ? {} : { group }),
    }
  })
  const owned = new Set(containers.map(({ group }) => group))
  return { containers, otherGroups: childGroups.filter((group) => !owned.has(group)) }
}

/** `containerd://4f…` without its scheme. */
function plainId({ id }: ContainerSpec): string | undefined {
  const plain = id?.slice(id.lastIndexOf('/') + 1)
  return plain === '' ? undefined : plain
}
