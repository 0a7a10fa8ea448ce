/**
 * Takes secrets out of texts before they leave the node. What a bundle gathers has none by design: paths of token files and not what is in
 * them, no environment of any pod. But flags of a kubelet, words of a server and URLs are other people's, so whatever looks like a secret goes.
 */

const GONE = '[redacted]'

/** What ends in one of these, and not in …File or …-file, holds the thing itself. */
const NAME =
  'token|passw(?:or)?d|passphrase|secret|credentials?|api[-_]?key|access[-_]?key|private[-_]?key|key-data|authorization'

/** Names with `=` or `:` behind them, and the value: in quotes, with the scheme of HTTP's credentials, or up to the next blank or bracket. */
const NAMED = new RegExp(
  `(?<=${NAME})(["']?\\s{0,4}[:=]\\s{0,4})("(?:[^"\\\\]|\\\\.)*"|'[^']*'|(?:basic|bearer|digest)\\s{1,4}[^\\s"']+|[^\\s"',;{}[\\]]+)`,
  'gi',
)
/** Values that say that there is none. */
const NOTHING = new Set(['""', "''", 'null', 'true', 'false'])

const PATTERNS: readonly (readonly [pattern: RegExp, by: string])[] = [
  // The lines of a key have no quotes, so that a key in JSON ends with its string.
  [/-----BEGIN [A-Z ]{0,40}PRIVATE KEY-----[^"]*?(?:-----END [A-Z ]{0,40}PRIVATE KEY-----|(?=")|$)/g, GONE],
  // JSON Web Tokens, RFC 7519: a header that begins with {" in base64url.
  [/\beyJ[\w-]{8,}\.[\w-]+\.[\w-]*/g, GONE],
  [/\b(bearer\s{1,4})[\w.~+/=-]{8,}/gi, `$1${GONE}`],
  [/\b([a-z][a-z\d+.-]{0,20}:\/\/)[^\s/@"']{1,512}@/gi, `$1${GONE}@`],
  // The same in a message that cut the URL short; a port is no password.
  [/\b([a-z][a-z\d+.-]{0,20}:\/\/)[^\s/@"':]{1,256}:(?!\d{1,5}\u2026)[^\s/@"'\u2026]{1,512}\u2026/gi, `$1${GONE}…`],
  [/\bAKIA[A-Z\d]{16}\b/g, GONE],
]

export interface Redacted {
  readonly text: string
  /** Places where something was taken out. */
  readonly count: number
}

/** The text without what looks like a secret. JSON stays JSON. */
export function redact(text: string): Redacted {
  let count = 0
  let left = text
  for (const [pattern, by] of PATTERNS) {
    left = left.replace(pattern, (...found: string[]) => {
      count += 1
      return by.replace('$1', found[1] ?? '')
    })
  }
  left = left.replace(NAMED, (all, sign: string, value: string) => {
    if (value.includes(GONE) || NOTHING.has(value)) return all
    count += 1
    const [first = ''] = value
    // A bare value behind a name in double quotes is a number of JSON.
    const quote = first === '"' || first === "'" ? first : sign.startsWith('"') ? '"' : ''
    return `${sign}${quote}${GONE}${quote}`
  })
  return { text: left, count }
}

const SECRET_FLAG = new RegExp(`^--[\\w-]*(?:${NAME})(?:=|$)`, 'i')

/** The words of a command line without the values of flags that hold a secret themselves, be they in the same word or the next. */
export function redactCommand(words: readonly string[]): readonly string[] {
  return words.map((word, index) => {
    if (SECRET_FLAG.test(word)) return word.includes('=') ? `${word.slice(0, word.indexOf('=') + 1)}${GONE}` : word
    const before = words[index - 1] ?? ''
    return SECRET_FLAG.test(before) && !before.includes('=') && !word.startsWith('--') ? GONE : word
  })
}
