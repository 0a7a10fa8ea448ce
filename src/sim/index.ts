/** A simulated node with a virtual clock, and a stand-in for the kubelet. */
export { KubeletStandIn } from './kubelet/index.ts'
export { ModelKernel } from './model-kernel.ts'
export { SimNode } from './sim-node.ts'
