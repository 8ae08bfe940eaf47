// The seam between the gateway and one kind of engine. A driver does IO and nothing else: it neither remembers nor decides.
// A new engine is one file that satisfies `Driver` and one row in `drivers.ts`.
import type { Adapter, AdapterId, BaseModel } from '../domain.ts';

/** What an engine says of itself when asked. */
export interface Probe {
  readonly bases: readonly BaseModel[];
  /** Registered adapters: engine name -> the path it was loaded from, as the engine tells it. */
  readonly adapters: ReadonlyMap<string, string>;
  /** Distinct adapters that it runs at once; undefined while it has not said. */
  readonly slots: number | undefined;
  /** Unix seconds of the process's start; another value means another process. Undefined where the engine does not say. */
  readonly startedAt: number | undefined;
  readonly version: string | undefined;
  readonly running: number;
  readonly waiting: number;
}

/** What answers is there, and says that the engine behind it has ended. */
export class EngineDied extends Error {
  override readonly name = 'EngineDied';
}

/** `note`: a sentence for people when the number is a guess, or useless. */
export interface Slots {
  readonly slots: number;
  readonly note: string | undefined;
}

/** `unknown`: no answer that settles it (timeout, reset): ask `probe` before the name is used again. */
export type LoadOutcome =
  | { readonly kind: 'loaded' }
  /** `unsent`: there was no connection, so that the engine heard nothing of it. */
  | {
      readonly kind: 'failed';
      readonly fault: 'adapter' | 'backend';
      readonly message: string;
      readonly unsent?: boolean;
    }
  | { readonly kind: 'unknown'; readonly message: string };

export type UnloadOutcome =
  | { readonly kind: 'unloaded' }
  | { readonly kind: 'failed'; readonly message: string }
  | { readonly kind: 'unknown'; readonly message: string };

export interface Driver {
  /** Rejects with a sentence for people when the engine is not up, or is no engine of this kind. */
  probe(signal: AbortSignal): Promise<Probe>;
  /** For when `probe` said no slots: makes the engine tell, at the price of one small request, else guesses. Never rejects. */
  learnSlots(probe: Probe, signal: AbortSignal): Promise<Slots>;
  /** Never rejects. Idempotent: already loaded from the same path is `loaded`. */
  load(adapter: Adapter, signal: AbortSignal): Promise<LoadOutcome>;
  /** Never rejects. Idempotent: not loaded is `unloaded`. */
  unload(adapter: AdapterId, signal: AbortSignal): Promise<UnloadOutcome>;
}
