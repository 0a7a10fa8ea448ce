/**
 * A configuration file as text with positions: reads it within bounds, parses it as one document of YAML 1.2 (core schema) and
 * remembers where everything stands, so that an issue found much later can still point at its line and column.
 * An operator's file is trusted to mean well, not to be well-formed: every answer of the parser becomes a problem with a position.
 */
import { closeSync, constants, fstatSync, openSync, readSync } from 'node:fs'
import {
  Composer,
  type CST,
  type Document,
  isAlias,
  isCollection,
  isMap,
  isScalar,
  Lexer,
  LineCounter,
  type Node,
  Parser,
  visit,
  type YAMLError,
  type YAMLMap,
} from 'yaml'
import { AgentError, assertInvariant, messageOf, oneLine } from '../model/index.ts'
import { showKey } from './leaves.ts'

/** A ConfigMap holds 1 MiB at most, and a configuration of everything is some 4 KiB. */
const MAX_BYTES = 1_048_576
/** Against files that grow without bound when their aliases are followed. */
const MAX_ALIASES = 100
/** Nodes within nodes, as the parser counts them; a configuration has three levels. */
const MAX_DEPTH = 16

const MAX_MESSAGE = 200

type ParsedDocument = Document.Parsed

/** Counted from 1; the column in UTF-16 units, as editors count. */
export interface Position {
  readonly line: number
  readonly column: number
}

interface Problem {
  readonly position?: Position
  readonly message: string
}

export interface YamlSource {
  readonly problems: readonly Problem[]
  /** The root mapping, empty for an empty file; undefined if the file is too broken to look into. */
  readonly root: Readonly<Record<string, unknown>> | undefined
  /** Where the key at a path stands, or its value. An absent value stands where its key does. */
  positionOf(path: readonly string[], of: 'key' | 'value'): Position | undefined
}

/** The text of a file. Throws E_CONFIG_READ if it can't be read, is no regular file, or holds over 1 MiB. */
export function readConfigText(file: string): string {
  let descriptor: number | undefined
  try {
    // Without O_NONBLOCK, opening a FIFO would wait for a writer for ever.
    descriptor = openSync(file, constants.O_RDONLY | constants.O_NONBLOCK)
    const stat = fstatSync(descriptor)
    if (stat.isDirectory()) throw new AgentError('E_CONFIG_READ', `${file} is a directory`)
    if (!stat.isFile()) throw new AgentError('E_CONFIG_READ', `${file} is not a regular file`)
    return decode(file, readBounded(descriptor))
  } catch (thrown) {
    if (thrown instanceof AgentError) throw thrown
    throw new AgentError('E_CONFIG_READ', `can't read ${file}: ${messageOf(thrown)}`, { cause: thrown })
  } finally {
    if (descriptor !== undefined) closeSync(descriptor)
  }
}

/** Up to one byte more than is allowed, so that decode() can tell; the size in the inode may be out of date. */
function readBounded(descriptor: number): Buffer {
  const buffer = Buffer.allocUnsafe(MAX_BYTES + 1)
  let length = 0
  for (;;) {
    const got = readSync(descriptor, buffer, length, buffer.length - length, null)
    length += got
    if (got === 0 || length === buffer.length) return buffer.subarray(0, length)
  }
}

function decode(file: string, bytes: Buffer): string {
  if (bytes.length > MAX_BYTES) throw new AgentError('E_CONFIG_READ', `${file} is larger than 1 MiB`)
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes)
  } catch (thrown) {
    throw new AgentError('E_CONFIG_READ', `${file} is not UTF-8 text`, { cause: thrown })
  }
}

/** Parses a configuration. Never throws: whatever is wrong with the text is in `problems`. */
export function parseYaml(text: string): YamlSource {
  const lines = new LineCounter()
  const positionAt = (offset: number): Position => {
    const { line, col } = lines.linePos(offset)
    return { line: Math.max(line, 1), column: Math.max(col, 1) }
  }
  const broken = (message: string, offset?: number): YamlSource => {
    const problem = offset === undefined ? { message } : { position: positionAt(offset), message }
    return { problems: [problem], root: undefined, positionOf: () => undefined }
  }
  if (text.length > MAX_BYTES) return broken('larger than 1 MiB')
  const composed = compose(text, lines)
  if ('tooDeepAt' in composed) return broken('nested too deeply', composed.tooDeepAt)

  const { document, second } = composed
  const positionOf: YamlSource['positionOf'] = (path, of) => {
    const offset = offsetOf(document, path, of)
    return offset === undefined ? undefined : positionAt(offset)
  }
  const errors = [...document.errors, ...document.warnings]
  if (errors.length > 0) {
    return {
      problems: errors.map((error) => ({ position: positionAt(error.pos[0]), message: explain(error) })),
      root: undefined,
      positionOf,
    }
  }
  if (second !== undefined) return broken('a second YAML document; a configuration is one document', second.range[0])
  const { badAlias, duplicates } = inspect(document)
  if (badAlias !== undefined) return broken(badAlias.message, badAlias.offset)
  const problems = duplicates.map(({ offset, message }) => ({ position: positionAt(offset), message }))
  try {
    const root: unknown = document.toJS({ maxAliasCount: MAX_ALIASES })
    if (root === null || isMapping(root)) return { problems, root: root ?? {}, positionOf }
    return broken('expected a mapping of settings at the top level', document.contents?.range?.[0])
  } catch (thrown) {
    // Aliases that multiply end in a ReferenceError of the library.
    return broken(oneLine(messageOf(thrown), MAX_MESSAGE))
  }
}

