/** Desired against actual → ordered steps, never an illegal state in between. Pure. */
export { diff, isOurs } from './diff.ts'
