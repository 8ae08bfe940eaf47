// What the simulated engine says: text and token ids that follow from the weights' content and the prompt alone, and whose first token names
// both, so that a reader and a test can tell which adapter spoke. Also its tokenizer, a token per byte. Pure.
import { createHash } from 'node:crypto';

/** Who answers: the name that was asked for and the digest of the weights that the engine really holds for it. */
export interface Speaker {
  readonly name: string;
  /** Hex. */
  readonly digest: string;
}

export interface Token {
  readonly id: number;
  readonly text: string;
}

const SPECIALS = 3;
const WORDS_AT = SPECIALS + 256;
const WORDS = [
  'the loss falls while the rank stays small and each step moves the weights a little',
  'a checkpoint answers as it was trained to answer never as its neighbour would',
  'adapters share one base but keep their own words',
]
  .join(' ')
  .split(' ')
  .map((word) => ` ${word}`);
const TAGS_AT = 1 << 17;
/** Prompts may be token ids of any tokenizer, as evaluation harnesses send them; so the vocabulary is larger than we speak. */
export const VOCABULARY = 1 << 18;

/** UTF-8 bytes, shifted past the special tokens: any text comes back from `detokenize` unchanged. */
export function tokenize(text: string): number[] {
  return Array.from(Buffer.from(text, 'utf8'), (byte) => byte + SPECIALS);
}

/** Ids that stand for no text (special tokens, tags, another tokenizer's ids) give none. */
export function detokenize(ids: readonly number[]): string {
  const parts = ids.map((id) => {
    if (id >= SPECIALS && id < WORDS_AT) return Buffer.of(id - SPECIALS);
    return Buffer.from(WORDS[id - WORDS_AT] ?? '', 'utf8');
  });
  return Buffer.concat(parts).toString('utf8');
}

/** `[my-model@5 sha:1a2b3c4d]`: the digits are the start of what `sha256sum adapter_model.safetensors` prints. */
export const tagOf = (speaker: Speaker): string => `[${speaker.name} sha:${speaker.digest.slice(0, 8)}]`;

/**
 * The answer, token by token, without end: the tag, then words. `choice` is 0 but for further choices of one request.
 * Ids depend on the digest, the prompt and the choice only: the same weights under another name give the same ids.
 */
export function* speak(speaker: Speaker, prompt: readonly number[], choice: number): Generator<Token, never> {
  const seed = createHash('sha256')
    .update(`${speaker.digest} ${choice} ${prompt.join(' ')}`)
    .digest();
  yield { id: TAGS_AT + seed.readUInt16LE(0), text: tagOf(speaker) };
  for (let i = 0; ; i += 1) {
    // The seed's bytes walk the list of words; `i` keeps a long answer from repeating the same 30 words.
    const word = ((seed[2 + (i % 30)] ?? 0) + i) % WORDS.length;
    yield { id: WORDS_AT + word, text: WORDS[word] ?? '' };
  }
}

/** A log probability in (-4, 0), the same for the same weights, token and place. */
export function logprobOf(digest: string, id: number, place: number): number {
  const mix = Math.imul(Number.parseInt(digest.slice(0, 8), 16) ^ (id * 2654435761), 40503) + place * 97;
  return -((mix >>> 0) % 3989) / 1000 - 0.001;
}

/** A vector of length 1 that follows from the weights and the text. */
export function embed(digest: string, tokens: readonly number[], dimensions: number): number[] {
  const seed = createHash('sha512')
    .update(`${digest} ${tokens.join(' ')}`)
    .digest();
  const raw = Array.from({ length: dimensions }, (_, i) => (seed[i % seed.length] ?? 0) - 127.5);
  const length = Math.hypot(...raw);
  return raw.map((value) => value / length);
}

/** The base's stand-in for a digest of weights. */
export const digestOfBase = (name: string): string => createHash('sha256').update(`base ${name}`).digest('hex');
