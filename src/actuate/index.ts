/** Executes steps, reads back, keeps the restore journal, releases. */
export { Actuator } from './actuator.ts'
export { DriftWatch } from './drift.ts'
export { EvictionFile } from './eviction-file.ts'
export { lockOwner, takeLock } from './lock.ts'
export { release, type ReleaseReport } from './release.ts'
export { journalPath, RestoreJournal } from './restore-journal.ts'
export { openStateDirectory } from './state-directory.ts'
export { type StateSurvey, surveyState } from './survey.ts'
