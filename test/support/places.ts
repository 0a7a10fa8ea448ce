/** The tree that kernels are compared on: TOP is above A and E, A above B and D, B above C. */
export const [TOP, A, B, C, D, E] = [0, 1, 2, 3, 4, 5] as const
export const PLACES: readonly (readonly string[])[] = [[], ['a'], ['a', 'b'], ['a', 'b', 'c'], ['a', 'd'], ['e']]
