// Answers of /v1/responses that the engine keeps in memory for as long as it lives, and those that it makes in the background, for a caller
// that may be gone. As vLLM with VLLM_ENABLE_RESPONSES_API_STORE=1: nothing is ever removed.
import { PassThrough, type Writable } from 'node:stream';
import type { Exchange } from './exchange.ts';

export class Kept {
  readonly exchange: Exchange;
  /** Where an answer in the background is written; undefined for one that its caller waited for. */
  readonly background: Background | undefined;

  constructor(exchange: Exchange) {
    this.exchange = exchange;
    this.background = exchange.ask.background ? new Background() : undefined;
  }

  get isOver(): boolean {
    return this.exchange.choices.every(({ finish }) => finish !== undefined);
  }

  cancel(): void {
    for (const choice of this.exchange.choices) choice.finish ??= 'abort';
    this.background?.destroy();
  }
}

/** A caller that reads everything, remembers it, and never leaves unless it is destroyed. */
export class Background extends PassThrough {
  readonly #sent: Buffer[] = [];

  constructor() {
    super();
    this.on('data', (chunk: Buffer) => this.#sent.push(chunk));
  }

  /** From the first byte on. */
  follow(reader: Writable): void {
    for (const chunk of this.#sent) reader.write(chunk);
    if (this.readableEnded || this.destroyed) return void reader.end();
    const pass = (chunk: Buffer) => reader.write(chunk);
    this.on('data', pass).once('close', () => reader.end());
    reader.once('close', () => this.off('data', pass));
  }
}
