// Frees what the adapter store no longer needs: at start, after each deletion or replacement, and now and then. It decides only how long
// to wait: an engine that re-reads an adapter whose files are gone dies, so content goes no sooner than a request's longest life after an
// engine was last seen to hold it, or a request to need it. What is needed by name is the registry's to say.
import { basename } from 'node:path';
import type { Logger } from 'pino';
import type { Fleet } from './fleet.ts';
import type { RouterState } from './router/state.ts';

export interface StoreKeeperParts {
  /** Removes all content that neither a checkpoint nor `inUse` (adapter ids, digests) needs; resolves with the bytes freed. */
  readonly sweep: (inUse: ReadonlySet<string>) => Promise<number>;
  /** The adapter ids and digests that engines or requests may still read now. */
  readonly inUse: () => Iterable<string>;
  /** Whether every engine has said what it holds. */
  readonly allSeen: () => boolean;
  /** The longest life of a request. Read at each use: it may change. */
  readonly graceMs: number;
  /** Monotonic, ms. */
  readonly nowMs: () => number;
  readonly log: Logger;
}

export class StoreKeeper {
  readonly #parts: StoreKeeperParts;
  readonly #startedAtMs: number;
  /** Adapter id or digest -> when it was last seen in use. */
  readonly #usedAtMs = new Map<string, number>();
  #timer: NodeJS.Timeout | undefined;
  #sweeping: Promise<void> | undefined;
  #again = false;

  constructor(parts: StoreKeeperParts) {
    this.#parts = parts;
    this.#startedAtMs = parts.nowMs();
  }

  /** Sweeps now and every `graceMs`. */
  start(): void {
    this.#timer ??= setInterval(() => this.sweep(), this.#parts.graceMs).unref();
    void this.sweep();
  }

  /** To be called where something was deleted or replaced: what is in use at this moment is remembered. Resolves when the store was
   *  swept; calls during a sweep share the next one. Never rejects. */
  sweep(): Promise<void> {
    this.#look();
    if (this.#sweeping !== undefined) {
      this.#again = true;
      return this.#sweeping;
    }
    this.#sweeping = this.#run().finally(() => {
      this.#sweeping = undefined;
    });
    return this.#sweeping;
  }

  async #run(): Promise<void> {
    const { sweep, allSeen, graceMs, nowMs, log } = this.#parts;
    do {
      this.#again = false;
      // An engine that has not answered since the start may hold anything, but runs no request of ours that is older than the start.
      if (!allSeen() && nowMs() - this.#startedAtMs < graceMs) return;
      this.#look();
      try {
        const bytes = await sweep(new Set(this.#usedAtMs.keys()));
        if (bytes > 0) log.info({ bytes }, 'adapter store swept');
      } catch (error) {
        log.error({ err: error }, 'adapter store could not be swept');
      }
    } while (this.#again);
  }

  #look(): void {
    const { inUse, graceMs, nowMs } = this.#parts;
    const now = nowMs();
    for (const digest of inUse()) this.#usedAtMs.set(digest, now);
    for (const [digest, usedAtMs] of this.#usedAtMs) if (now - usedAtMs >= graceMs) this.#usedAtMs.delete(digest);
  }

  async close(): Promise<void> {
    clearInterval(this.#timer);
    await this.#sweeping;
  }
}

/** What must stay readable, by adapter id or digest: what engines hold, load or have listed, and what requests wait for or run on. */
export function* inUse(router: RouterState, fleet: Fleet): Iterable<string> {
  yield* router.lines.keys();
  for (const { held } of router.backends.values()) yield* held.keys();
  for (const { target } of router.tickets.values()) if (target.kind === 'adapter') yield target.adapter;
  // Also while an engine is down: it may only be out of reach. And under names that no live checkpoint has any more.
  for (const { backend } of fleet.members.values())
    for (const root of backend.sighting?.adapters?.values() ?? []) yield basename(root);
}
