/** The agent: one loop body, when it runs, and what is put back when it ends. */
export { Agent } from './agent.ts'
export { Loop } from './loop.ts'
export type { Publisher, Tape, TickSink, Writing } from './options.ts'
export { releaseNode } from './release-node.ts'
