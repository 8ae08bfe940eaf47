// The router's one entrance: everything that can happen, as data. Times are monotonic milliseconds and come as `now` beside the event.
import type {
  AdapterId,
  BackendName,
  BaseName,
  CheckpointId,
  ModelName,
  RequestClass,
  ReservationId,
  SweepId,
  TenantId,
  TicketId,
} from '../domain.ts';
import type { RouterOptions } from './options.ts';

/** An adapter as engines must be able to take it: on this base, and with this rank. */
export interface AdapterTarget {
  readonly kind: 'adapter';
  readonly adapter: AdapterId;
  readonly model: ModelName;
  readonly base: BaseName;
  readonly rank: number;
  /** No files of it are here: only services that find it by its name serve it. */
  readonly hosted?: boolean | undefined;
}

/** What a request needs: a base alone, or an adapter on that base. */
export type Target = { readonly kind: 'base'; readonly base: BaseName } | AdapterTarget;

/** Slots kept free of everybody else: for one adapter, for a model's adapters, for `latest` of a model, or for the requests of a class. */
export type ReservedFor =
  | { readonly kind: 'adapter'; readonly target: AdapterTarget }
  | { readonly kind: 'model'; readonly model: ModelName; readonly base: BaseName }
  /** Its newest checkpoint, and the next one that loads beside it. `newest`: where the name leads now, to be loaded ahead; undefined: not known. */
  | {
      readonly kind: 'latest';
      readonly model: ModelName;
      readonly base: BaseName;
      readonly newest?: AdapterTarget | undefined;
    }
  | { readonly kind: 'class'; readonly class: RequestClass };

export interface Reservation {
  readonly id: ReservationId;
  readonly for: ReservedFor;
  /** Over the whole fleet. */
  readonly slots: number;
}

/** How a dispatched request ended. */
export type Outcome =
  | 'done'
  /** The engine answered 4xx: its caller's doing. */
  | 'declined'
  /** It broke off, was too late, spoke no HTTP, or answered 502 to 504. */
  | 'failed'
  /** It answered 500 or the like: its own failure, or that of what was asked. */
  | 'erred'
  /** The following may be dispatched once more, since nothing reached the caller. 404 for an adapter that the engine should hold. */
  | 'missing'
  /** No connection: nothing was sent. */
  | 'refused'
  /** 429, before the engine began. */
  | 'busy'
  /** 503, likewise. */
  | 'unavailable';

