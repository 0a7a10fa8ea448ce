/**
 * Takes secrets out of texts that quote what others wrote: a refused setting, flags of a kubelet, words of a server. The agent's own texts
 * hold none by design (paths of token files and not what is in them, no environment of any pod), so whatever looks like a secret goes, and
 * where a text can be read in two ways, it is read as one. JSON stays JSON, and the time is in proportion to the text.
 */

const GONE = '[redacted]'

/** What ends in one of these, and not in …File or …-file, holds the thing itself. */
const NAME =
  'token|passw(?:or)?d|pwd|passphrase|secret|credentials?|api[-_]?key|access[-_]?key|private[-_]?key|key-data|authorization'

/** A quote, as it is or as it stands in a string of JSON. */
const QUOTE = String.raw`\\?["']`
/** What stands between a name and its value. */
const SIGN = String.raw`(?:${QUOTE})?\s{0,4}[:=]\s{0,4}`
/** A value without quotes ends at a blank, quote or bracket. A backslash goes with what follows it, but never with the end of a JSON string. */
const BARE = String.raw`(?:\[redacted]|[^\s"',;{}[\]\\]|\\[^\s"])+`
/**
 * In double quotes, in those within a string of JSON (where `\\\"` is a quote within the quotes), or in single ones. A quote before a comma or
 * a bracket is the end of a string of JSON, unless the name stands in quotes too.
 */
const QUOTED = [
  String.raw`"(?:(?<=[^\\]"\s{0,4}[:=]\s{0,4}")|(?!\s*[,}\]]))(?:[^"\\]|\\.)*"`,
  String.raw`\\"(?:[^"\\]|\\\\\\"|\\[^"])*\\"`,
  String.raw`'(?:[^'"\\]|\\.|"(?!\s*[,:}\]]))*'`,
].join('|')
/** RFC 9110: credentials are a scheme and what it wants. A header may have any scheme; other names are seen with these. */
const CREDENTIALS = String.raw`(?:(?<=authorization${SIGN})[\w-]{1,40}|basic|bearer|digest)[ \t]{1,4}${BARE}`

const NAMED = new RegExp(`(?<=${NAME})(${SIGN})(${QUOTED}|${CREDENTIALS}|["']?${BARE})`, 'gi')
/** Values that say that there is none. */
const NOTHING = new Set(['""', "''", String.raw`\"\"`, 'null', 'true', 'false'])

const PATTERNS: readonly (readonly [pattern: RegExp, by: string])[] = [
  // The lines of a key have no quotes, so that a key in JSON ends with its string.
  [/-----BEGIN [A-Z ]{0,40}PRIVATE KEY-----[^"]*?(?:-----END [A-Z ]{0,40}PRIVATE KEY-----|(?=")|$)/g, GONE],
  // JSON Web Tokens, RFC 7519: a header that begins with {" in base64url.
  [/\beyJ[\w-]{8,}\.[\w-]+\.[\w-]*/g, GONE],
  [/\b(bearer\s{1,4})[\w.~+/=-]{8,}/gi, `$1${GONE}`],
  [/\bAKIA[A-Z\d]{16}\b/g, GONE],
]

/** What a URL may stand in: it has neither blanks nor quotes. */
const WORD = /[^\s"']+/g
const SCHEME = String.raw`\b([a-z][a-z\d+.-]{0,20}:\/\/)`
/** `https://user:`; an address of IPv6 is no user. */
const WITH_USER = new RegExp(`${SCHEME}(?!\\[)[^/@:]*:`, 'i')
/** `https://user@`, of which the user may be a token. */
const USER_ALONE = new RegExp(`${SCHEME}[^/@:]+@`, 'gi')
/** `https://user:pass…` in a message that cut the URL short; a port is no password. */
const CUT_SHORT = new RegExp(`${SCHEME}(?!\\[)[^/@:]+:(?!\\d{1,5}(?:/|…))[^…]+…`, 'gi')

export interface Redacted {
  readonly text: string
  /** Places where something was taken out. */
  readonly count: number
}

/** The text without what looks like a secret. */
export function redact(text: string): Redacted {
  const byLook = redactByLook(text)
  let { count } = byLook
  const left = byLook.text.replace(NAMED, (all, sign: string, value: string) => {
    if (NOTHING.has(value)) return all
    if (!value.includes(GONE)) count += 1
    // A bare value behind a name in double quotes is a number of JSON.
    const [quote = ''] = /^\\?["']/.exec(value) ?? /^\\?"/.exec(sign) ?? []
    return `${sign}${quote}${GONE}${quote}`
  })
  return { text: left, count }
}

/**
 * The text without what looks like a secret by itself, whatever stands before it. For texts whose own words pass for a name and its value, as
 * `cluster.token: unknown key` does.
 */
export function redactByLook(text: string): Redacted {
  let count = 0
  let left = text
  for (const [pattern, by] of PATTERNS) {
    left = left.replace(pattern, (...found: string[]) => {
      count += 1
      return by.replace('$1', found[1] ?? '')
    })
  }
  if (left.includes('://')) {
    left = left.replace(WORD, (word) => {
      const safe = withoutUserinfo(word)
      if (safe !== word) count += 1
      return safe
    })
  }
  return { text: left, count }
}

/**
 * RFC 3986: what a URL has before its host, a user and a password. Neither may have an `@` or a `/` as it is; people write them all the same,
 * so behind `user:` all goes up to the last `@` of the word, though it may stand in the path of a host with a port.
 */
function withoutUserinfo(word: string): string {
  const host = word.lastIndexOf('@')
  const user = WITH_USER.exec(word.slice(0, Math.max(host, 0)))
  let safe = word
  if (user !== null) {
    // Where it was cut short, the last @ may be one of the password.
    const cut = word.indexOf('…', host)
    safe = `${word.slice(0, user.index)}${user[1] ?? ''}${GONE}${word.slice(cut < 0 ? host : cut)}`
  }
  safe = safe.replace(USER_ALONE, `$1${GONE}@`)
  // Behind the last … nothing was cut; to look for one from there would take time with the square of the length.
  const end = safe.lastIndexOf('…') + 1
  return `${safe.slice(0, end).replace(CUT_SHORT, `$1${GONE}…`)}${safe.slice(end)}`
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
