/**
 * Who may import whom: this table is where the rooms of src/ and what each may know of the others are laid down. The test
 * test/unit/boundaries.test.ts plants violations of it and expects this check to turn red.
 */
const rooms = {
  cpu: [],
  model: ['cpu'],
  config: ['cpu', 'model'],
  decide: ['cpu', 'model', 'config/types'],
  plan: ['cpu', 'model'],
  kernel: ['cpu', 'model'],
  sense: ['cpu', 'model'],
  actuate: ['cpu', 'model'],
  kubelet: ['cpu', 'model'],
  kube: ['model'],
  web: [],
  record: ['cpu', 'model'],
  serve: ['model', 'record', 'web'],
  agent: ['cpu', 'model', 'config', 'decide', 'plan', 'sense', 'actuate'],
  sim: ['cpu', 'model', 'decide', 'plan', 'kubelet/gen', 'kubelet/wire'],
  cli: [
    'cpu',
    'model',
    'config',
    'decide',
    'plan',
    'sense',
    'actuate',
    'kubelet',
    'kube',
    'record',
    'serve',
    'web',
    'sim',
    'agent/index',
    'compose',
    'kernel/index',
  ],
}

const escape = (text) => text.replace(/[/.]/g, '\\$&')
const folder = (room) => (room.includes('/') ? `^src/${escape(room)}(/|\\.)` : `^src/${room}(/|\\.)`)

const roomRules = Object.entries(rooms).map(([room, may]) => ({
  name: `room-${room}`,
  severity: 'error',
  comment: `src/${room} may import ${may.length === 0 ? 'no other room' : may.join(', ')}`,
  from: { path: `^src/${room}/` },
  to: { path: '^src/', pathNot: [`^src/${room}/`, ...may.map(folder)] },
}))

module.exports = {
  forbidden: [
    ...roomRules,
    { name: 'no-cycles', severity: 'error', from: {}, to: { circular: true, viaOnly: { dependencyTypesNot: ['type-only'] } } },
    {
      name: 'pure-rooms-stay-pure',
      severity: 'error',
      comment: 'cpu, decide and plan see no node built-in and no package: time, IO and randomness come in as arguments',
      from: { path: '^src/(cpu|decide|plan)/' },
      to: { dependencyTypes: ['core', 'npm', 'npm-dev', 'npm-optional'] },
    },
    {
      name: 'only-kernel-touches-the-kernel',
      severity: 'error',
      comment:
        'the loop reaches procfs, sysfs and cgroupfs through the kernel port; a directory of manifests is an ordinary directory',
      from: { path: '^src/(model|sense)/', pathNot: '^src/sense/pod-directory\\.ts$' },
      to: { dependencyTypes: ['core'] },
    },
    { name: 'not-unresolvable', severity: 'error', from: {}, to: { couldNotResolve: true } },
  ],
  options: {
    doNotFollow: { path: 'node_modules' },
    tsPreCompilationDeps: true,
    tsConfig: { fileName: 'tsconfig.json' },
    enhancedResolveOptions: {
      extensions: ['.ts', '.js', '.mjs', '.json'],
      exportsFields: ['exports'],
      conditionNames: ['import', 'node', 'default', 'types'],
    },
  },
}
