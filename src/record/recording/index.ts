/**
 * Recordings: everything that decide() was given, tick by tick, and a digest of what it said, so that it can be asked again with other
 * settings. What is written stands in entries.ts, the file in segment.ts.
 */
export { type DecisionDigest, differencesOf, differingKinds, digestOf, type TickDigest } from './digest.ts'
export { type ConfigMaker, type ConfigObject } from './entries.ts'
export { type Damage, readRecording, recordingFiles, type RecordedSegment } from './read.ts'
export { Recording, type RecordingState } from './recording.ts'
export { DirectoryStore, FileStore, type Store } from './store.ts'
