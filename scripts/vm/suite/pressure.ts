/** What suppression of memory, IO and CPU rests on under cgroup v2: reclaim beside the loop, stalls of groups, limits of a disk, freezing. */
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { monitorEventLoopDelay } from 'node:perf_hooks'
import { setTimeout as sleep } from 'node:timers/promises'
import type { GroupMemory, GroupPath, Outcome } from '../../../src/model/index.ts'
import { disksOf } from '../../../test/support/twins.ts'
import { writeRate, writeToDisk, writtenBytes } from '../../../test/support/disk-load.ts'
import { cpus, ioMax, knob, MIB } from '../../../test/support/settings.ts'
import { type GroupsBed, openGroups, suite, test, until } from './bed.ts'

const HELD_MIB = 200

function memoryOf({ kernel }: GroupsBed, group: GroupPath): GroupMemory {
  const memory = { usageBytes: -1, inactiveFileBytes: -1 }
  assert.ok(kernel.readGroupMemory(group, memory))
  return memory
}

const eventsOf = ({ groups }: GroupsBed, group: GroupPath, name: string): number =>
  Number(new RegExp(`^${name} (\\d+)$`, 'm').exec(readFileSync(groups.fileOf(group, 'memory', 'memory.events'), 'latin1'))?.[1])

suite('memory on cgroup v2', () => {
  test('memory.high reclaims page cache, and kills nobody', async (context) => {
    const bed = await openGroups(context)
    const group = bed.groups.make('pod')
    const pid = bed.groups.shell(group, 'dd if=/dev/vda of=/dev/null bs=1M count=96; exec sleep 600')
    await until(
      () => memoryOf(bed, group).usageBytes > 90 * MIB,
      () => memoryOf(bed, group),
    )
    const before = memoryOf(bed, group)
    assert.ok(before.inactiveFileBytes > 60 * MIB, JSON.stringify(before))
    assert.deepEqual(await bed.kernel.writeKnobSlowly(group, knob('memoryHigh', 32 * MIB)), { is: 'applied' })
    const after = memoryOf(bed, group)
    assert.ok(after.usageBytes < 36 * MIB, JSON.stringify(after))
    assert.equal(eventsOf(bed, group, 'oom_kill'), 0)
    process.kill(pid, 0)
  })

  test('a write of memory.high that has to work does not hold up the loop', async (context) => {
    const bed = await openGroups(context)
    // Memory that was touched once can go to swap, which is what takes time; without swap a write soon gives up.
    execFileSync('/usr/sbin/mkswap', ['/dev/vda'], { stdio: 'ignore' })
    execFileSync('/usr/sbin/swapon', ['/dev/vda'])
    context.after(() => execFileSync('/usr/sbin/swapoff', ['/dev/vda']))
    const group = bed.groups.make('pod')
    const pid = bed.groups.node(group, `globalThis.held = Buffer.alloc(${HELD_MIB * MIB}, 1); setInterval(() => {}, 1000)`)
    await until(
      () => memoryOf(bed, group).usageBytes > HELD_MIB * MIB,
      () => memoryOf(bed, group),
    )
    const beside = await watchedTurns(bed, group, bed.kernel.writeKnobSlowly(group, knob('memoryHigh', 32 * MIB)))
    context.diagnostic(beside.said)
    assert.deepEqual(beside.outcome, { is: 'applied' })
    assert.ok(beside.tookMs > 100 && beside.seenMs < beside.tookMs / 2, beside.said)
    // A loop that waited for it would be as late as the write is long. Some lateness is the emulation's.
    assert.ok(beside.latestMs < beside.tookMs / 4, beside.said)
    assert.ok(memoryOf(bed, group).usageBytes < 48 * MIB)
    assert.equal(eventsOf(bed, group, 'oom_kill'), 0)
    // Away before swap is: it would all have to come back.
    await bed.groups.end(pid)
  })
})

