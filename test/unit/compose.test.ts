/** What openWriting() refuses: without the ID of the boot nobody can tell an original from one of an earlier boot. */
import { mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { openNode, openWriting } from '../../src/compose.ts'
import { type Config, loadConfig } from '../../src/config/index.ts'
import { AgentError } from '../../src/model/index.ts'
import { TOPOLOGIES } from '../support/topologies.ts'
import { planted, PROC, sysfsOf, v2Tree } from '../support/trees-on-disk.ts'

/** A node of plain files, with `bootId` as the text of that file where it is given. */
function nodeWith(bootId: string | undefined): { readonly config: Config; readonly path: string } {
  const sys = sysfsOf(TOPOLOGIES.twoCpuVm)
  const random = bootId === undefined ? {} : { boot_id: bootId }
  const proc = { ...PROC, sys: { kernel: { random } } }
  const root = planted({ cgroup: v2Tree('/kubepods/besteffort'), proc, sys })
  const paths = Object.fromEntries(['cgroup', 'proc', 'sys', 'state'].map((name) => [name, join(root, name)]))
  return {
    config: loadConfig({ text: JSON.stringify({ paths }) }).config,
    path: join(root, 'proc/sys/kernel/random/boot_id'),
  }
}

function refusal(config: Config): AgentError {
  try {
    openWriting(config, openNode(config)).journal.end()
  } catch (thrown) {
    if (thrown instanceof AgentError) return thrown
    throw thrown
  }
  throw new Error('it was opened')
}

describe('without the ID of the boot', () => {
  it.each([
    [undefined, 'ENOENT'],
    ['', 'the file is empty'],
    ['\n', 'the file is empty'],
  ])('in a file with %j nothing is opened: E_STATE_DIR with the path, the reason and what to do', (text, why) => {
    const { config, path } = nodeWith(text)
    const { code, message, hint } = refusal(config)
    expect(code).toBe('E_STATE_DIR')
    expect(message).toContain(`the ID of this boot (${path}): `)
    expect(message).toContain(why)
    expect(hint).toBe('Mount the host /proc and set paths.proc to it.')
  })

  it('in a directory that stands in its place: the same, and once it is mended it opens', () => {
    const { config, path } = nodeWith(undefined)
    mkdirSync(path)
    expect(refusal(config)).toMatchObject({ code: 'E_STATE_DIR', message: expect.stringContaining('EISDIR') as unknown })
    rmSync(path, { recursive: true })
    writeFileSync(path, 'boot-1\n')
    const { journal } = openWriting(config, openNode(config))
    expect(journal.entries.size).toBe(0)
    journal.end()
  })
})
