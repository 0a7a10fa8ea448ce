/** The API server and the kubelet's HTTPS server, as doubles within the test process. */
export { ApiServerDouble } from './double.ts'
export { KubeletHttpsDouble } from './kubelet-double.ts'
export type { ApiObject } from './objects.ts'
export type { RbacRule } from './rbac.ts'
