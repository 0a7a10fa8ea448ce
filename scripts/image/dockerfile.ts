/** The last stage of deploy/Dockerfile as data, for what has to agree with it. */
import { readFileSync } from 'node:fs'
import { resolve } from 'node:path'

const DOCKERFILE = resolve(import.meta.dirname, '../../deploy/Dockerfile')

export interface Image {
  readonly entrypoint: readonly string[]
  readonly command: readonly string[]
  readonly user: string
  /** KEY=VALUE */
  readonly labels: readonly string[]
  readonly environment: readonly string[]
}

/** Throws where an instruction is missing. */
export function imageOf(): Image {
  const text = readFileSync(DOCKERFILE, 'utf8').replaceAll(/\\\n/g, ' ')
  const last = text.slice(text.lastIndexOf('\nFROM '))
  const the = (instruction: string): string => {
    const [, value] = new RegExp(`^${instruction} +(.*)$`, 'm').exec(last) ?? []
    if (value === undefined) throw new Error(`deploy/Dockerfile: no ${instruction} in the last stage`)
    return value
  }
  return {
    entrypoint: JSON.parse(the('ENTRYPOINT')) as string[],
    command: JSON.parse(the('CMD')) as string[],
    user: the('USER'),
    labels: [...the('LABEL').matchAll(/([\w.]+)="([^"]*)"/g)].map(([, key, value]) => `${key}=${value}`),
    environment: the('ENV').split(' '),
  }
}
