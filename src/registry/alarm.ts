// When a loop goes on: at a time that may be brought nearer while it sleeps. Monotonic milliseconds.

export class Alarm {
  #dueMs = 0;
  #wake: () => void = () => {};

  /** Whatever was due before. */
  set(atMs: number): void {
    this.#dueMs = atMs;
    this.#wake();
  }

  /** Then at the latest. */
  by(atMs: number): void {
    if (atMs < this.#dueMs) this.set(atMs);
  }

  /** Resolves when it is due, or when `signal` aborts. */
  async sleep(signal: AbortSignal): Promise<void> {
    const onAbort = () => this.#wake();
    signal.addEventListener('abort', onAbort);
    while (!signal.aborted) {
      const waitMs = this.#dueMs - performance.now();
      if (waitMs <= 0) break;
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, Math.ceil(waitMs));
        this.#wake = () => {
          clearTimeout(timer);
          resolve();
        };
      });
    }
    signal.removeEventListener('abort', onAbort);
  }
}
