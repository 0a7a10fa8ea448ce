/**
 * What this process may do beyond its user. Kernel: capabilities(7); the effective set is a hexadecimal mask in /proc/PID/status.
 */
import { readFileSync } from 'node:fs'

/** Kernel: include/uapi/linux/capability.h; those that the agent has a use for. */
const BITS = { CAP_SYS_PTRACE: 19n, CAP_SYS_NICE: 23n } as const

export type CapabilityName = keyof typeof BITS

/** Whether this process has a capability in effect; false where that can't be read. */
export function hasCapability(name: CapabilityName): boolean {
  try {
    const [, mask = '0'] = /^CapEff:\s*([0-9a-f]+)$/m.exec(readFileSync('/proc/self/status', 'latin1')) ?? []
    return ((BigInt(`0x${mask}`) >> BITS[name]) & 1n) === 1n
  } catch {
    return false
  }
}
