// What the gateway tells people as it happens: one line in the log, one event on GET /admin/v1/events, one line of the demo.
// Types and a bounded fan-out; nothing here decides anything.
import type { AdapterId, BackendName, CheckpointName, ModelName, ReservationId, Why } from './domain.ts';

export type Happening =
  | { readonly type: 'backend'; readonly backend: BackendName; readonly state: 'up' | 'down'; readonly about: string }
  /** Somebody drains it, or has taken that back. */
  | { readonly type: 'cordon'; readonly backend: BackendName; readonly cordoned: boolean; readonly who: string }
  /** The config was read anew; `changes` keys differ. */
  | { readonly type: 'reloaded'; readonly changes: number; readonly who: string }
  /** Requests showed how an engine fares: nothing new is placed there, one at a time is, or all are again. */
  | {
      readonly type: 'standing';
      readonly backend: BackendName;
      readonly standing: 'whole' | 'ejected' | 'trial';
      readonly about: string;
    }
  /** Engines died of an adapter: it is loaded nowhere, on one engine, or is free. */
  | {
      readonly type: 'quarantine';
      readonly adapter: AdapterId;
      readonly phase: 'kept' | 'trial' | 'over';
      readonly about: string;
    }
  | {
      readonly type: 'registered';
      readonly checkpoint: CheckpointName;
      readonly revision: number;
      readonly source: string;
    }
  /** An adapter is fetched from elsewhere, or the fetch has ended; `about`: why it failed. */
  | {
      readonly type: 'source';
      readonly source: string;
      readonly phase: 'begun' | 'fetched' | 'broken_off' | 'refused';
      readonly bytes?: number;
      readonly about?: string;
    }
  | { readonly type: 'unservable'; readonly checkpoint: CheckpointName; readonly reasons: readonly string[] }
  | { readonly type: 'deleted'; readonly checkpoint: CheckpointName }
  | { readonly type: 'patched'; readonly checkpoint: CheckpointName }
  /** A name leads elsewhere from now on: an alias, `latest` or `best`; undefined: nowhere. */
  | {
      readonly type: 'moved';
      readonly model: ModelName;
      readonly alias: string;
      readonly checkpoint: CheckpointName | undefined;
      readonly by: string;
    }
  /** Slots are kept for `what` from now on: `my-model@5`, `model my-model`, `latest my-model`, `class eval`. */
  | {
      readonly type: 'reserved';
      readonly reservation: ReservationId;
      readonly what: string;
      readonly slots: number;
      readonly owner: string;
    }
  | {
      readonly type: 'released';
      readonly reservation: ReservationId;
      readonly what: string;
      readonly why: 'removed' | 'expired' | 'deleted';
    }
  /** An engine is warm with it, and `latest` may lead there. */
  | { readonly type: 'promoted'; readonly model: ModelName; readonly checkpoint: CheckpointName }
  | { readonly type: 'load' | 'unload'; readonly backend: BackendName; readonly adapter: AdapterId; readonly why: Why }
  | {
      readonly type: 'loaded' | 'unloaded';
      readonly backend: BackendName;
      readonly adapter: AdapterId;
      readonly tookMs: number;
    }
  | { readonly type: 'loadFailed'; readonly backend: BackendName; readonly adapter: AdapterId; readonly about: string }
  | {
      readonly type: 'answered';
      /** What the caller asked for and what it got: `my-model` -> `my-model@40`. */
      readonly asked: string;
      readonly model: string;
      readonly backend: BackendName | undefined;
      readonly why: Why | undefined;
      readonly status: number;
      readonly waitedMs: number;
      readonly tookMs: number;
    };

export type Listener = (happening: Happening) => void;

/** Fan-out to whoever listens now; nobody listening costs a size check. A listener must not throw or block. */
export class Journal {
  readonly #listeners = new Set<Listener>();

  get listeners(): number {
    return this.#listeners.size;
  }

  get heard(): boolean {
    return this.#listeners.size > 0;
  }

  tell(happening: Happening): void {
    for (const listener of this.#listeners) listener(happening);
  }

  /** Returns the way to stop listening. */
  listen(listener: Listener): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }
}
