/**
 * The record room: projections of a finished tick. The loop hands each tick to the Recorder; HTTP and the command line read from
 * it. Nothing inside the folder is imported from outside but through this file.
 */
export { cpusInForce } from './cpus-in-force.ts'
export { parseSubject } from './explain/subject.ts'
export { renderExplanation } from './explain/text.ts'
export { type HistoryPage } from './history.ts'
export { type JournalEntry, type JournalPage } from './journal.ts'
export { renderJournal, renderJournalEntry } from './journal-text.ts'
export { count, formatDuration, labelled, table, wrap } from './layout.ts'
export { createLogger, type Logger, openLog } from './log.ts'
export { changeLevel, LOG_LEVELS, type LogLevel, LogLevels } from './log-level.ts'
export { METRICS_CONTENT_TYPE } from './metrics/metrics.ts'
export * from './recording/index.ts'
export { observedSteps, observedText, toldOf } from './observed.ts'
export { Recorder } from './recorder.ts'
export { renderAbstention, renderOutcome, renderStepBecause, renderValue } from './render.ts'
export { renderLadder, renderMemory, renderPressure, renderWish } from './render-ladder.ts'
export { renderSuppression } from './render-squeeze.ts'
export { renderOffer } from './render-offer.ts'
export { type ClassStatus, type PodStatus } from './status/pods.ts'
export { type Status } from './status/status.ts'
export { briefStatus, renderStatus } from './status/text.ts'
