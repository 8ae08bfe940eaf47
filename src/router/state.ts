// What the router knows: backends, what each holds, who waits, who runs. Plain records with one owner (router.ts); queries only, no decisions.
import type {
  AdapterId,
  BackendName,
  BaseName,
  CheckpointId,
  ModelName,
  RequestClass,
  TenantId,
  TicketId,
  Why,
} from '../domain.ts';
import { TicketTable } from '../ticket-table.ts';
import { Demand } from './demand.ts';
import type { AdapterTarget, Target } from './events.ts';

/** Residency of one adapter on one backend; no record means `absent`. */
export type Residency =
  | { readonly state: 'loading'; readonly since: number; readonly why: Why }
  | { readonly state: 'ready'; readonly since: number; readonly why: Why }
  /** No new requests; unloaded once its leases have ended (`unloading`: asked for). `heir` is the adapter that gets the slot. */
  | {
      readonly state: 'draining';
      readonly since: number;
      readonly why: Why;
      readonly unloading: boolean;
      readonly heir: AdapterId | undefined;
    };

/** One slot in use. Requests in flight point to this record, so that a lease never counts against a later loading of the same name. */
export interface Held {
  readonly adapter: AdapterId;
  residency: Residency;
  leases: number;
  lastUsedAt: number;
}

export interface BackendState {
  readonly name: BackendName;
  up: boolean;
  bases: ReadonlySet<BaseName>;
  slots: number;
  rankMax: number | undefined;
  readonly held: Map<AdapterId, Held>;
  /** What a load has taken lately, ms: an exponential average. */
  loadMs: number;
  /** Requests running there, with and without an adapter. */
  inFlight: number;
  /** Why each slot that is free now was emptied, last one last: the load that takes it tells its callers. */
  readonly vacated: Why[];
  /** When residency last changed by our doing: an observation asked for earlier is stale. */
  changedAt: number;
}

export interface Ticket {
  readonly id: TicketId;
  readonly target: Target;
  readonly class: RequestClass;
  readonly tenant: TenantId;
  readonly affinity: number | undefined;
  readonly arrivedAt: number;
  /** Dispatches so far; two at most. */
  attempts: number;
  place:
    | { readonly kind: 'waiting' }
    | { readonly kind: 'running'; readonly backend: BackendName; held: Held | undefined };
}

/** All that wait for one adapter, in order of arrival. */
export interface Line {
  readonly adapter: AdapterId;
  readonly target: AdapterTarget;
  readonly since: number;
  /** The most urgent that has joined; of a publication alone, `rollout`. */
  class: RequestClass;
  readonly tickets: Ticket[];
  /** The model whose newest checkpoint this is, when it waits to become warm. */
  publish: Publish | undefined;
}

/** `latest` of the model is to lead to this checkpoint. */
export interface Publish {
  readonly model: ModelName;
  readonly checkpoint: CheckpointId;
}

/** A load that failed, remembered so that nobody tries again at once. */
export interface Failure {
  readonly until: number;
  readonly fault: 'adapter' | 'backend';
  readonly message: string;
}

export interface RouterState {
  readonly backends: Map<BackendName, BackendState>;
  readonly tickets: TicketTable<Ticket>;
  readonly lines: Map<AdapterId, Line>;
  /** backend -> adapter -> failure. */
  readonly failures: Map<BackendName, Map<AdapterId, Failure>>;
  readonly pinned: Set<AdapterId>;
  readonly retired: Set<AdapterId>;
  /** Tickets in all lines. */
  waiting: number;
  /** The adapter that each model's `latest` was moved to. */
  readonly newest: Map<ModelName, AdapterId>;
  /** How often each adapter was asked for lately. */
  readonly demand: Demand;
  /** Index: adapters whose load is under way -> on how many backends. */
  readonly loading: Map<AdapterId, number>;
  /** Index: heir -> the slots that are being emptied for it. */
  readonly drains: Map<AdapterId, Set<Drain>>;
  /** Adapters that became ready in this step: their lines run. */
  readonly readied: AdapterId[];
  /** A slot may have come free in this step: lines that wait for one are looked at. */
  stirred: boolean;
}

export interface Drain {
  readonly backend: BackendState;
  readonly held: Held;
}

export function emptyState(): RouterState {
  return {
    backends: new Map(),
    tickets: new TicketTable(),
    lines: new Map(),
    failures: new Map(),
    pinned: new Set(),
    retired: new Set(),
    waiting: 0,
    newest: new Map(),
    demand: new Demand(),
    loading: new Map(),
    drains: new Map(),
    readied: [],
    stirred: false,
  };
}

/** It could serve this, given a slot. */
export const serves = (backend: BackendState, target: Target): boolean =>
  backend.up && backend.bases.has(target.base) && (target.kind === 'base' || fits(backend, target));

export const fits = (backend: BackendState, { rank }: AdapterTarget): boolean =>
  backend.rankMax === undefined || rank <= backend.rankMax;

export const isReady = (held: Held | undefined): held is Held => held?.residency.state === 'ready';

/** The engine was asked to unload it: no way back. */
export const isUnloading = (held: Held): boolean => held.residency.state === 'draining' && held.residency.unloading;

/** Ready, nobody runs on it, nobody pinned it: it may make room. */
export const isIdle = (state: RouterState, held: Held): boolean =>
  isReady(held) && held.leases === 0 && !state.pinned.has(held.adapter);

/** The oldest ticket's arrival, or when the line formed if only a publication waits. */
export const waitingSince = (line: Line): number => line.tickets[0]?.arrivedAt ?? line.since;

const NO_DRAINS: ReadonlySet<Drain> = new Set();

/** The slots that are being emptied for this adapter. */
export const drainsFor = (state: RouterState, adapter: AdapterId): ReadonlySet<Drain> =>
  state.drains.get(adapter) ?? NO_DRAINS;

export const isLoadingAnywhere = (state: RouterState, adapter: AdapterId): boolean => state.loading.has(adapter);

/** The failure that keeps this adapter off this backend now. */
export function failureOf(
  state: RouterState,
  backend: BackendName,
  adapter: AdapterId,
  now: number,
): Failure | undefined {
  const failure = state.failures.get(backend)?.get(adapter);
  return failure !== undefined && failure.until > now ? failure : undefined;
}
