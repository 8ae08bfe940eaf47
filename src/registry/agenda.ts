// Which steps are looked at next. What was announced last comes first, since that is the newest; what the file system announces waits
// for the next turn, so that many writes make one look. Names only, no time.

export class Agenda {
  /** May name one twice; the set says which of them still are to be looked at. */
  readonly #stack: string[] = [];
  readonly #pending = new Set<string>();
  readonly #heard = new Set<string>();

  /** Whether anything is to be looked at in this turn. */
  get empty(): boolean {
    return this.#pending.size === 0;
  }

  has(entry: string): boolean {
    return this.#pending.has(entry);
  }

  announce(entry: string): void {
    this.#pending.add(entry);
    this.#stack.push(entry);
  }

  /** For the next turn. */
  hear(entry: string): void {
    this.#heard.add(entry);
  }

  /** A turn begins: what was heard comes before all else. */
  announceHeard(): void {
    for (const entry of this.#heard) this.announce(entry);
    this.#heard.clear();
  }

  forget(entry: string): void {
    this.#pending.delete(entry);
    this.#heard.delete(entry);
  }

  take(countMax: number): readonly string[] {
    const taken: string[] = [];
    while (taken.length < countMax && this.#pending.size > 0) {
      const entry = this.#stack.pop();
      if (entry !== undefined && this.#pending.delete(entry)) taken.push(entry);
    }
    if (this.#pending.size === 0) this.#stack.length = 0;
    return taken;
  }
}
