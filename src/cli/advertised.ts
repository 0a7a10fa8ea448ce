/** The four extended resources by their full names, as the configuration has them. */
import type { Config } from '../config/index.ts'
import type { AdvertisedResource } from '../kubelet/index.ts'
import { OFFLINE_RESOURCES } from '../model/index.ts'

export function advertisedResources(config: Config): AdvertisedResource[] {
  return OFFLINE_RESOURCES.map((resource) => ({
    resource,
    fullName: config.resources.fullNames[resource],
    qosClass: resource.startsWith('be-') ? 'BE' : 'OT',
  }))
}
