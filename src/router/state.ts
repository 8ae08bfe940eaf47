// What the router knows: backends, what each holds, who waits, who runs. Plain records with one owner (router.ts); queries only, no decisions.
import type {
  AdapterId,
  BackendName,
  BaseName,
  CheckpointId,
  ModelName,
  RequestClass,
  ReservationId,
  TenantId,
  TicketId,
  Why,
} from '../domain.ts';
import type { TicketTable } from '../ticket-table.ts';
import type { Announced } from './announced.ts';
import type { Demand } from './demand.ts';
import type { AdapterTarget, Reservation, Target } from './events.ts';
import type { Failure } from './failures.ts';
import type { Turn } from './fair-shares.ts';
import type { Health } from './health.ts';
import type { Quarantine, Suspect } from './quarantine.ts';
import type { Plan } from './reservation-plan.ts';
import type { RunningLimit } from './running-limit.ts';
import type { DueAfterMs, Waiting } from './waiting.ts';

/** Residency of one adapter on one backend; no record means `absent`. */
export type Residency =
  | { readonly state: 'loading'; readonly since: number; readonly why: Why }
  | { readonly state: 'ready'; readonly since: number; readonly why: Why }
  /** No new requests; unloaded once its leases have ended (`unloading`: asked for), but where its backend is cordoned. `heir` is the adapter
   *  that gets the slot. */
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
  /** When it began to serve, ms: that it was to be drained for a while does not count. */
  readyAt: number;
  /** Its first request here, and when it was placed, ms. */
  tried: { readonly ticket: TicketId; readonly at: number } | undefined;
  /** It has answered a request, here or elsewhere. */
  isProven: boolean;
  /** For whom it was loaded; of one that was found on the engine, who used it first. */
  usedFor: { readonly model: ModelName; readonly class: RequestClass } | undefined;
}

export interface BackendState {
  readonly name: BackendName;
  up: boolean;
  /** Nothing new goes there, as somebody wishes: of what it holds nothing is `ready`. */
  cordoned: boolean;
  /** Requests and loads may be placed there: it is up, not cordoned and not ejected. Kept by health.ts. */
  open: boolean;
  readonly health: Health;
  /** Unix seconds of its process's start; undefined: it does not say. */
  startedAt: number | undefined;
  /** Adapters that it may have died of when it went down. */
  suspects: readonly Suspect[];
  bases: ReadonlySet<BaseName>;
  slots: number;
  rankMax: number | undefined;
  /** See `backendUp`. */
  models: ReadonlySet<ModelName> | undefined;
  routes: ReadonlySet<string> | undefined;
  readonly held: Map<AdapterId, Held>;
  /** What a load has taken lately, ms: an exponential average. */
  loadMs: number;
  /** Requests running there, with and without an adapter. */
  inFlight: number;
  /** How many may. */
  readonly limit: RunningLimit;
  /** Tenants whose requests had waited for room here -> their last turn; the one served longest ago first. */
  readonly turns: Map<TenantId, number>;
  /** The last room went to somebody more urgent than one who is due. */
  owesDue: boolean;
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
  readonly route?: string | undefined;
  readonly affinity: number | undefined;
  readonly near: BackendName | undefined;
  readonly arrivedAt: number;
  /** Of all requests, in order of arrival. */
  readonly order: number;
  /** When it arrived, or earlier: as old as the turn that it takes among the tenants that wait, ms. */
  since: number;
  turn: Turn | undefined;
  /** Dispatches so far; two at most. */
  attempts: number;
  /** The backend that could not take it: another one is preferred. */
  sentBackBy: BackendName | undefined;
  place:
    | { readonly kind: 'waiting' }
    | { readonly kind: 'running'; readonly backend: BackendState; held: Held | undefined };
}

