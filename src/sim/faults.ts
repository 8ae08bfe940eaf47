// What a test can make the simulated engine do wrong, and where. Queues of faults per door; carrying them out is the server's.

/** The routes that faults are hung on; `inference` is every route that takes a model's name. */
export type Door = 'load' | 'unload' | 'models' | 'metrics' | 'health' | 'inference';

export type Fault =
  /** Answer this instead, and do nothing. */
  | { readonly kind: 'status'; readonly status: number; readonly body?: unknown }
  /** Do nothing and never answer. */
  | { readonly kind: 'hang' }
  /** Do nothing and reset the connection. */
  | { readonly kind: 'reset' }
  /** Do nothing and send bytes that are no HTTP. */
  | { readonly kind: 'garbage' }
  /** Do it, but this much later. A load that is late stalls all decoding meanwhile. */
  | { readonly kind: 'late'; readonly ms: number }
  /** Do it, and reset the connection instead of answering. */
  | { readonly kind: 'lost' }
  /** In a stream, after so many tokens: reset it (`cut`), end it without [DONE] (`end`), send no more (`stall`), or say in it that the
   *  engine failed (`error`). Not streamed, after so many tokens: the same, before any byte (`end` and `error` are a 500). */
  | { readonly kind: 'cut' | 'end' | 'stall' | 'error'; readonly afterTokens: number };

export class Faults {
  readonly #queues = new Map<Door, { fault: Fault; times: number }[]>();

  /** Waits behind earlier ones of the same door; `times` may be Infinity. */
  add(door: Door, fault: Fault, times: number): void {
    const queue = this.#queues.get(door) ?? [];
    queue.push({ fault, times });
    this.#queues.set(door, queue);
  }

  take(door: Door): Fault | undefined {
    const queue = this.#queues.get(door);
    const [next] = queue ?? [];
    if (!queue || !next) return undefined;
    next.times -= 1;
    if (next.times <= 0) queue.shift();
    return next.fault;
  }

  /** How many times somebody is still to meet one. */
  get left(): number {
    return [...this.#queues.values()].flat().reduce((total, { times }) => total + times, 0);
  }

  clear(): void {
    this.#queues.clear();
  }
}
