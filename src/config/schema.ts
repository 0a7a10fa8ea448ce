/**
 * The one schema of the configuration: every block, key, range, default and description. All else in this room (loading, layers,
 * suggestions, `config show`) is derived from it, so a new setting is one line here. Each default is safe on a production node:
 * the agent observes until it is told otherwise. What may not be combined stands in combinations.ts.
 */
import * as v from 'valibot'
import { OBSERVABLE_RULES, parseCpuQuantity, parseMemoryQuantity } from '../model/index.ts'
import { block } from './block.ts'
import * as leaf from './leaves.ts'
import { SUPPRESSION } from './suppression.ts'

const HOUR_MS = 3_600_000
const MINUTE_MS = 60_000

const node = block({
  name: leaf.text('', leaf.NODE_NAME, 'Name of this node in Kubernetes; empty for the host name'),
  cgroupRoot: leaf.text('/', leaf.ABSOLUTE_PATH, 'Cgroup below which the kubelet keeps its pods: its --cgroup-root'),
  cgroupDriver: leaf.choice(['auto', 'cgroupfs', 'systemd'], 'auto', 'How the kubelet names cgroups: its --cgroup-driver'),
})

const paths = block({
  proc: leaf.text('/proc', leaf.ABSOLUTE_PATH, 'Where the procfs of the host is mounted'),
  sys: leaf.text('/sys', leaf.ABSOLUTE_PATH, 'Where the sysfs of the host is mounted'),
  cgroup: leaf.text('/sys/fs/cgroup', leaf.ABSOLUTE_PATH, 'Where the cgroup tree of the host is mounted'),
  devicePlugins: leaf.text('/var/lib/kubelet/device-plugins', leaf.ABSOLUTE_PATH, 'Directory of kubelet.sock for device plugins'),
  podResources: leaf.text('/var/lib/kubelet/pod-resources', leaf.ABSOLUTE_PATH, 'Directory of kubelet.sock for pod resources'),
  state: leaf.text(
    '/run/kube-agent',
    leaf.ABSOLUTE_PATH,
    'Directory for the restore journal and the lock; best in memory, since ticks wait for what is written there, and none of it outlives a boot',
  ),
})

const loop = block({
  guardMs: leaf.ms(
    25,
    5,
    1000,
    'Pause between guard beats, which only look whether the node leaves its calm; four times that while offline work rests',
  ),
  hotMs: leaf.ms(
    50,
    10,
    1000,
    'Pause between ticks while the node is hot and something calls for less; four times that without such news',
  ),
  calmMs: leaf.ms(1000, 100, 60_000, 'Pause between ticks while the node is calm'),
})

const pods = block({
  source: leaf.choice(
    ['auto', 'api', 'kubelet', 'directory'],
    'auto',
    'Where the pods of this node are read from; auto is the API server within a cluster, else the directory',
  ),
  directory: leaf.text('/var/lib/kube-agent/pods', leaf.ABSOLUTE_PATH, 'Directory of pod manifests, for source: directory'),
  rescanMs: leaf.ms(5000, 100, 10 * MINUTE_MS, 'Longest time between two looks at the directory or at the kubelet'),
  maxPods: leaf.count(1000, 1, 10_000, 'Pods that are managed; those beyond are left alone and reported'),
})

const classes = block({
  label: leaf.text('kube-agent.io/qos-class', leaf.LABEL_KEY, 'Label of a pod that names its class'),
  koordinatorLabel: leaf.flag(
    false,
    'Heed the label koordinator.sh/qosClass of pods without the one above: LSE (as LSX), LSR, LS, BE, SYSTEM',
  ),
  levelLabel: leaf.text('kube-agent.io/level', leaf.LABEL_KEY, 'Label of a pod that names its level, P0 to P4'),
  levels: leaf.classesByName(
    leaf.LEVELS,
    { P0: 'LSX', P1: 'LSR', P2: 'LS', P3: 'LS', P4: 'LS' },
    'Class of the pods of a level that neither label nor resources classify',
  ),
  priorityClasses: leaf.classesByName(
    leaf.PRIORITY_CLASSES,
    {},
    'Class of the pods of a priority class, where nothing above says one',
  ),
  namespaces: leaf.classesByName(leaf.NAMESPACES, {}, 'Class of the pods of a namespace, where nothing above says one'),
  besteffort: leaf.choice(['UNTAGGED', 'BE'], 'UNTAGGED', 'Class of a kubelet-BestEffort pod that nothing else classifies'),
})