export type RouterEvent =
  /** A request wants an answer. Its ticket ends exactly once: by `ended`, `cancelled`, or the effect `reject`. */
  | {
      readonly type: 'arrived';
      readonly ticket: TicketId;
      readonly target: Target;
      readonly class: RequestClass;
      readonly tenant: TenantId;
      /** The route that it asks for, as engines have it; undefined: one that all have. */
      readonly route?: string | undefined;
      /** A hash (32 bits, unsigned) of its session, else of how its prompt begins: requests that share it do well on one engine. Undefined: none, or
       *  not worth computing, since one engine at most holds what is asked for. */
      readonly affinity: number | undefined;
      /** The engine that has what it goes on from: chosen while it holds what is asked for. */
      readonly near?: BackendName | undefined;
    }
  /** Its caller left, waiting or running. */
  | { readonly type: 'cancelled'; readonly ticket: TicketId }
  /** `gone`: of one that is `missing`, why it will not be there when it is loaded again either, for people. */
  | { readonly type: 'ended'; readonly ticket: TicketId; readonly outcome: Outcome; readonly gone?: string | undefined }
  | { readonly type: 'loaded'; readonly backend: BackendName; readonly adapter: AdapterId }
  /** `fault` says whose: the adapter's (no use trying again soon) or the backend's. The adapter is known not to be loaded. */
  | {
      readonly type: 'loadFailed';
      readonly backend: BackendName;
      readonly adapter: AdapterId;
      readonly fault: 'adapter' | 'backend';
      readonly message: string;
    }
  | { readonly type: 'unloaded'; readonly backend: BackendName; readonly adapter: AdapterId }
  /** The adapter is known to be loaded still. */
  | { readonly type: 'unloadFailed'; readonly backend: BackendName; readonly adapter: AdapterId }
  /** An engine answers; of one that is up: another engine answers in its place. `adapters` are those of ours that it lists, under the right root. */
  | {
      readonly type: 'backendUp';
      readonly backend: BackendName;
      readonly bases: readonly BaseName[];
      /** Distinct adapters that it can run at once (vLLM's max_loras). */
      readonly slots: number;
      /** Requests that it is to run at once; undefined: to be learned from its gauges. */
      readonly runningMax?: number | undefined;
      /** The largest rank that it loads; undefined: not known, so it is tried. */
      readonly rankMax: number | undefined;
      /** Of a service that finds checkpoints by their names: the models whose names it knows. It is given those alone, files or not. */
      readonly models?: ReadonlySet<ModelName> | undefined;
      /** The routes that it has; undefined: all. */
      readonly routes?: ReadonlySet<string> | undefined;
      /** Unix seconds of its process's start: another value is another process. Undefined: it does not say, so it may be. */
      readonly startedAt?: number | undefined;
      readonly adapters: readonly AdapterId[];
    }
  /** An engine is gone, or came back as another process: it holds nothing any more. `died`: its process has ended for sure, which may be learned
   *  while it is down already. */
  | { readonly type: 'backendDown'; readonly backend: BackendName; readonly died?: boolean | undefined }
  /** It is in the config no more: forgotten, though requests may still run there. */
  | { readonly type: 'backendGone'; readonly backend: BackendName }
  /** Nothing new goes there until `uncordoned`, up or down: no request, no load. What runs there ends as it would; what it holds stays. */
  | { readonly type: 'cordoned'; readonly backend: BackendName }
  | { readonly type: 'uncordoned'; readonly backend: BackendName }
  /** The router goes by other options from now on. Who waits is judged by them anew. */
  | { readonly type: 'configured'; readonly options: Omit<RouterOptions, 'policy'> }
  /** True residency, as listed by the engine in answer to a question put at `askedAt`; undefined: it lists nothing. */
  | {
      readonly type: 'observed';
      readonly backend: BackendName;
      readonly askedAt: number;
      readonly slots: number;
      readonly adapters: readonly AdapterId[] | undefined;
      /** Requests that run in the engine, and those that wait in its own queue; undefined: it does not say. */
      readonly gauges?: { readonly running: number; readonly waiting: number } | undefined;
    }
  /** A newer checkpoint of a model whose `latest` moves when it is warm: load it, then `promote`. Replaces an earlier one that still waits. */
  | {
      readonly type: 'published';
      readonly model: ModelName;
      readonly checkpoint: CheckpointId;
      readonly target: AdapterTarget;
    }
  /** Its checkpoint was deleted or replaced: unload wherever it is, once its last request has ended. */
  | { readonly type: 'retired'; readonly adapter: AdapterId }
  /** A sweep says what it has still to ask for, in the order in which it will; `requests` of 0: nothing any more. Replaces what it said before. */
  | {
      readonly type: 'announced';
      readonly sweep: SweepId;
      readonly expected: readonly { readonly target: AdapterTarget; readonly requests: number }[];
    }
  /** It is over, or was given up. */
  | { readonly type: 'withdrawn'; readonly sweep: SweepId }
  /** Keep these slots until `released`; replaces what was reserved under that id. One that would be over-committed was refused before it came here. */
  | { readonly type: 'reserved'; readonly reservation: Reservation }
  | { readonly type: 'released'; readonly reservation: ReservationId }
  /** Somebody wants an adapter under quarantine to be tried again now. */
  | { readonly type: 'retry'; readonly adapter: AdapterId }
  /** Asked for by `wakeAt`. */
  | { readonly type: 'tick' };
