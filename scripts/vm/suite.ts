/**
 * What the virtual machine runs, bundled into one file: the real-kernel tests for what is different under cgroup v2 and on a machine with
 * sockets, threads and nodes. On Node's own test runner, since vitest needs a minute there to start.
 */
import './suite/kernel.ts'
import './suite/agent.ts'
import './suite/cookies.ts'
import './suite/placement.ts'
import './suite/program.ts'
