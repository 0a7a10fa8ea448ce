/**
 * The virtual machine: 8 CPUs in two sockets with two threads a core, two NUMA nodes and a disk, in software emulation, since the machines this
 * runs on offer no other. It ends by itself when its program has ended; past a bound it is killed, by its pid.
 */
import { spawn, type ChildProcess } from 'node:child_process'
import { existsSync, readFileSync, truncateSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { type Guest, HOST_TAG, makeInitramfs } from './guest.ts'
import type { Parts } from './parts.ts'

/** A boot takes some 10 s on an idle machine with two cores. */
const BOOT_SECONDS_MAX = 150
const LOOK_MS = 250

const MACHINE = [
  '-M q35 -accel tcg,thread=multi -cpu max,vendor=GenuineIntel -nodefaults -no-user-config -no-reboot -display none',
  '-smp 8,sockets=2,cores=2,threads=2 -m 4096',
  '-object memory-backend-ram,id=mem0,size=2048M -numa node,nodeid=0,memdev=mem0,cpus=0-3',
  '-object memory-backend-ram,id=mem1,size=2048M -numa node,nodeid=1,memdev=mem1,cpus=4-7',
]
/** Kernel: an emulated clock is not to be checked against an emulated timer, and takes no harm from speculation. */
const KERNEL_OPTIONS = 'console=ttyS0 panic=-1 quiet tsc=reliable no_timer_check mitigations=off psi=1'

export interface Ran {
  /** The program's exit code; undefined when it never got so far. */
  readonly exitCode: number | undefined
  /** What the program said; it has been handed on already. */
  readonly output: string
  /** Why the machine had to be killed. */
  readonly killed: string | undefined
  /** What the guest's kernel and init said. */
  readonly console: string
}

/** A disk, empty and sparse, for limits of IO to be tried on: /dev/vda in the guest. */
const DISK_BYTES = 256 * 2 ** 20

/** Boots the machine with its files in `folder`, hands on what the program says, and waits for the end of both. */
export async function runMachine(parts: Parts, guest: Guest, folder: string): Promise<Ran> {
  const files = {
    output: join(folder, 'output'),
    code: join(folder, 'code'),
    console: join(folder, 'console'),
    disk: join(folder, 'disk'),
  }
  writeFileSync(files.disk, '')
  truncateSync(files.disk, DISK_BYTES)
  const archive = makeInitramfs(parts, guest, folder)
  const child = spawn(parts.qemu, qemuArguments(parts, archive, files), {
    env: { ...process.env, ...parts.qemuEnv },
    stdio: ['ignore', 'inherit', 'inherit'],
  })
  const kill = (): void => void child.kill('SIGKILL')
  process.once('exit', kill)
  try {
    const killed = await watch(child, files.output, guest.secondsMax)
    const code = textOf(files.code).trim()
    return {
      exitCode: code === '' ? undefined : Number(code),
      killed,
      output: textOf(files.output),
      console: textOf(files.console),
    }
  } finally {
    kill()
    process.off('exit', kill)
  }
}

/** Hands on the output until the machine has ended. Returns why it was killed, if it was. */
async function watch(child: ChildProcess, output: string, secondsMax: number): Promise<string | undefined> {
  const end = new Promise<'ended'>((resolve, reject) => {
    child.once('error', reject)
    child.once('exit', () => resolve('ended'))
  })
  const startedMs = performance.now()
  let shown = 0
  let killed: string | undefined
  for (;;) {
    const ended = (await Promise.race([end, sleep(LOOK_MS)])) === 'ended'
    const text = textOf(output)
    // A line at a time: the end may be in the middle of a character.
    const whole = ended ? text.length : text.lastIndexOf('\n') + 1
    process.stdout.write(text.slice(shown, whole))
    shown = Math.max(shown, whole)
    const seconds = (performance.now() - startedMs) / 1000
    if (ended) return killed
    if (killed === undefined && text === '' && seconds > BOOT_SECONDS_MAX)
      killed = `nothing was heard of it for ${BOOT_SECONDS_MAX} s`
    if (killed === undefined && seconds > secondsMax) killed = `it was not done after ${secondsMax} s`
    if (killed !== undefined) child.kill('SIGKILL')
  }
}

const textOf = (path: string): string => (existsSync(path) ? readFileSync(path, 'utf8') : '')

function qemuArguments(
  parts: Parts,
  archive: string,
  files: Readonly<Record<'output' | 'code' | 'console' | 'disk', string>>,
): string[] {
  // Files and not stdio: with a closed standard input qemu's stdio ends at once.
  const file = (id: string, path: string): string => `file,id=${id},path=${path.replaceAll(',', ',,')}`
  const options: readonly (readonly [string, string])[] = [
    ...parts.firmware.map((folder) => ['-L', folder] as const),
    ['-kernel', parts.kernel],
    ['-initrd', archive],
    ['-append', KERNEL_OPTIONS],
    ['-chardev', file('console', files.console)],
    ['-serial', 'chardev:console'],
    ['-device', 'virtio-serial-pci,max_ports=4'],
    ['-chardev', file('output', files.output)],
    ['-device', 'virtserialport,chardev=output,nr=1'],
    ['-chardev', file('code', files.code)],
    ['-device', 'virtserialport,chardev=code,nr=2'],
    ['-drive', `file=${files.disk.replaceAll(',', ',,')},format=raw,if=none,id=disk`],
    ['-device', 'virtio-blk-pci,drive=disk'],
    ['-fsdev', 'local,id=files,path=/,security_model=none,readonly=on,multidevs=remap'],
    ['-device', `virtio-9p-pci,fsdev=files,mount_tag=${HOST_TAG}`],
  ]
  return [...MACHINE.join(' ').split(' '), ...options.flat()]
}
