/** Completion in the shells themselves: bash, and zsh and fish where they are installed, from the scripts that the program prints. */
import { spawnSync } from 'node:child_process'
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { startHttp, type HttpServer } from '../../src/serve/index.ts'
import { capturedLogger, pod, recorder, tick } from '../unit/record/fixtures.ts'
import { VERBS } from '../../src/cli/main.ts'
import { BUNDLE, kubeAgent, runAsync, type Ran } from './program.ts'
import { HAS_TMUX, TestTerminal } from './terminal.ts'

let directory: string
let server: HttpServer
let address: string

beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), 'kube-agent-completion-'))
  const program = join(directory, 'kube-agent')
  writeFileSync(program, `#!/bin/sh\nexec ${process.execPath} ${BUNDLE} "$@"\n`)
  chmodSync(program, 0o755)
  writeFileSync(join(directory, 'some.yaml'), '')
  const record = recorder()
  record.tick(tick({ pods: [pod('web', 'LS'), pod('flink', 'BE'), pod('$(touch evil)', 'BE')] }))
  server = await startHttp({
    host: '127.0.0.1',
    port: 0,
    recorder: record,
    now: () => ({ nowMs: 11_000, wallMs: 0 }),
    logger: capturedLogger().logger,
  })
  address = `127.0.0.1:${server.port}`
  for (const shell of ['bash', 'zsh', 'fish']) writeFileSync(join(directory, shell), kubeAgent(['completion', shell]).stdout)
})

afterAll(async () => {
  await server.close()
  rmSync(directory, { recursive: true, force: true })
})

const has = (shell: string): boolean => spawnSync(shell, ['-c', 'exit 0']).status === 0

/** Runs a script in a shell that finds the program by its name. */
function inShell(shell: string, flags: readonly string[], script: string): Promise<Ran> {
  return runAsync(shell, [...flags, '-c', `cd ${directory}; ${script}`], {
    PATH: `${directory}:${process.env['PATH'] ?? ''}`,
    HOME: directory,
  })
}

/** What each line completes to, in the order of CASES; `…` in a line is the address of the agent. */
const CASES: readonly (readonly [line: string, found: readonly string[]])[] = [
  ['st', ['status']],
  ['status --b', ['--brief']],
  ['run --mode ', ['enforce', 'observe', 'plan']],
  ['explain ', ['cpu', 'group', 'knob', 'pod', 'resource']],
  ['explain --json resource ot', ['ot-cpu', 'ot-memory']],
  ['explain --address … pod ', ['default/flink', 'default/web']],
  ['explain --address=… pod ', ['default/flink', 'default/web']],
  ['explain --address 127.0.0.1:1 pod ', []],
  ['completion ', ['bash', 'fish', 'zsh']],
  ['config check so', ['some.yaml']],
]

const lines = (): readonly string[] => CASES.map(([line]) => line.replace('…', address))
const FOUND = CASES.map(([, found]) => found)

/** One line of words for each case. */
function foundIn({ stdout }: Ran): readonly (readonly string[])[] {
  const found = stdout.split('\n').filter((line) => line.startsWith('>'))
  return found.map((line) =>
    line
      .slice(1)
      .split(' ')
      .filter((word) => word !== '')
      .sort(),
  )
}

describe('completion of bash', () => {
  it('is registered, and completes verbs, flags, values, operands, pods of the running agent and files', async () => {
    const tries = lines().map(
      (line) =>
        `try ${line
          .split(' ')
          .map((word) => `'${word}'`)
          .join(' ')}`,
    )
    const ran = await inShell(
      'bash',
      ['--norc', '--noprofile'],
      `source bash; complete -p kube-agent
       try() { COMP_WORDS=(kube-agent "$@"); COMP_CWORD=$#; COMPREPLY=(); _kube_agent; echo "> \${COMPREPLY[*]}"; }
       ${tries.join('; ')}`,
    )
    expect(ran).toMatchObject({ code: 0 })
    expect(ran.stdout).toMatch(/^complete -F _kube_agent kube-agent$/m)
    expect(foundIn(ran)).toEqual(FOUND)
  })

  it('completes values after =, which bash takes for a word, and settings without a space after them', async () => {
    const ran = await inShell(
      'bash',
      ['--norc', '--noprofile'],
      `source bash
       try() { COMP_WORDS=(kube-agent "$@"); COMP_CWORD=$#; COMPREPLY=(); _kube_agent; echo "> \${COMPREPLY[*]}"; }
       try run --mode = pl; try run --mode =; try run --set loop.h; try run --set loop.hotMs = 1; try nonsense ''`,
    )
    expect(foundIn(ran)).toEqual([['plan'], ['enforce', 'observe', 'plan'], ['loop.hotMs'], [], []])
  })

  it('puts together what bash has cut at : and =, so that the agent at the given address is asked', async () => {
    const [host, port] = address.split(':')
    const ran = await inShell(
      'bash',
      ['--norc', '--noprofile'],
      `source bash
       try() { COMP_WORDS=(kube-agent "$@"); COMP_CWORD=$#; COMPREPLY=(); _kube_agent; echo "> \${COMPREPLY[*]}"; }
       try explain --address ${host} : ${port} pod ''; try explain --address = ${host} : ${port} pod default/f
       try explain --set loop.hotMs = 60 -a ${host} : ${port} pod default/w; try explain --address '[' :: '1]' : ${port} cpu --js
       try explain --address ${host} : ${port}; try explain --address ${host} :; try completion --config = some.yaml f`,
    )
    expect(foundIn(ran)).toEqual([
      ['default/flink', 'default/web'],
      ['default/flink'],
      ['default/web'],
      ['--json'],
      [],
      [],
      ['fish'],
    ])
  })
})

