/**
 * The documents of a manifest, out of a text that nobody vouches for. The library's composer recurses, and a regular expression compiled
 * near the end of the stack kills the process instead of throwing; its check for duplicate keys compares every key with every other,
 * and it looks for the anchor of each alias in the whole document. So depth, aliases and duplicates are bounded here.
 */
import {
  Composer,
  type CST,
  type Document,
  isAlias,
  isMap,
  isScalar,
  Lexer,
  LineCounter,
  Parser,
  visit,
  type YAMLMap,
} from 'yaml'
import { oneLine } from '../model/index.ts'

/** Nodes within nodes, as the parser counts them. The deepest of a Pod, managedFields, stand at some 30. */
const MAX_DEPTH = 100
const MAX_ALIASES = 100
const MAX_MESSAGE = 200

export interface ManifestDocument {
  readonly line: number
  /** What is wrong with the document, and on which line; its value is then not to be used. */
  readonly problem?: { readonly line: number; readonly message: string }
  /** The document as plain data. Throws for aliases that multiply. */
  toJS(): unknown
}

/** Every document of a YAML or JSON text; a text that is nested too deeply is one document with a problem. Never throws. */
export function* readDocuments(text: string): Generator<ManifestDocument> {
  const lines = new LineCounter()
  const lineAt = (offset: number): number => Math.max(1, lines.linePos(offset).line)
  const tokens = tokensOf(text, lines)
  if (!Array.isArray(tokens)) {
    yield problemDocument(lineAt(tokens.tooDeepAt), 'not YAML: nested too deeply')
    return
  }
  const composer = new Composer({ stringKeys: true, uniqueKeys: false, prettyErrors: false, logLevel: 'silent' })
  for (const document of composer.compose(tokens, false, text.length)) {
    const line = lineAt(document.contents?.range?.[0] ?? document.range[0])
    const [error] = document.errors
    const finding = error === undefined ? inspect(document) : { offset: error.pos[0], message: `not YAML: ${error.message}` }
    if (finding === undefined) yield { line, toJS: () => document.toJS({ maxAliasCount: MAX_ALIASES }) }
    else yield problemDocument(lineAt(finding.offset), finding.message)
  }
}

function problemDocument(line: number, message: string): ManifestDocument {
  // One line, whatever of the text the library quotes.
  return { line, problem: { line, message: oneLine(message, MAX_MESSAGE) }, toJS: () => undefined }
}

/** The parser keeps a stack of its own and does not recurse: here the depth can be told before anything does. */
function tokensOf(text: string, lines: LineCounter): CST.Token[] | { readonly tooDeepAt: number } {
  const parser = new Parser(lines.addNewLine)
  const tokens: CST.Token[] = []
  lines.addNewLine(0)
  for (const lexeme of new Lexer().lex(text)) {
    for (const token of parser.next(lexeme)) tokens.push(token)
    if (parser.stack.length > MAX_DEPTH) return { tooDeepAt: parser.offset }
  }
  for (const token of parser.end()) tokens.push(token)
  return tokens
}

interface Finding {
  readonly offset: number
  readonly message: string
}

function inspect(document: Document): Finding | undefined {
  let found: Finding | undefined
  let aliases = 0
  visit(document, (_key, node) => {
    if (isAlias(node)) aliases += 1
    if (isAlias(node) && aliases > MAX_ALIASES)
      found = { offset: node.range?.[0] ?? 0, message: `more than ${MAX_ALIASES} aliases` }
    else if (isMap(node)) found = duplicateKey(node)
    return found === undefined ? undefined : visit.BREAK
  })
  return found
}

function duplicateKey(map: YAMLMap): Finding | undefined {
  const seen = new Set<unknown>()
  for (const { key } of map.items) {
    if (!isScalar(key)) continue
    if (seen.has(key.value)) {
      return { offset: key.range?.[0] ?? 0, message: `${JSON.stringify(key.value).slice(0, 80)} is given twice` }
    }
    seen.add(key.value)
  }
  return undefined
}
