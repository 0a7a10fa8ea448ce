/**
 * What became of one write. The kernel's answers are expected values, decided by errno in the one table below.
 */
export type Outcome =
  | { readonly is: 'applied' }
  | { readonly is: 'unchanged' }
  /** The group went away between decision and write: normal. */
  | { readonly is: 'vanished'; readonly errno: string }
  /** The kernel does not take this value: news. */
  | { readonly is: 'refused'; readonly errno: string }
  /** This process may not write there: news, and it will not get better by itself. */
  | { readonly is: 'forbidden'; readonly errno: string }
  /** A write that may take seconds runs beside the loop; what became of it is told when it has ended. */
  | { readonly is: 'begun' }
  /** Try again on the next tick. */
  | { readonly is: 'busy'; readonly errno: string }
  /** The write was taken but the file reads otherwise. */
  | { readonly is: 'mismatch'; readonly reads: string }
  | { readonly is: 'failed'; readonly errno: string }

export type OutcomeKind = Outcome['is']

const BY_ERRNO: Readonly<Record<string, 'vanished' | 'refused' | 'forbidden' | 'busy'>> = {
  ENOENT: 'vanished',
  ENODEV: 'vanished',
  EINVAL: 'refused',
  ENOSPC: 'refused',
  ERANGE: 'refused',
  EACCES: 'forbidden',
  EPERM: 'forbidden',
  EROFS: 'forbidden',
  EBUSY: 'busy',
  EAGAIN: 'busy',
  EINTR: 'busy',
}

/** The outcome of a write that failed with `errno` (a name such as `EINVAL`). Unknown names become `failed`. */
export function outcomeOfErrno(errno: string): Outcome {
  return { is: BY_ERRNO[errno] ?? 'failed', errno }
}

export const APPLIED: Outcome = { is: 'applied' }

/** Whether the file now holds the wanted value. */
export function isSuccess(outcome: Outcome): boolean {
  return outcome.is === 'applied' || outcome.is === 'unchanged'
}
