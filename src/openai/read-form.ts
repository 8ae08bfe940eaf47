// Reads a form only as far as its `model` part, and gives the rest to whoever sends it on, so that no upload is held whole. Bounded in bytes,
// with all that follows. Where the model comes last, all before it is held: clients should send it first.
import type { IncomingMessage } from 'node:http';
import { StepgateError } from '../errors.ts';
import { type FormModel, FormScanner } from './form.ts';
import { bodyTooLarge, callerLeft } from './read-body.ts';
import type { BodyLimits } from './read-request.ts';

export interface Form {
  /** Undefined: the form has none, and is in `head` whole. */
  readonly model: FormModel | undefined;
  /** All bytes up to where it was read. */
  readonly head: Buffer;
  readonly rest: Upload;
}

/** Errors: body_too_large, no_capacity, client_closed, and those of FormScanner. The rest stays unread: see `Upload`. */
export async function readForm(incoming: IncomingMessage, boundary: string, limits: BodyLimits): Promise<Form> {
  const { bytesMax, held } = limits;
  const declared = incoming.headers['content-length'];
  if (Number(declared ?? 0) > bytesMax) throw bodyTooLarge(bytesMax);
  const scanner = new FormScanner(boundary);
  const upload = new Upload(incoming, scanner, bytesMax);
  const chunks: Buffer[] = [];
  for await (const chunk of upload.chunks()) {
    held.grow(chunk.length);
    chunks.push(chunk);
    if (scanner.model !== undefined) break;
  }
  return { model: scanner.model, head: Buffer.concat(chunks), rest: upload };
}

/** The part of a caller's body that is still on its way. */
export class Upload {
  readonly #incoming: IncomingMessage;
  readonly #scanner: FormScanner;
  readonly #bytesMax: number;
  #bytes = 0;
  /** It is on its way to an engine, or has been: it cannot be sent again. */
  sent = false;

  constructor(incoming: IncomingMessage, scanner: FormScanner, bytesMax: number) {
    this.#incoming = incoming;
    this.#scanner = scanner;
    this.#bytesMax = bytesMax;
    // A caller that leaves while nobody reads must not end the process.
    incoming.on('error', () => {});
  }

  /** The length of the body that begins with these pieces, as a header, where the caller has said how long its own is. */
  lengthWith(pieces: readonly Buffer[]): { 'content-length': string } | undefined {
    const declared = this.#incoming.headers['content-length'];
    if (declared === undefined) return undefined;
    const left = Number(declared) - this.#bytes;
    return { 'content-length': String(pieces.reduce((sum, piece) => sum + piece.length, left)) };
  }

  /** For the engine, once. */
  async *send(): AsyncGenerator<Buffer, void> {
    this.sent = true;
    yield* this.chunks();
  }

  /** Goes on where it was left. Throws body_too_large, client_closed and what FormScanner throws. */
  async *chunks(): AsyncGenerator<Buffer, void> {
    if (this.#incoming.destroyed && !this.#incoming.complete) throw callerLeft();
    try {
      for await (const chunk of this.#incoming.iterator({ destroyOnReturn: false }) as AsyncIterable<Buffer>) {
        this.#bytes += chunk.length;
        if (this.#bytes > this.#bytesMax) throw bodyTooLarge(this.#bytesMax);
        this.#scanner.push(chunk);
        yield chunk;
      }
    } catch (thrown) {
      throw thrown instanceof StepgateError ? thrown : callerLeft();
    }
  }

  /** Reads what nobody wants and throws it away: cut off while it writes, a caller would never see its answer. */
  drain(): void {
    this.#incoming.resume();
  }
}
