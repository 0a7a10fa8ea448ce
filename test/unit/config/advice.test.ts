import { describe, expect, it } from 'vitest'
import { adviceOn, loadConfig } from '../../../src/config/index.ts'
import { AgentError } from '../../../src/model/index.ts'

const adviceFor = (text: string): string[] => adviceOn(loadConfig({ text }).config)

describe('advice', () => {
  it('has nothing to say about the defaults, or about units that divide', () => {
    expect(adviceOn(loadConfig().config)).toEqual([])
    for (const unit of ['50m', '125m', '250m', '1', '2']) expect(adviceFor(`resources: { cpuUnit: ${unit} }`)).toEqual([])
    for (const unit of ['128Mi', '1Gi', '4Gi']) expect(adviceFor(`resources: { memoryUnit: ${unit} }`)).toEqual([])
  })

  it('names a unit that does not divide, and says what to take', () => {
    expect(adviceFor('resources: { cpuUnit: 300m }')).toEqual([
      expect.stringMatching(/^resources\.cpuUnit: 300m .* Take /) as string,
    ])
    expect(adviceFor('resources: { memoryUnit: 300Mi }')).toEqual([
      expect.stringMatching(/^resources\.memoryUnit: .* Take /) as string,
    ])
  })

  it('warns of more devices than a kubelet bears', () => {
    expect(adviceFor('capacity: { maxUnits: 4096 }')).toEqual([expect.stringContaining('capacity.maxUnits: 4096') as string])
  })
})

describe('a kubelet whose certificate is not checked', () => {
  it('must have a loopback address', () => {
    const at = (kubelet: string) => () => loadConfig({ text: `cluster: { kubeletVerify: false, kubelet: '${kubelet}' }` })
    for (const url of ['https://127.0.0.1:10250', 'https://[::1]:10250', 'https://localhost']) expect(at(url)).not.toThrow()
    for (const url of ['https://10.0.0.1:10250', 'https://localhost.example.com', 'https://127.0.0.1.example.com:1'])
      expect(at(url)).toThrow(AgentError)
  })
})

describe('names of the resources', () => {
  it('are configurable, each on its own and with the domain', () => {
    const { config } = loadConfig({ text: 'resources: { domain: example.com, beCpu: batch-cpu }' })
    expect(config.resources.fullNames).toMatchObject({ 'be-cpu': 'example.com/batch-cpu', 'ot-memory': 'example.com/ot-memory' })
  })

  it('must be qualified names, and four different ones', () => {
    expect(() => loadConfig({ text: 'resources: { beCpu: -x }' })).toThrow(/beCpu/)
    expect(() => loadConfig({ text: 'resources: { beCpu: x, otCpu: x }' })).toThrow(/four different names/)
  })
})
