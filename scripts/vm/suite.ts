/**
 * What the virtual machine runs, bundled into one file: the real-kernel tests for what is different under cgroup v2 and on a machine with
 * sockets, threads and nodes. On Node's own test runner, since vitest needs a minute there to start.
 */
import './suite/kernel.ts'
import './suite/pressure.ts'
import './suite/agent.ts'
import './suite/cookies.ts'
// The demo asks for a machine that is mostly idle: what removes a thousand groups goes on for a while after the churn.
import './suite/program.ts'
import './suite/placement.ts'
