/** Desired against actual → ordered steps, never an illegal state in between. Pure. */
export { diff } from './diff.ts'
export { isOurs } from './targets.ts'
