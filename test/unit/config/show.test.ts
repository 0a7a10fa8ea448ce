import { describe, expect, it } from 'vitest'
import { loadConfig, renderConfig, renderConfigJson } from '../../../src/config/index.ts'
import { yamlFile } from './support.ts'

const loaded = loadConfig({
  file: '/etc/kube-agent.yaml',
  text: 'loop:\n  hotMs: 60\nclasses:\n  namespaces: {batch: BE, web: LS}\nplacement: {reservedCpus: "0"}\n',
  overrides: [{ path: ['mode'], value: 'enforce', origin: '--mode' }],
})

describe('renderConfig', () => {
  const lines = renderConfig(loaded).split('\n')
  const cells = lines.map((line) => line.split(/ {2,}/))

  it('has a head and one line for every setting', () => {
    expect(cells[0]).toEqual(['KEY', 'VALUE', 'ORIGIN'])
    expect(lines.pop()).toBe('')
    expect(lines).toHaveLength(loaded.provenance.size + 1)
  })

  it('shows values as a file would hold them, with their origins', () => {
    expect(cells).toContainEqual(['mode', 'enforce', '--mode'])
    expect(cells).toContainEqual(['node.name', '""', 'default'])
    expect(cells).toContainEqual(['loop.hotMs', '60', '/etc/kube-agent.yaml:2'])
    expect(cells).toContainEqual(['classes.namespaces', '{batch: BE, web: LS}', '/etc/kube-agent.yaml:4'])
    expect(cells).toContainEqual(['placement.reservedCpus', '"0"', '/etc/kube-agent.yaml:5'])
    expect(cells).toContainEqual(['resources.memoryUnit', '512Mi', 'default'])
  })

  it('is aligned', () => {
    const column = lines[0]?.indexOf('ORIGIN') ?? -1
    for (const line of lines) expect(line.slice(column - 2, column + 1)).toMatch(/^ {2}\S$/)
  })
})

describe('renderConfigJson', () => {
  it('holds a configuration that loads to the same, and the origins', () => {
    const shown = JSON.parse(renderConfigJson(loaded)) as { files: string[]; config: object; origins: Record<string, string> }
    expect(shown.files).toEqual(['/etc/kube-agent.yaml'])
    expect(shown.origins['loop.hotMs']).toBe('/etc/kube-agent.yaml:2')
    expect(Object.keys(shown.origins)).toEqual([...loaded.provenance.keys()])
    expect(loadConfig({ file: yamlFile(JSON.stringify(shown.config)) }).config).toEqual(loaded.config)
  })
})