const resources = v.optional(
  v.pipe(
    v.strictObject({
      domain: leaf.text('kube-agent.io', leaf.RESOURCE_DOMAIN, 'Domain of the extended resources, as in kube-agent.io/be-cpu'),
      beCpu: leaf.text('be-cpu', leaf.RESOURCE_NAME, 'Name of the CPU resource of BE pods within the domain'),
      beMemory: leaf.text('be-memory', leaf.RESOURCE_NAME, 'Name of the memory resource of BE pods within the domain'),
      otCpu: leaf.text('ot-cpu', leaf.RESOURCE_NAME, 'Name of the CPU resource of OT pods within the domain'),
      otMemory: leaf.text('ot-memory', leaf.RESOURCE_NAME, 'Name of the memory resource of OT pods within the domain'),
      cpuUnit: leaf.quantity('100m', parseCpuQuantity, 'CPU behind one unit of be-cpu and ot-cpu'),
      memoryUnit: leaf.quantity('512Mi', parseMemoryQuantity, 'Memory behind one unit of be-memory and ot-memory'),
    }),
    v.transform(({ domain, beCpu, beMemory, otCpu, otMemory, cpuUnit, memoryUnit }) => ({
      domain,
      /** As pods ask for them. */
      fullNames: {
        'be-cpu': `${domain}/${beCpu}`,
        'be-memory': `${domain}/${beMemory}`,
        'ot-cpu': `${domain}/${otCpu}`,
        'ot-memory': `${domain}/${otMemory}`,
      },
      cpuUnitMilli: cpuUnit,
      memoryUnitBytes: memoryUnit,
    })),
  ),
  {},
)

const placement = block({
  enabled: leaf.flag(true, 'Place classes on CPUs with cpusets'),
  reservedCpus: leaf.cpuList('', 'CPUs that no offline pod ever gets'),
  dedicatedCpus: leaf.cpuList('', 'CPUs for offline pods only'),
  lsSharePermyriad: leaf.share(
    10_000,
    0,
    'Share of the online pool that offline pods may run on; 0 keeps them to CPUs of dedicatedCpus and of LSR pods',
  ),
  lsrSharePermyriad: leaf.share(5000, 0, 'Share of the CPUs of each LSR pod that offline pods may run on too'),
  bePinning: leaf.choice(
    ['shared', 'exclusive'],
    'shared',
    'Whether BE pods share their CPUs or get some of their own among them',
  ),
  strategy: leaf.choice(['pack', 'spread'], 'pack', 'Where LSX and LSR pods go: close together, or far apart'),
  poolMinCpus: leaf.count(1, 1, 1024, 'CPUs that the online pool keeps, however many LSX and LSR pods want'),
})

const identity = block({
  enabled: leaf.flag(true, 'Give each class its scheduling identity'),
  backend: leaf.choice(
    ['auto', 'bvt', 'qosLevel', 'offline', 'idle', 'weight', 'none'],
    'auto',
    'What tells classes apart; auto is the best that the kernel has, and one that it lacks gives way to weight',
  ),
  rootIdle: leaf.flag(
    false,
    'With the backend idle, also make the root of all offline pods idle; the kernel then refuses the weight that the kubelet writes there, at its start too',
  ),
  coreScheduling: leaf.flag(
    false,
    'Keep offline work off cores whose other thread runs online work, by core scheduling (needs SMT, kernel 5.14, koffi); keeps off bvt. Asked of the kernel at the start',
  ),
})

const burst = block({
  enabled: leaf.flag(false, 'Let online containers that were throttled save up CPU time of quiet periods'),
  sharePermyriad: leaf.share(
    5000,
    1,
    'Most that may be saved up; of the quota. The kernel refuses a new quota below it, such as that of a resize, until the agent has seen it',
  ),
})

