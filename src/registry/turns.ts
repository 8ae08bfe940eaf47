// One piece of work at a time for each key: the next one waits for the last.

export class Turns<K> {
  readonly #last = new Map<K, Promise<unknown>>();

  async take<T>(key: K, work: () => Promise<T>): Promise<T> {
    const turn = (this.#last.get(key) ?? Promise.resolve()).then(work, work);
    this.#last.set(key, turn);
    try {
      return await turn;
    } finally {
      if (this.#last.get(key) === turn) this.#last.delete(key);
    }
  }

  /** Resolves when all that were asked for by now have ended, however they ended. */
  async settled(): Promise<void> {
    await Promise.allSettled(this.#last.values());
  }
}
