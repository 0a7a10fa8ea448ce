/** The cluster: the client of its API server, the pods of this node by way of the API server or of the kubelet. */
export { Cluster, openKubeletPods } from './open.ts'
export { inClusterServer, type KubeLogger } from './credentials.ts'
export { ClusterReporter } from './reporter.ts'
export { ApiEvictor } from './evictor.ts'
export { NoEvictor } from './no-evictor.ts'