/** What the loop does while a write runs beside it. */
async function watchedTurns({ kernel }: GroupsBed, group: GroupPath, write: Promise<Outcome>) {
  const delay = monitorEventLoopDelay({ resolution: 5 })
  delay.enable()
  const startMs = performance.now()
  const state: { outcome?: Outcome } = {}
  void write.then((outcome) => (state.outcome = outcome))
  let turns = 0
  let seenMs = Infinity
  while (state.outcome === undefined) {
    await sleep(5)
    turns += 1
    // The value is there while the write still reclaims, and can be read without waiting for it.
    if (kernel.readKnob(group, 'memoryHigh') === 32 * MIB) seenMs = Math.min(seenMs, performance.now() - startMs)
  }
  const tookMs = performance.now() - startMs
  delay.disable()
  const latestMs = delay.max / 1e6
  const said = `the write took ${tookMs.toFixed(0)} ms, its value was there after ${seenMs.toFixed(0)} ms, ${turns} turns of the loop, the latest ${latestMs.toFixed(0)} ms late`
  return { outcome: state.outcome, tookMs, seenMs, latestMs, said }
}

suite('stalls of groups on cgroup v2', () => {
  test('rise in the group that waits for its CPU beside hogs, and in no other', async (context) => {
    const { groups, kernel } = await openGroups(context)
    const [waits, alone] = [groups.make('waits'), groups.make('alone')]
    kernel.writeKnob(waits, cpus('5'))
    kernel.writeKnob(alone, cpus('6'))
    const pressure = (): number[] => [waits, alone].map((group) => kernel.readGroupPressureUs(group, 'cpu') ?? NaN)
    for (let count = 0; count < 3; count += 1) groups.burn(waits)
    groups.burn(alone)
    await until(() => (pressure()[0] ?? 0) > 100_000, pressure)
    const [before, startMs] = [pressure(), performance.now()]
    await sleep(2000)
    const share = pressure().map((us, index) => (us - (before[index] ?? NaN)) / 1000 / (performance.now() - startMs))
    // Three hogs on one CPU: some of them waits at any time.
    assert.ok((share[0] ?? 0) > 0.7 && (share[0] ?? 0) < 1.1, String(share))
    assert.ok((share[1] ?? 1) < 0.3, String(share))
    for (const resource of ['memory', 'io'] as const) assert.ok((kernel.readGroupPressureUs(waits, resource) ?? -1) >= 0)
    assert.equal(kernel.readGroupPressureUs(`${groups.root}/none`, 'cpu'), undefined)
    assert.ok((kernel.readRunnable() ?? 0) >= 4)
  })
})

suite('IO and freezing on cgroup v2', () => {
  test('io.max holds a writer to its limit, also one below the group that has it, and frees it', async (context) => {
    const { groups, kernel } = await openGroups(context)
    const [disk = ''] = disksOf(kernel)
    assert.equal(kernel.findDevice('vda'), disk)
    const [pod, main] = [groups.make('pod'), groups.make('pod', 'main')]
    assert.deepEqual(kernel.writeKnob(pod, ioMax(disk, { writeBps: 2 * MIB })), { is: 'applied' })
    const writer = writeToDisk(groups, main, '/dev/vda')
    context.after(() => writer.remove())
    const written = (): number => writtenBytes(groups, 'v2', pod, disk)
    await until(() => written() > 0, written)
    const held = (await writeRate(written, 5000)) / MIB
    assert.ok(held > 1.2 && held < 2.4, `${held} MiB/s`)
    assert.deepEqual(kernel.writeKnob(pod, ioMax(disk)), { is: 'applied' })
    await sleep(500)
    const freed = (await writeRate(written, 2000)) / MIB
    context.diagnostic(`held to 2 MiB/s: ${held.toFixed(2)} MiB/s; freed: ${freed.toFixed(1)} MiB/s`)
    assert.ok(freed > 4, `${freed} MiB/s`)
  })

  test('a frozen group uses nothing until it is thawed', async (context) => {
    const { groups, kernel } = await openGroups(context)
    const group = groups.make('pod')
    groups.burn(group)
    const used = (): number => kernel.readCpuUsageUs(group) ?? NaN
    await until(() => used() > 50_000, used)
    assert.deepEqual(kernel.writeKnob(group, knob('freeze', 1)), { is: 'applied' })
    await sleep(200)
    const frozen = used()
    await sleep(1000)
    assert.ok(used() - frozen < 5000, `${used() - frozen} µs`)
    assert.deepEqual(kernel.writeKnob(group, knob('freeze', 0)), { is: 'applied' })
    await until(() => used() - frozen > 50_000, used)
  })
})
