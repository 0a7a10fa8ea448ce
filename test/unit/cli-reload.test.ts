/** What a reload may change under a running agent, and what it may not. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import type { Agent } from '../../src/agent/index.ts'
import { followConfig, withLiveSettings } from '../../src/cli/reload.ts'
import { loadConfig } from '../../src/config/index.ts'
import { LogLevels } from '../../src/record/index.ts'
import { capturedLogger, recorder } from './record/fixtures.ts'

describe('a reloaded configuration', () => {
  it('brings in what the rules read, and leaves what was wired at start: units, domain, paths, pace, window', () => {
    const atStart = loadConfig().config
    const later = loadConfig({
      text: [
        'resources: { cpuUnit: 1000m, domain: example.org }',
        'loop: { hotMs: 100 }',
        'suppressCpu: { watermarkPermyriad: 8000, windowMs: 200 }',
        'limits: { enabled: false }',
        'observeRules: [identity]',
      ].join('\n'),
    }).config
    const inForce = withLiveSettings(atStart, later)
    expect(inForce.suppressCpu.watermarkPermyriad).toBe(8000)
    expect(inForce.limits.enabled).toBe(false)
    expect(inForce.observeRules).toEqual(['identity'])
    expect(inForce.suppressCpu.windowMs).toBe(atStart.suppressCpu.windowMs)
    expect([inForce.resources, inForce.loop, inForce.paths, inForce.mode]).toEqual([
      atStart.resources,
      atStart.loop,
      atStart.paths,
      atStart.mode,
    ])
  })

  it('brings in every setting of suppression, but for those that the evictor and the process took at start', () => {
    const atStart = loadConfig().config
    const later = loadConfig({
      text: [
        'pressure: { boundPermyriad: 3000 }',
        'cpuFreeze: { enabled: true }',
        'memoryHold: { enterPermyriad: 1600 }',
        'suppressIo: { enabled: true, beWeight: 30 }',
        'evict: { enabled: true, intervalMs: 20000, gracePeriodSeconds: 5, force: true }',
        'own: { weight: false, nice: -3, realtimePriority: 7 }',
      ].join('\n'),
    }).config
    const inForce = withLiveSettings(atStart, later)
    expect(inForce.pressure).toEqual(later.pressure)
    expect(inForce.cpuFreeze).toEqual(later.cpuFreeze)
    expect(inForce.memoryHold).toEqual(later.memoryHold)
    expect(inForce.suppressIo).toEqual(later.suppressIo)
    expect(inForce.evict).toEqual({ ...atStart.evict, intervalMs: 20_000 })
    expect(inForce.own).toEqual({ ...atStart.own, weight: false })
    expect(later.own.nice).toBe(-3)
  })

  it('does not make the root idle in an agent that was started to leave its values at its exit', () => {
    const later = loadConfig({ text: 'onExit: release\nidentity: { rootIdle: true, backend: weight }' }).config
    const inForce = withLiveSettings(loadConfig().config, later)
    expect([inForce.onExit, inForce.identity.rootIdle, inForce.identity.backend]).toEqual(['hold', false, 'weight'])
  })
})

describe('a reload', () => {
  it('puts the configured log level in force, also when nothing but a PUT has changed it', () => {
    const directory = mkdtempSync(join(tmpdir(), 'kube-agent-reload-'))
    const file = join(directory, 'agent.yaml')
    writeFileSync(file, 'log: { level: warn }\n')
    const sources = { file }
    const { logger } = capturedLogger('warn')
    const agent = { reconfigure: () => undefined } as unknown as Agent
    const levels = new LogLevels(logger, 'warn')
    const followed = followConfig(loadConfig(sources), sources, { agent, recorder: recorder(), levels })
    try {
      logger.level = 'trace'
      process.emit('SIGHUP')
      expect(logger.level).toBe('warn')
      writeFileSync(file, 'log: { level: error }\n')
      process.emit('SIGHUP')
      expect(logger.level).toBe('error')
      // What a signal gives back from then on is the new one.
      levels.toggle()
      levels.toggle()
      expect(logger.level).toBe('error')
      // It is in force: nothing waits for the next start.
      expect(followed.text()).not.toContain('not in force')
      expect(JSON.parse(followed.json())).toMatchObject({ config: { log: { level: 'error' } } })
      logger.level = 'debug'
      writeFileSync(file, 'log: { level: loud }\n')
      process.emit('SIGHUP')
      expect(logger.level).toBe('debug')
    } finally {
      followed.stop()
      rmSync(directory, { recursive: true, force: true })
    }
  })
})
