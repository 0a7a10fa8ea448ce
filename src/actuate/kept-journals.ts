/**
 * Damaged restore journals, kept beside the one in use: what is in them may still tell a person what a knob held before. A few at most, and the
 * first ones of a boot for longest, since what was on record later may be a value of the agent's own.
 */
import { linkSync, readdirSync, rmSync, statSync } from 'node:fs'
import { basename, dirname, join } from 'node:path'
import { crc32 } from 'node:zlib'

/** Each is at most about as large as the journal. */
const MOST_KEPT = 4
/** `restore.journal.damaged-BOOT-N`; the boot is the one on which it was found to be damaged. */
const SUFFIX = /^\.damaged-([0-9a-f]{8})-(\d{1,4})$/

interface Kept {
  readonly path: string
  readonly boot: string
  readonly number: number
}

/**
 * Damaged journals that were found on this boot, the first one first. A reboot puts every group back, so those of earlier boots are void. Throws
 * what readdir throws.
 */
export function keptJournals(journalPath: string, bootId: string): readonly string[] {
  const boot = tagOf(bootId)
  return allKept(journalPath).flatMap((kept) => (kept.boot === boot ? [kept.path] : []))
}

/**
 * Gives the file a second name, under which no journal is ever written. Answers that name; undefined when there are as many of this boot already.
 * Throws what link and readdir throw.
 */
export function keepDamaged(journalPath: string, bootId: string): string | undefined {
  const boot = tagOf(bootId)
  const kept = allKept(journalPath)
  // One that could not be replaced last time has its second name.
  const { ino } = statSync(journalPath)
  const same = kept.find(({ path }) => statSync(path, { throwIfNoEntry: false })?.ino === ino)
  if (same !== undefined) return same.path
  if (kept.length >= MOST_KEPT) {
    const ofEarlier = kept.find((one) => one.boot !== boot)
    if (ofEarlier === undefined) return undefined
    rmSync(ofEarlier.path, { force: true })
  }
  const number = Math.max(0, ...kept.map((one) => one.number)) + 1
  const path = `${journalPath}.damaged-${boot}-${number}`
  linkSync(journalPath, path)
  return path
}

function allKept(journalPath: string): readonly Kept[] {
  const [directory, name] = [dirname(journalPath), basename(journalPath)]
  const kept: Kept[] = []
  for (const entry of readdirSync(directory)) {
    const [, boot, number] = (entry.startsWith(name) && SUFFIX.exec(entry.slice(name.length))) || []
    if (boot !== undefined) kept.push({ path: join(directory, entry), boot, number: Number(number) })
  }
  return kept.sort((a, b) => a.number - b.number)
}

/** A boot in a file name. Kernel: boot_id is a UUID; what stands in its place in a test need not be. */
function tagOf(bootId: string): string {
  return crc32(bootId).toString(16).padStart(8, '0')
}