const suppressCpu = block({
  enabled: leaf.flag(true, 'Hold the CPU use of the node below the watermark by squeezing offline pods'),
  watermarkPermyriad: leaf.share(6500, 100, 'CPU use that offline pods may fill the node up to; of its capacity'),
  lowWatermarkPermyriad: leaf.share(5500, 1, 'CPU use above which the node counts as hot; of its capacity'),
  marginPermyriad: leaf.share(250, 0, 'Room kept free below the watermark; of the capacity of the node'),
  floorPermyriad: leaf.share(200, 1, 'What BE and OT together keep, however hot the node; of its capacity'),
  otFloorPermyriad: leaf.share(100, 1, 'What OT keeps of floorPermyriad; of the capacity of the node'),
  growthPermyriad: leaf.share(1000, 1, 'Fastest growth of the offline allowance per second; of the capacity of the node'),
  deadBandPermyriad: leaf.share(
    100,
    0,
    'Growth of the allowance that is too small to write, five times as much while offline work uses less than half of it; of the capacity of the node',
  ),
  dwellMs: leaf.ms(1000, 100, 10 * MINUTE_MS, 'How long online use must have been lower before the allowance grows'),
  windowMs: leaf.ms(100, 10, 10_000, 'Time over which CPU use is averaged'),
  jumpPermyriad: leaf.share(
    1500,
    1,
    'Rise of online use within one guard beat, above its average, that counts at once; of the capacity of the node, and more than one CPU; 10000 switches it off',
  ),
  beHeadroomPermyriad: leaf.share(
    500,
    0,
    'Allowance kept for BE above its present use before OT gets any; of the capacity of the node',
  ),
  staleMs: leaf.ms(5000, 100, 10 * MINUTE_MS, 'Age of a reading beyond which the rule abstains'),
})

const capacity = block({
  enabled: leaf.flag(true, 'Work out what to advertise'),
  reclaimCpuPermyriad: leaf.share(6500, 0, 'CPU of the node that online use and offers may reach together; of its capacity'),
  reclaimMemoryPermyriad: leaf.share(
    6500,
    0,
    'Memory of the node that online use and offers may reach together; of its capacity',
  ),
  otRatioPermyriad: leaf.share(8000, 0, 'Part of what BE holds and does not use that is offered as OT'),
  peakWindowMs: leaf.ms(60_000, 1000, HOUR_MS, 'Time over which the peak of online use is taken'),
  warmupMs: leaf.ms(30_000, 0, HOUR_MS, 'Time after the start in which offers do not grow'),
  growPermyriad: leaf.share(500, 0, 'Growth of an offer that is too small to advertise; of the present offer'),
  maxUnits: leaf.count(2048, 1, 10_000, 'Most units of one resource; the kubelet keeps one device for each'),
})

const cluster = block({
  server: leaf.text('', leaf.HTTPS_URL, 'API server; empty for that of the cluster which the agent runs in'),
  tokenFile: leaf.text(
    '/var/run/secrets/kubernetes.io/serviceaccount/token',
    leaf.ABSOLUTE_PATH,
    'File with the token for the API server and the kubelet, read again when it changes',
  ),
  caFile: leaf.text(
    '/var/run/secrets/kubernetes.io/serviceaccount/ca.crt',
    leaf.ABSOLUTE_PATH,
    'File with the certificates that vouch for the API server and the kubelet, read again when it changes',
  ),
  kubelet: leaf.text('https://127.0.0.1:10250', leaf.HTTPS_URL, 'HTTPS server of the kubelet, for pods.source: kubelet'),
  kubeletVerify: leaf.flag(true, 'Check the certificate of the kubelet; may be off only for a loopback address'),
  requestMs: leaf.ms(10_000, 100, 10 * MINUTE_MS, 'Longest wait for an answer of the API server'),
  writeMs: leaf.ms(10_000, 100, 10 * MINUTE_MS, 'Shortest time between two writes about the node'),
  annotateMs: leaf.ms(300_000, 1000, HOUR_MS, 'Shortest time between two writes of headroom and score alone'),
  events: leaf.flag(true, 'Write events about pods and the node'),
  condition: leaf.flag(true, 'Keep the conditions ColocationHot, ExclusiveCpusShort and ColocationDegraded of the node'),
  annotations: leaf.flag(true, 'Keep annotations of the node with headroom and score'),
  hotLabel: leaf.flag(false, 'Label the node while it is hot'),
  hotTaint: leaf.flag(false, 'Taint the node with PreferNoSchedule while it is hot'),
})