/** All that wait for one adapter: for a slot, or for room where it is ready. */
export interface Line {
  readonly adapter: AdapterId;
  readonly target: AdapterTarget;
  /** When it formed, ms, and after how many others. */
  readonly formedAt: number;
  readonly order: number;
  readonly tickets: Waiting;
  /** The model whose newest checkpoint this is, when it waits to become warm. */
  publish: Publish | undefined;
  /** The most urgent that waits; of a publication alone, `rollout`. */
  class: RequestClass;
  /** When the first of its requests has waited its bound, ms. */
  dueAt: number;
  /** Of the tenants that wait in it for a slot, the first turn: among those that fall due together. */
  turn: number;
}

/** A newest checkpoint on its way to be what `latest` leads to. */
export interface Publication {
  readonly publish: Publish;
  readonly target: AdapterTarget;
  /** When `latest` moves though fewer backends are warm than its callers need; undefined: none is. */
  until: number | undefined;
}

/** `latest` of the model is to lead to this checkpoint. */
export interface Publish {
  readonly model: ModelName;
  readonly checkpoint: CheckpointId;
}

export interface RouterState {
  readonly bounds: Bounds;
  readonly backends: Map<BackendName, BackendState>;
  readonly tickets: TicketTable<Ticket>;
  readonly lines: Map<AdapterId, Line>;
  /** backend -> adapter -> failure. */
  readonly failures: Map<BackendName, Map<AdapterId, Failure>>;
  /** Backends that are ejected, or on trial. */
  readonly isolated: Set<BackendState>;
  /** Until when some backend is too busy, ms. */
  busyUntil: number;
  /** Requests on their second attempt. */
  retrying: number;
  readonly quarantine: Map<AdapterId, Quarantine>;
  /** Adapters that have answered a request. */
  readonly proven: Set<AdapterId>;
  readonly reservations: Map<ReservationId, Reservation>;
  /** Which backend keeps which slots for which of them. */
  plan: Plan;
  /** It is to be looked at again: residency, the fleet or a reservation changed. */
  isPlanStale: boolean;
  /** One line of each model and class: for whom a slot that is kept may be had. Worked out where needed, and forgotten with each step. */
  wanted: readonly Line[] | undefined;
  readonly retired: Set<AdapterId>;
  /** Who waits for room on a backend that serves their base alone. */
  readonly baseLines: Map<BaseName, Waiting>;
  /** Tickets in all lines. */
  waiting: number;
  /** The newest checkpoint of each model while it is not yet what `latest` leads to. */
  readonly publications: Map<ModelName, Publication>;
  /** What a load has taken lately, over the fleet, ms: an exponential average. */
  loadMs: number;
  /** Tickets so far. */
  arrivals: number;
  /** The adapter that each model's `latest` was moved to. */
  readonly newest: Map<ModelName, AdapterId>;
  /** How often each adapter was asked for lately. */
  readonly demand: Demand;
  /** What sweeps will ask for. */
  readonly announced: Announced;
  /** Index: adapters whose load is under way -> on how many backends. */
  readonly loading: Map<AdapterId, number>;
  /** Index: heir -> the slots that are being emptied for it. */
  readonly drains: Map<AdapterId, Set<Drain>>;
  /** Index: adapter -> the backends that are ready for it. */
  readonly holders: Map<AdapterId, Set<BackendState>>;
  /** Adapters that became ready, or ceased to be, in this step: their lines run, or need a slot from now on. */
  readonly readied: Set<AdapterId>;
  readonly unreadied: Set<AdapterId>;
  /** Backends that take nothing new since this step. */
  readonly shut: Set<BackendState>;
  /** Backends where a request ended while others waited. */
  readonly roomy: Set<BackendState>;
  /** A slot may have come free in this step: lines that wait for one are looked at. */
  stirred: boolean;
}

/** What of the config the state's queries go by. */
export interface Bounds {
  /** Who has waited so long, by class, comes before all who have not, ms. */
  readonly dueAfterMs: DueAfterMs;
  /** An adapter serves for so many times what its load took before it may be drained. */
  readonly quantumLoads: number;
  /** See RouterOptions. */
  readonly batchLoads: number;
  readonly batchMsMax: number;
}

