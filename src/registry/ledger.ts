// The one way in which the registry changes: memory, disk and news in step. A writing is applied to the catalog, written down together with
// the moves of `latest` and `best` that it causes, and told; where the disk refuses, the catalog is put back and nobody hears of it.
// It does not judge what is written.
import type { ModelName } from '../domain.ts';
import type { Catalog } from './catalog.ts';
import type { RegistryChange } from './options.ts';
import type { Change, Move, Store } from './store.ts';

/** What a writing did to the catalog. */
export interface Applied<T> {
  readonly value: T;
  readonly changes: readonly Change[];
  readonly news: readonly RegistryChange[];
  /** Puts the catalog back. */
  readonly undo: () => void;
}

export interface Writing<T> {
  readonly model: ModelName;
  /** Who is written into the history for the moves that it causes. */
  readonly who: string;
  /** Synchronous, and all or nothing: where it throws it has changed nothing. */
  readonly apply: () => Applied<T>;
}

interface Entry<T> extends Applied<T> {
  readonly moves: readonly Move[];
}

/** A writing that waits for the next flush. */
interface Queued {
  /** Throws what `apply` throws. */
  readonly apply: () => { readonly entry: Entry<unknown>; readonly done: () => void };
  readonly fail: (error: unknown) => void;
}

export interface LedgerParts {
  readonly catalog: Catalog;
  readonly rows: Store;
  readonly nowMs: () => number;
  readonly tell: (change: RegistryChange) => void;
}

export class Ledger {
  readonly #parts: LedgerParts;
  #queue: Queued[] = [];

  constructor(parts: LedgerParts) {
    this.#parts = parts;
  }

  /** Durable when it returns. Throws storage_full, and what `apply` throws. */
  write<T>(writing: Writing<T>): T {
    const entry = this.#apply(writing);
    this.#commit([entry]);
    return entry.value;
  }

  /** Durable when it resolves. What is asked for in one turn of the event loop shares one sync of the disk. */
  writeSoon<T>(writing: Writing<T>): Promise<T> {
    return new Promise((resolve, reject) => {
      if (this.#queue.length === 0) setImmediate(() => this.#flush());
      const apply = () => {
        const entry = this.#apply(writing);
        return { entry, done: () => resolve(entry.value) };
      };
      this.#queue.push({ apply, fail: reject });
    });
  }

  #flush(): void {
    const queue = this.#queue;
    this.#queue = [];
    const applied: { entry: Entry<unknown>; done: () => void; fail: Queued['fail'] }[] = [];
    for (const { apply, fail } of queue) {
      try {
        applied.push({ ...apply(), fail });
      } catch (error) {
        fail(error);
      }
    }
    try {
      this.#commit(applied.map(({ entry }) => entry));
      for (const { done } of applied) done();
    } catch (error) {
      for (const { fail } of applied) fail(error);
    }
  }

  #apply<T>({ model, who, apply }: Writing<T>): Entry<T> {
    const before = this.#pointers(model);
    const applied = apply();
    const after = this.#pointers(model);
    const atMs = this.#parts.nowMs();
    const moves = (['latest', 'best'] as const)
      .filter((alias) => before[alias] !== after[alias])
      .map((alias): Move => ({ model, alias, from: before[alias], to: after[alias], atMs, by: who }));
    return { ...applied, moves };
  }

  #pointers(model: ModelName) {
    const { catalog } = this.#parts;
    return { latest: catalog.latest(model)?.step, best: catalog.best(model)?.step };
  }

  #commit(entries: readonly Entry<unknown>[]): void {
    const { rows, catalog, tell } = this.#parts;
    try {
      rows.commit(
        entries.flatMap(({ changes, moves }) => [
          ...changes,
          ...moves.map((move) => ({ kind: 'moved', move }) as const),
        ]),
      );
    } catch (error) {
      for (const { undo } of entries.toReversed()) undo();
      throw error;
    }
    for (const { news, moves } of entries) {
      for (const change of news) tell(change);
      for (const { model, alias, to, by } of moves) {
        const checkpoint = to === undefined ? undefined : catalog.find(`${model}@${to}`);
        tell({ kind: 'moved', model, alias, checkpoint, by });
      }
    }
  }
}
