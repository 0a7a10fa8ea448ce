/** Help, and what is said of a command line that is not understood: which help to read, and nothing looked at before. */
import { expect, it, vi } from 'vitest'
import { main, VERBS } from '../../src/cli/main.ts'

interface Said {
  readonly exit: number | undefined
  readonly stdout: string
  readonly stderr: string
}

/** Runs a command line in this process. */
async function say(...words: readonly string[]): Promise<Said> {
  const said = { stdout: '', stderr: '' }
  const listeners = (['stdout', 'stderr'] as const).map((name) => [name, new Set(process[name].listeners('error'))] as const)
  const spies = (['stdout', 'stderr'] as const).map((name) =>
    vi.spyOn(process[name], 'write').mockImplementation((chunk) => {
      said[name] += String(chunk)
      return true
    }),
  )
  try {
    const exit = await main(words)
    return { exit, ...said }
  } finally {
    for (const spy of spies) spy.mockRestore()
    for (const [name, before] of listeners) {
      const added = process[name].listeners('error').filter((listener) => !before.has(listener))
      for (const listener of added) process[name].off('error', listener as () => void)
    }
  }
}

it.each(Object.keys(VERBS))('help %s is %s --help', async (verb) => {
  const asked = await say('help', verb)
  expect(asked).toEqual(await say(verb, '--help'))
  expect(asked.exit).toBe(0)
  expect(asked.stdout).toContain(`Usage: kube-agent ${verb}`)
})

it('help without a verb names all of them', async () => {
  const { exit, stdout } = await say('help')
  expect(exit).toBe(0)
  for (const verb of Object.keys(VERBS)) expect(stdout).toMatch(new RegExp(`^  ${verb} `, 'm'))
  expect(await say('--help')).toEqual({ exit, stdout, stderr: '' })
})

it('--version --help is that of the verb version', async () => {
  expect(await say('--version', '--help')).toEqual(await say('version', '--help'))
})

it('help of a verb that there is not says which there are', async () => {
  const { exit, stderr } = await say('help', 'frobnicate')
  expect(exit).toBe(2)
  expect(stderr).toMatch(/unknown verb "frobnicate"; the verbs are run, .*\n {2}See kube-agent --help\. \(E_USAGE\)/)
})

it.each([
  ['status', '--frobnicate'],
  ['status', 'word'],
  ['journal', '--limit', 'many'],
  ['top', '--interval', 'soon'],
  ['journal', '--pod', 'web'],
])('a wrong use of %s hints at the help of that verb: %s', async (...words) => {
  const { exit, stderr } = await say(...words)
  expect(exit).toBe(2)
  expect(stderr).toContain(`\n  See kube-agent ${words[0]} --help. (E_USAGE)\n`)
})

it.each([
  [['cpu', 'x'], 'not the number of a CPU: "x"'],
  [['pod'], 'which pod? As in: explain pod shop/web'],
  [['group'], 'which group? As in: explain group /kubepods/besteffort'],
  [['pdo', 'shop/web'], 'did you mean pod shop/web?'],
])('explain %j is answered by its words alone, without agent and node', async (words, message) => {
  const { exit, stderr } = await say('explain', ...words, '--set', 'http.port=1,paths.cgroup=/nonexistent')
  expect(stderr).toContain(message)
  expect(stderr).toMatch(/ or a group \(group PATH\)\. \(E_NO_SUBJECT\)\n$/)
  expect(exit).toBe(2)
})
