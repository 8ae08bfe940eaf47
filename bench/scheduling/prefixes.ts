// What an engine remembers of prompts that it has read (vLLM's automatic prefix caching): a prompt that begins like an earlier one of the same
// adapter pays only for what is new. Least recently used goes first. Counts tokens; knows nothing of time.

/** vLLM shares whole blocks of so many tokens, and always computes the last token of a prompt. */
const BLOCK_TOKENS = 16;

export class Prefixes {
  readonly #tokensMax: number;
  /** In order of use, oldest first: what begins alike -> tokens of it that are known. */
  readonly #known = new Map<string, number>();
  #tokens = 0;

  constructor(tokensMax: number) {
    this.#tokensMax = tokensMax;
  }

  /** Tokens of this prompt that need not be read. */
  known(prefix: string, promptTokens: number): number {
    const shared = Math.min(this.#known.get(prefix) ?? 0, promptTokens - 1);
    return shared - (shared % BLOCK_TOKENS);
  }

  /** So many tokens that begin so were read or written. */
  note(prefix: string, tokens: number): void {
    const before = this.#known.get(prefix) ?? 0;
    this.#known.delete(prefix);
    this.#known.set(prefix, Math.max(before, tokens));
    this.#tokens += Math.max(0, tokens - before);
    for (const [oldest, its] of this.#known) {
      if (this.#tokens <= this.#tokensMax) return;
      this.#known.delete(oldest);
      this.#tokens -= its;
    }
  }
}
