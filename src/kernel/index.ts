/** The only room that touches procfs, sysfs and cgroupfs. */
export { openKernel, requireWritable, type OpenedKernel } from './open.ts'
export { GroupSandbox, removeStaleSandboxes } from './sandbox.ts'
export { KubeletGroups } from './kubelet-groups.ts'
export { readHostFacts } from './host-facts.ts'
export { raiseOwnPriority } from './own-priority.ts'
export { openDatagrams, type SendDatagram } from './datagram.ts'
export { type CgroupSurvey, type KernelSurvey, surveyKernel } from './survey.ts'
export { abstractOwner } from './socket-owner.ts'