const nodeSignals = block({
  enabled: leaf.flag(true, 'Work out how the node fares: hot or not, headroom, score'),
  enterMs: leaf.ms(10_000, 0, HOUR_MS, 'How long a watermark must be exceeded before the node counts as hot for the cluster'),
  exitMs: leaf.ms(60_000, 0, HOUR_MS, 'How long use must be below the low watermark before it no longer does'),
  memoryWatermarkPermyriad: leaf.share(9000, 100, 'Memory in use above which the node counts as hot; of the memory of the node'),
  memoryLowWatermarkPermyriad: leaf.share(8500, 1, 'Memory in use below which it no longer does'),
})

const kubelet = block({
  enabled: leaf.flag(true, 'Advertise offers to the kubelet as device plugins'),
  waitMs: leaf.ms(5000, 0, 10 * MINUTE_MS, 'How long the start waits for kubelet.sock to appear'),
  pushMs: leaf.ms(10_000, 100, 10 * MINUTE_MS, 'Shortest time between two changes of what is advertised'),
})

const http = block({
  enabled: leaf.flag(true, 'Serve metrics, health and the status page'),
  host: leaf.text('127.0.0.1', leaf.LISTEN_HOST, 'Address to listen on'),
  port: leaf.count(9465, 0, 65_535, 'TCP port to listen on; 0 takes any free one'),
})

const metrics = block({
  perPod: leaf.flag(false, 'Also have series of single pods in /metrics: use, quota, throttling, CPUs, working set'),
  maxPods: leaf.count(250, 1, 1000, 'Pods that may have such series, offline ones first; the others are counted'),
})

const recording = block({
  enabled: leaf.flag(false, 'Keep a recording of what is read and decided, for kube-agent replay'),
  directory: leaf.text('/var/lib/kube-agent/recording', leaf.ABSOLUTE_PATH, 'Directory of the recording, for nothing else'),
  maxBytes: leaf.byteCount(67_108_864, 1_048_576, 1_099_511_627_776, 'Size of the recording at which its oldest segment goes'),
  segmentBytes: leaf.byteCount(4_194_304, 65_536, 1_073_741_824, 'Size at which a segment ends and the next one begins'),
  flushMs: leaf.ms(
    5000,
    100,
    10 * MINUTE_MS,
    'Longest time that a tick waits to be written; what waits is lost with the process',
  ),
})

export const ConfigSchema = v.strictObject({
  mode: leaf.choice(['observe', 'plan', 'enforce'], 'observe', 'How far to go: look, also print what would change, or change it'),
  observeRules: leaf.someOf(
    OBSERVABLE_RULES,
    'a list of rules such as [identity, suppressIo]',
    'Rules that only observe, whatever the mode: they decide and show it, and nothing of it is carried out',
  ),
  onExit: leaf.choice(
    ['hold', 'release'],
    'hold',
    'What a clean exit does with the values written: leave them or put the originals back',
  ),
  node,
  paths,
  loop,
  pods,
  classes,
  resources,
  placement,
  identity,
  burst,
  limits: block({ enabled: leaf.flag(true, 'Limit offline pods to the CPU and memory they asked for') }),
  suppressCpu,
  ...SUPPRESSION,
  capacity,
  nodeSignals,
  cluster,
  kubelet,
  http,
  metrics,
  log: block({
    level: leaf.choice(['trace', 'debug', 'info', 'warn', 'error'], 'info', 'Least serious messages that are logged'),
  }),
  drift: block({
    enabled: leaf.flag(true, 'Count what others write to knobs of the agent, and leave a knob to them that is fought over'),
    maxPerMinute: leaf.count(6, 1, 60, 'Times in a minute that a knob may be written by others before it is left to them'),
    concedeMs: leaf.ms(10 * MINUTE_MS, 1000, 24 * HOUR_MS, 'How long it is left to them before the agent tries again'),
  }),
  failSafe: block({ afterTicks: leaf.count(5, 1, 1000, 'Failing ticks in a row after which the node is released') }),
  journal: block({
    maxBytes: leaf.byteCount(1_048_576, 4096, 1_073_741_824, 'Size at which the restore journal is compacted'),
    decisions: leaf.count(512, 1, 10_000, 'Decisions kept in memory for /journal and explain'),
    marks: leaf.flag(
      false,
      'Mark groups with the names of their files that the agent holds, in the attribute user.kube-agent (needs koffi, 3 MiB of memory, kernel 5.7)',
    ),
  }),
  recording,
})
