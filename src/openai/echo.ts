// Rewrites the answer's `"model":"<from>"` to `"model":"<to>"` as its bytes stream by, whatever way they are cut into chunks.
// It parses nothing and holds back only bytes that may be the beginning of a match. Without a `from`, whatever the value is.
//
// Why bytes are enough: inside a JSON string every quote is escaped, so `"model":"` with four bare quotes can only be a key
// and its value (a first quote after a backslash is not bare, and is left alone). Text that a model generates cannot forge it.

const KEY = Buffer.from('"model":');
const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const EMPTY = Buffer.alloc(0);

/** What the bytes of an answer become on their way to the caller. */
export interface Rewriter {
  /** What may be sent on now. */
  push(chunk: Buffer): Buffer;
  /** What was held back, now that nothing follows an answer of this status. @throws StepgateError where it is none */
  end(status: number): Buffer;
}

/** A name longer than this is no name: it is passed on as it is, so that what is held back is bounded. */
const NAME_BYTES_MAX = 4096;

/** Undefined when there is nothing to rewrite. */
export function echoOf(names: { readonly from: string | undefined; readonly to: string }): Echo | undefined {
  return names.from === names.to ? undefined : new Echo(names.from, names.to);
}

export class Echo implements Rewriter {
  readonly #tight: Buffer;
  /** Python's json.dumps puts a space after the colon; pydantic's serialiser does not. */
  readonly #spaced: Buffer;
  readonly #to: Buffer;
  /** The patterns end with the value's first quote. */
  readonly #isAny: boolean;
  #held: Buffer = EMPTY;
  /** The byte before `#held`: a backslash there makes a quote an escaped one. */
  #before = 0;

  constructor(from: string | undefined, to: string) {
    this.#isAny = from === undefined;
    const value = from === undefined ? '"' : JSON.stringify(from);
    this.#tight = Buffer.from(`"model":${value}`);
    this.#spaced = Buffer.from(`"model": ${value}`);
    this.#to = Buffer.from(`"model":${JSON.stringify(to)}`);
  }

  /** What may be sent on now; shares the chunk's memory where nothing changed. */
  push(chunk: Buffer): Buffer {
    const bytes = this.#held.length === 0 ? chunk : Buffer.concat([this.#held, chunk]);
    const pieces: Buffer[] = [];
    let sent = 0;
    for (let at = bytes.indexOf(KEY); at !== -1; at = bytes.indexOf(KEY, Math.max(sent, at + 1))) {
      const length = this.#matchLength(bytes, at);
      if (length === 0) continue;
      pieces.push(bytes.subarray(sent, at), this.#to);
      sent = at + length;
    }
    const hold = this.#holdFrom(bytes, sent);
    if (hold > 0) this.#before = bytes[hold - 1] ?? 0;
    this.#held = hold === bytes.length ? EMPTY : bytes.subarray(hold);
    const rest = bytes.subarray(sent, hold);
    return pieces.length === 0 ? rest : Buffer.concat([...pieces, rest]);
  }

  /** What was held back, now that nothing follows. */
  end(): Buffer {
    const rest = this.#held;
    this.#held = EMPTY;
    return rest;
  }

  #matchLength(bytes: Buffer, at: number): number {
    if (this.#isEscaped(bytes, at)) return 0;
    for (const pattern of [this.#tight, this.#spaced]) {
      if (!startsWith(bytes, at, pattern)) continue;
      if (!this.#isAny) return pattern.length;
      const end = endOfString(bytes, at + pattern.length);
      return end === -1 ? 0 : end - at;
    }
    return 0;
  }

  #isEscaped(bytes: Buffer, at: number): boolean {
    return (at === 0 ? this.#before : bytes[at - 1]) === BACKSLASH;
  }

  /** A value that has begun and not ended. */
  #isOpen(tail: Buffer): boolean {
    return (
      this.#isAny &&
      [this.#tight, this.#spaced].some(
        (pattern) => startsWith(tail, 0, pattern) && endOfString(tail, pattern.length) === -1,
      )
    );
  }

  /** Where the longest tail begins that may still become a match; the end when there is none. */
  #holdFrom(bytes: Buffer, sent: number): number {
    const reach = this.#spaced.length - 1 + (this.#isAny ? NAME_BYTES_MAX : 0);
    const first = Math.max(sent, bytes.length - reach);
    for (let at = bytes.indexOf(QUOTE, first); at !== -1; at = bytes.indexOf(QUOTE, at + 1)) {
      if (this.#isEscaped(bytes, at)) continue;
      const tail = bytes.subarray(at);
      if (isPrefix(tail, this.#tight) || isPrefix(tail, this.#spaced) || this.#isOpen(tail)) return at;
    }
    return bytes.length;
  }
}

/** The offset after the closing quote of the string that goes on at `from`; -1 when it has none here. */
function endOfString(bytes: Buffer, from: number): number {
  for (let at = bytes.indexOf(QUOTE, from); at !== -1; at = bytes.indexOf(QUOTE, at + 1)) {
    let slashes = 0;
    while (bytes[at - 1 - slashes] === BACKSLASH) slashes++;
    if (slashes % 2 === 0) return at + 1;
  }
  return -1;
}

function startsWith(bytes: Buffer, at: number, pattern: Buffer): boolean {
  return (
    at + pattern.length <= bytes.length && bytes.compare(pattern, 0, pattern.length, at, at + pattern.length) === 0
  );
}

function isPrefix(tail: Buffer, pattern: Buffer): boolean {
  return tail.length < pattern.length && pattern.compare(tail, 0, tail.length, 0, tail.length) === 0;
}