type Composed =
  { readonly document: ParsedDocument; readonly second: ParsedDocument | undefined } | { readonly tooDeepAt: number }

/**
 * The parser keeps a stack of its own, but the composer recurses, and a regular expression compiled near the end of the stack kills
 * the process instead of throwing. So the depth is checked between the two, before anything recurses.
 */
function compose(text: string, lines: LineCounter): Composed {
  const parser = new Parser(lines.addNewLine)
  const tokens: CST.Token[] = []
  lines.addNewLine(0)
  for (const lexeme of new Lexer().lex(text)) {
    tokens.push(...parser.next(lexeme))
    if (parser.stack.length > MAX_DEPTH) return { tooDeepAt: parser.offset }
  }
  tokens.push(...parser.end())
  const composer = new Composer({
    version: '1.2',
    schema: 'core',
    resolveKnownTags: false,
    stringKeys: true,
    // Its check compares every key with every other: minutes for a file of the largest size. inspect() does it with sets.
    uniqueKeys: false,
    prettyErrors: false,
    logLevel: 'silent',
  })
  const [document, second] = composer.compose(tokens, true, text.length)
  assertInvariant(document !== undefined, 'the YAML composer gave no document')
  return { document, second }
}

export function isMapping(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function explain(error: YAMLError): string {
  if (error.code === 'TAB_AS_INDENT') return 'a tab in the indentation; YAML wants spaces'
  if (error.code === 'NON_STRING_KEY') return 'a key must be a text'
  // One line, whatever of the text the library quotes.
  return oneLine(error.message, MAX_MESSAGE)
}

interface Finding {
  readonly offset: number
  readonly message: string
}

/** What the parser lets pass: keys given twice, and aliases that lead nowhere or are too many. */
function inspect(document: Document): { readonly badAlias: Finding | undefined; readonly duplicates: readonly Finding[] } {
  const anchors = new Set<string>()
  const duplicates: Finding[] = []
  let aliases = 0
  let badAlias: Finding | undefined
  visit(document, (_key, node) => {
    if (isAlias(node)) {
      aliases += 1
      const offset = node.range?.[0] ?? 0
      if (!anchors.has(node.source))
        badAlias = { offset, message: oneLine(`no anchor &${node.source} stands above *${node.source}`, MAX_MESSAGE) }
      else if (aliases > MAX_ALIASES) badAlias = { offset, message: `more than ${MAX_ALIASES} aliases` }
      return badAlias === undefined ? undefined : visit.BREAK
    }
    if ((isScalar(node) || isCollection(node)) && node.anchor !== undefined) anchors.add(node.anchor)
    if (isMap(node)) for (const duplicate of duplicateKeys(node)) duplicates.push(duplicate)
    return undefined
  })
  return { badAlias, duplicates }
}

function duplicateKeys(map: YAMLMap): Finding[] {
  const seen = new Set<string>()
  return map.items.flatMap(({ key }) => {
    // Absent keys read as the empty text.
    const name = isScalar(key) && typeof key.value === 'string' ? key.value : ''
    if (seen.has(name)) return [{ offset: startOf(key) ?? 0, message: `${showKey(name)} is given twice` }]
    seen.add(name)
    return []
  })
}

function offsetOf(document: Document, path: readonly string[], of: 'key' | 'value'): number | undefined {
  let node: unknown = document.contents
  let offset: number | undefined
  for (const name of path) {
    const mapping: unknown = isAlias(node) ? node.resolve(document) : node
    if (!isMap(mapping)) return offset
    // The last of duplicates: that is the one whose value is in force.
    const pair = mapping.items.findLast(({ key }) => isScalar(key) && key.value === name)
    if (pair === undefined) return offset
    const keyOffset = startOf(pair.key)
    const isAbsent = isScalar(pair.value) && pair.value.value === null
    offset = of === 'key' || isAbsent ? keyOffset : (startOf(pair.value) ?? keyOffset)
    node = pair.value
  }
  return offset
}

const startOf = (node: unknown): number | undefined => (node as Node | null)?.range?.[0]