describe('completion of fish', () => {
  it('completes the same', async (context) => {
    if (!has('fish')) context.skip('fish is not installed')
    const tries = lines().map((line) => `echo '>' (complete -C 'kube-agent ${line}' | string split -f1 \\t)`)
    const ran = await inShell('fish', ['--no-config'], `source fish; ${tries.join('; ')}`)
    expect(ran.stderr).toBe('')
    expect(foundIn(ran)).toEqual(FOUND)
  })
})

describe('completion of zsh', () => {
  it('is a script that zsh reads', async (context) => {
    if (!has('zsh')) context.skip('zsh is not installed')
    expect(await inShell('zsh', ['-f'], 'zsh -f -n zsh')).toMatchObject({ code: 0, stderr: '' })
  })

  it('completes what is typed at a prompt', async (context) => {
    if (!has('zsh') || !HAS_TMUX) context.skip('zsh or tmux is not installed')
    const terminal = new TestTerminal()
    try {
      await terminal.open(`cd ${directory}; PATH=${directory}:$PATH PS1='$ ' zsh -f`, { columns: 120 })
      await terminal.until(/\$/)
      await terminal.keys('autoload -U compinit; compinit -u -D; source ./zsh; clear', 'Enter')
      await terminal.until((screen) => screen.trim() === '$')
      for (const [typed, completed] of [
        ['kube-agent stat', /\$ kube-agent status$/m],
        [`kube-agent explain -a ${address} pod default/f`, / pod default\/flink$/m],
        [`kube-agent explain --address=${address} pod default/w`, / pod default\/web$/m],
        ['kube-agent run --set loop.hot', /--set loop\.hotMs=/],
        ['kube-agent run --mo', /run --mode$/m],
        ['kube-agent explain resource ot-m', /resource ot-memory$/m],
      ] as const) {
        await terminal.keys('-l', typed)
        await terminal.keys('Tab')
        await terminal.until(completed)
        await terminal.keys('C-u')
      }
    } finally {
      await terminal.close()
    }
  })
})

describe('completion', () => {
  it('knows every verb and flag there is', () => {
    for (const shell of ['bash', 'zsh', 'fish']) {
      const { stdout } = kubeAgent(['completion', shell])
      for (const [name, { flags }] of Object.entries(VERBS)) {
        expect(stdout).toMatch(new RegExp(`(^|[\\s'])${name}([\\s':)])`, 'm'))
        for (const flag of Object.keys(flags)) expect(stdout).toContain(shell === 'fish' ? `-l ${flag}` : `--${flag}`)
      }
    }
  })

  it('offers no pod whose name a shell could take for more than a name', async () => {
    const { stdout } = await runAsync(process.execPath, [BUNDLE, 'completion', 'pods', '--address', address])
    expect(stdout.trim().split('\n').sort()).toEqual(['default/flink', 'default/web'])
  })

  it('is silent where no agent answers or the configuration is wrong: somebody is in the middle of a line', () => {
    expect(kubeAgent(['completion', 'pods', '--address', '127.0.0.1:1'])).toEqual({ code: 0, stdout: '', stderr: '' })
    expect(kubeAgent(['completion', 'pods', '--config', '/nowhere.yaml'])).toEqual({ code: 0, stdout: '', stderr: '' })
  })

  it('names the shells it knows', () => {
    const ran = kubeAgent(['completion', 'csh'])
    expect(ran.code).toBe(2)
    expect(ran.stderr).toContain('completion wants one of bash, zsh, fish, got "csh"')
  })
})
