// What the judge's books hold: engines, what is in their slots, tickets. Plain records; books.ts keeps them.
import type { AdapterId, BackendName, BaseName, RequestClass, TenantId, TicketId } from '../../src/domain.ts';
import type { Target } from '../../src/router/events.ts';

/** One time that an adapter is in a slot. Requests point to it, so that they never count against a later loading of the same name. */
export interface Registration {
  readonly adapter: AdapterId;
  /** `unloading` with requests on it: it could not be loaded again, and its slot is theirs until they end. */
  phase: 'loading' | 'loaded' | 'unloading';
  running: number;
  /** Somebody was placed on it. */
  isTried: boolean;
  /** The engine said that it does not have it: it may be loaded again in the same slot. */
  forgotten: boolean;
  /** It was there though nobody had asked. */
  readonly adopted: boolean;
}

export interface EngineBook {
  readonly name: BackendName;
  up: boolean;
  cordoned: boolean;
  bases: ReadonlySet<BaseName>;
  slots: number;
  rankMax: number | undefined;
  /** Requests that it is to run at once; undefined: nobody said. */
  runningMax: number | undefined;
  /** Of its process. */
  startedAt: number | undefined;
  readonly held: Map<AdapterId, Registration>;
  running: number;
  /** As it was told: requests may be placed on all but the ejected, and on one that is on trial while none is there to try it. */
  standing: 'whole' | 'ejected' | 'trial';
  trial: TicketId | undefined;
  /** What it was loading, or had run without an answer yet, when it went down. */
  suspects: ReadonlySet<AdapterId>;
  /** It was found with more than its slots hold, and has more still. */
  crowded: boolean;
  /** When a load or an unload was last asked for or answered, ms: what was observed until then says nothing about now. */
  touchedAt: number;
}

export interface TicketBook {
  readonly id: TicketId;
  readonly target: Target;
  readonly class: RequestClass;
  readonly tenant: TenantId;
  /** Since it arrived, or since the engine sent it back. */
  waitsSince: number;
  attempts: number;
  place: { readonly engine: EngineBook; registration: Registration | undefined } | undefined;
}

/** It is not ejected, and nobody is there to try it. */
export const isOpen = ({ standing, trial }: EngineBook): boolean =>
  standing === 'whole' || (standing === 'trial' && trial === undefined);

/** The engine could run this, if it had a slot for it. */
export const serves = (engine: EngineBook, target: Target): boolean => !engine.cordoned && couldServe(engine, target);

/** It could, were it not cordoned. */
export const couldServe = (engine: EngineBook, target: Target): boolean =>
  engine.up &&
  engine.bases.has(target.base) &&
  (target.kind === 'base' || engine.rankMax === undefined || target.rank <= engine.rankMax);
