/**
 * What the machine is, in one line for people. systeminformation asks a dozen programs for it, so it is read once, at start and after
 * everything that matters has begun; nothing depends on it.
 */
import { cpu, osInfo } from 'systeminformation'

/** For example `Debian GNU/Linux 12, Intel Xeon Platinum 8481C`. Empty parts are left out; never rejects. */
export async function readHostFacts(): Promise<string> {
  const [processor, system] = await Promise.all([cpu().catch(() => undefined), osInfo().catch(() => undefined)])
  const parts = [
    [system?.distro, system?.release],
    [processor?.manufacturer, processor?.brand],
  ]
  return parts
    .map((words) => words.filter((word) => word !== undefined && word !== '' && word !== 'unknown').join(' '))
    .filter((part) => part !== '')
    .join(', ')
}