export interface Drain {
  readonly backend: BackendState;
  readonly held: Held;
}

/** The ticket is over. */
export function forget(state: RouterState, ticket: Ticket): void {
  state.tickets.delete(ticket.id);
  if (ticket.sentBackBy !== undefined) state.retrying--;
}

/** It may be given something new. */
export const isOpen = ({ open }: BackendState): boolean => open;

/** It is up and wanted, ejected or not: slots are kept there for others. */
export const isInService = ({ up, cordoned }: BackendState): boolean => up && !cordoned;

/** It could serve this, given a slot. */
export const serves = (backend: BackendState, target: Target): boolean => backend.open && couldServe(backend, target);

/** The same, were it neither cordoned nor ejected: worth waiting for. */
export const couldServe = (backend: BackendState, target: Target): boolean =>
  backend.up && backend.bases.has(target.base) && (target.kind === 'base' || fits(backend, target));

/** All that could, on this route. */
export function ableOf(state: RouterState, target: Target, by: Routed): BackendState[] {
  const able = [];
  for (const backend of state.backends.values())
    if (serves(backend, target) && hasRoute(backend, by)) able.push(backend);
  return able;
}

export const fits = ({ models, rankMax }: BackendState, { rank, model, hosted }: AdapterTarget): boolean =>
  models === undefined ? hosted !== true && (rankMax === undefined || rank <= rankMax) : models.has(model);

/** Whatever the other one takes on a base that both serve, it takes too: ranks, models and routes. */
export function takesAllOf(backend: BackendState, other: BackendState): boolean {
  const { rankMax = Number.POSITIVE_INFINITY, models, routes } = backend;
  return (
    rankMax >= (other.rankMax ?? Number.POSITIVE_INFINITY) &&
    isService(backend) === isService(other) &&
    hasAll(models, other.models) &&
    hasAll(routes, other.routes)
  );
}

/** It finds checkpoints by their names; no files, no slots. */
export const isService = ({ models }: BackendState): boolean => models !== undefined;

/** Those that load files; all, where there are none. */
export function enginesOf(backends: readonly BackendState[]): readonly BackendState[] {
  const engines = backends.filter((backend) => !isService(backend));
  return engines.length > 0 ? engines : backends;
}

/** Undefined: all there are. */
const hasAll = <T>(own: ReadonlySet<T> | undefined, others: ReadonlySet<T> | undefined): boolean =>
  own === undefined || (others !== undefined && [...others].every((one) => own.has(one)));

/** What is asked for by a route; see `arrived`. */
export interface Routed {
  readonly route?: string | undefined;
}

export const hasRoute = ({ routes }: BackendState, { route }: Routed): boolean =>
  routes === undefined || route === undefined || routes.has(route);

export const isReady = (held: Held | undefined): held is Held => held?.residency.state === 'ready';

/** The engine was asked to unload it, or it is lost: no way back. */
export const isUnloading = (held: Held): boolean => held.residency.state === 'draining' && held.residency.unloading;

/** The engine would not load it again, and requests still run on what was loaded before. */
export const isLost = (held: Held): boolean => isUnloading(held) && held.leases > 0;

/** Ready, and nobody runs on it. */
export const isIdle = (held: Held): boolean => isReady(held) && held.leases === 0;

/** On its way out: no new requests. */
export const isLeaving = (held: Held): boolean => held.residency.state === 'draining';

const NOBODY: ReadonlySet<BackendState> = new Set();

/** The backends that are ready for it. */
export const holdersOf = (state: RouterState, adapter: AdapterId): ReadonlySet<BackendState> =>
  state.holders.get(adapter) ?? NOBODY;

const NO_DRAINS: ReadonlySet<Drain> = new Set();

/** The slots that are being emptied for this adapter. */
export const drainsFor = (state: RouterState, adapter: AdapterId): ReadonlySet<Drain> =>
  state.drains.get(adapter) ?? NO_DRAINS;

export const isLoadingAnywhere = (state: RouterState, adapter: AdapterId): boolean => state.loading.has(adapter);
