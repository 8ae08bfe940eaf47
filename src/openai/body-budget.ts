// How many bytes of callers' bodies are held in memory, over all requests: counted as they come, refused where there is no room for more.
// Additions and comparisons only; it must not look into the bytes.
import { StepgateError } from '../errors.ts';

export class BodyBudget {
  /** Held now. */
  bytes = 0;
  readonly #bytesMax: () => number;

  constructor(bytesMax: () => number) {
    this.#bytesMax = bytesMax;
  }

  hasRoom(bytes: number): boolean {
    return this.bytes + bytes <= this.#bytesMax();
  }
}

/** What one request holds of it. */
export class Held {
  readonly #budget: BodyBudget;
  #bytes = 0;

  constructor(budget: BodyBudget) {
    this.#budget = budget;
  }

  /** Before a body is read: what was only announced is not counted, or callers that never send would use it up. @throws StepgateError no_capacity */
  announce(bytes: number): void {
    if (!this.#budget.hasRoom(bytes)) throw this.#full();
  }

  /** @throws StepgateError no_capacity, and nothing was counted */
  grow(bytes: number): void {
    if (!this.#budget.hasRoom(bytes)) throw this.#full();
    this.#budget.bytes += bytes;
    this.#bytes += bytes;
  }

  /** The bytes are needed no more. Again: nothing. */
  release(): void {
    this.#budget.bytes -= this.#bytes;
    this.#bytes = 0;
  }

  #full(): StepgateError {
    const message = `the bodies of other requests take ${this.#budget.bytes} bytes already (limits.bufferedBytesMax); send it again later`;
    return new StepgateError('no_capacity', message);
  }
}
