/** Run by kubelet.test.ts as a process of its own: registers, stops, and must then end by itself. */
import { readdirSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { DevicePlugins } from '../../src/kubelet/index.ts'
import { OFFLINE_RESOURCES } from '../../src/model/index.ts'
import { KubeletStandIn } from '../../src/sim/kubelet/index.ts'

const directory = process.argv[2] ?? ''
const kubelet = new KubeletStandIn({ directory, random: Math.random })
await kubelet.start()
const plugins = new DevicePlugins({
  directory,
  resources: OFFLINE_RESOURCES.map((resource) => ({ resource, fullName: `kube-agent.io/${resource}`, qosClass: 'BE' })),
  maxUnits: 64,
  now: () => performance.now(),
  random: Math.random,
})
await plugins.start()
plugins.publish({ 'be-cpu': 3, 'be-memory': 3, 'ot-cpu': 3, 'ot-memory': 3 })
while (!plugins.states().every((state) => state.streams === 1)) await sleep(5)
plugins.publish({ 'be-cpu': 9, 'be-memory': 9, 'ot-cpu': 9, 'ot-memory': 9 })
const registered = plugins.states().filter((state) => state.registered).length
await plugins.stop()
const left = readdirSync(directory).filter((name) => name.endsWith('.sock'))
process.stdout.write(`${registered} registered, sockets left: ${left.join()}\n`)
await kubelet.stop()
