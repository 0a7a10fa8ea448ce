/**
 * Random order, for whatever a kubelet takes out of a Go map: device IDs above all, and the resources of a container. Nobody may
 * come to rely on an order, so the stand-in keeps to none. Source: the Go specification (For statements with range clause).
 */

/** A copy in random order; `random` gives numbers in [0, 1). */
export function shuffled<Item>(items: Iterable<Item>, random: () => number): Item[] {
  return [...items]
    .map((item) => ({ item, at: random() }))
    .sort((a, b) => a.at - b.at)
    .map(({ item }) => item)
}
