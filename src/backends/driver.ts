// The seam between the gateway and one kind of engine. A driver does IO and nothing else: it neither remembers nor decides.
// A new engine is one file that satisfies `Driver` and one row in `drivers.ts`.
import type { AdapterId, BaseModel, BaseName, Checkpoint, Weights } from '../domain.ts';
import type { EngineError } from '../openai/engine-error.ts';

/** What an engine says of itself when asked. */
export interface Probe {
  readonly bases: readonly BaseModel[];
  /** Registered adapters: engine name -> the path it was loaded from, as the engine tells it. Undefined: this kind does not say. */
  readonly adapters: ReadonlyMap<string, string> | undefined;
  /** Distinct adapters that it runs at once; undefined while it has not said. */
  readonly slots: number | undefined;
  /** Unix seconds of the process's start; another value means another process. Undefined where the engine does not say. */
  readonly startedAt: number | undefined;
  readonly version: string | undefined;
  /** Requests that it runs, and those in its own queue; undefined: it does not say. */
  readonly running: number | undefined;
  readonly waiting: number | undefined;
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

/** For a kind that loads files. The router asks for no such load. */
export const WITHOUT_FILES: LoadOutcome = {
  kind: 'failed',
  fault: 'backend',
  message: 'no files of it are in the store, so that the engine cannot load it',
};

export type UnloadOutcome =
  | { readonly kind: 'unloaded' }
  | { readonly kind: 'failed'; readonly message: string }
  | { readonly kind: 'unknown'; readonly message: string };

/** What a request is for. */
export interface Wanted {
  readonly base: BaseName;
  /** Undefined: the base itself. */
  readonly checkpoint: Checkpoint | undefined;
}

/** How the kind of an engine speaks of models, apart from loads: all of it pure, and the same for as long as it is in the config. */
export interface Dialect {
  /** What `model` is to be in a request for it. Asked for at each dispatch. */
  modelOf(wanted: Wanted): string;
  /** Members that a request's body must have besides, whatever its caller wrote; left out: none. */
  membersOf?(wanted: Wanted): Readonly<Record<string, string | null>>;
  /** The answers' `model` is what was asked for (but where routes.ts says otherwise); else it may be anything. */
  readonly echoes: boolean;
  /** Of the routes of routes.ts, those that it has and on which it obeys the adapter's name; undefined: all. */
  readonly routes: ReadonlySet<string> | undefined;
  /** Which of its error answers say that it does not have the model that was asked for. */
  readonly unknownModel: UnknownModel;
}

export interface UnknownModel {
  /** Only answers of these statuses are looked at. */
  readonly statuses: readonly number[];
  says(error: EngineError, status: number): boolean;
  /** To load it again mends that; else it never will be there. */
  readonly isForgotten: boolean;
}

export interface Driver extends Dialect {
  /** Rejects with a sentence for people when the engine is not up, or is no engine of this kind. */
  probe(signal: AbortSignal): Promise<Probe>;
  /** For when `probe` said no slots: makes the engine tell, at the price of one small request, else guesses. Never rejects. */
  learnSlots(probe: Probe, signal: AbortSignal): Promise<Slots>;
  /** Never rejects. Idempotent: already loaded from the same path is `loaded`. */
  load(weights: Weights, signal: AbortSignal): Promise<LoadOutcome>;
  /** Never rejects. Idempotent: not loaded is `unloaded`. */
  unload(adapter: AdapterId, signal: AbortSignal): Promise<UnloadOutcome>;
}
