// Adapters that engines die of. One that an engine was loading when it died, or was answering with for the first time, is under quarantine after one
// death: loaded nowhere and asked of nobody, so that the next engine does not die of it too. Then it is tried on one engine, until it has answered.
// Pure. An engine that is merely slow or out of reach makes nobody a suspect: its process must be gone.
import type { AdapterId, BackendName, TicketId } from '../domain.ts';
import type { Effect } from './effects.ts';
import type { Failure } from './failures.ts';
import type { Slots } from './slots.ts';
import type { BackendState, Held, RouterState } from './state.ts';
import { isReady, isService } from './state.ts';

/** A quarantine lasts as long as the first times the engines that died, up to this. */
const TIMES_MAX = 24;
/** An adapter that has run so long without harm is not what an engine dies of, ms. */
const FIRST_MS = 10_000;

/** What an engine was loading when it went down, or was answering with for the first time. */
export interface Suspect {
  readonly held: Held;
  readonly seen: 'load' | 'request';
}

export interface Quarantine {
  readonly adapter: AdapterId;
  /** `kept`: loaded nowhere until `until`. `trial`: it may be loaded on one engine, while no other is on trial, and is free once it has answered. */
  phase: 'kept' | 'trial';
  until: number;
  /** Engines that died of it, or with it. */
  readonly deaths: number;
  /** The last one. */
  readonly backend: BackendName;
  readonly seen: Suspect['seen'];
}

const SEEN = { load: 'while it loaded it', request: 'with its first requests' };

/** For people: what was seen. */
export const sayQuarantine = ({ backend, seen, deaths }: Quarantine): string =>
  `engine ${backend} died ${SEEN[seen]}${deaths > 1 ? `, the ${deaths}. to do so` : ''}`;

/** It is loaded nowhere. */
export const isKept = (state: RouterState, adapter: AdapterId): boolean =>
  state.quarantine.get(adapter)?.phase === 'kept';

const later = (adapter: AdapterId): string =>
  `It is tried again later by itself ("stepgate quarantine" says when), or now with "stepgate quarantine --retry ${adapter}"; weights that are registered anew are free of it`;

/** Why it is loaded nowhere; undefined: it may be. */
export const keptEverywhere = (state: RouterState, adapter: AdapterId): Failure | undefined =>
  isKept(state, adapter) ? failure(state, adapter, later(adapter)) : undefined;

/** Why it may not be loaded on this backend; undefined: it may, or it is there. */
export function keptOff(state: RouterState, backend: BackendName, adapter: AdapterId): Failure | undefined {
  if (state.quarantine.get(adapter)?.phase !== 'trial') return keptEverywhere(state, adapter);
  const rival = [...state.quarantine.keys()].find((other) => other !== adapter && isBeingTried(state, other));
  if (rival !== undefined) return failure(state, adapter, `${rival} is tried before it; ask again in a moment`);
  const elsewhere = [...state.backends.values()].some(({ name, held }) => name !== backend && held.has(adapter));
  return elsewhere ? failure(state, adapter, 'It is tried on one engine first') : undefined;
}

function failure(state: RouterState, adapter: AdapterId, next: string): Failure | undefined {
  const quarantine = state.quarantine.get(adapter);
  if (quarantine === undefined) return undefined;
  const message = `${adapter} is under quarantine: ${sayQuarantine(quarantine)}. ${next}`;
  return { until: quarantine.until, fault: 'adapter', message };
}

const isBeingTried = (state: RouterState, adapter: AdapterId): boolean =>
  [...state.backends.values()].some(({ held }) => {
    const one = held.get(adapter);
    return one !== undefined && (one.residency.state === 'loading' || one.leases > 0);
  });

interface Parts {
  readonly state: RouterState;
  readonly emit: (effect: Effect) => void;
  readonly options: { readonly quarantineMs: number };
  readonly slots: Slots;
}

export class Quarantines {
  readonly #state: RouterState;
  readonly #parts: Parts;

  constructor(parts: Parts) {
    this.#parts = parts;
    this.#state = parts.state;
  }

  /** Before what it held is forgotten. Into a service nothing is loaded that it could die of. */
  goingDown(backend: BackendState, now: number): void {
    if (isService(backend)) return;
    backend.suspects = [...backend.held.values()].flatMap((held): Suspect[] => {
      if (held.residency.state === 'loading') return [{ held, seen: 'load' }];
      return held.tried !== undefined && now - held.tried.at < FIRST_MS ? [{ held, seen: 'request' }] : [];
    });
  }

  /** Its process is gone. @returns who is under quarantine for it */
  died(backend: BackendState, now: number): readonly AdapterId[] {
    const suspects = backend.suspects.filter(({ held, seen }) => {
      const isProven = held.isProven || this.#state.proven.has(held.adapter);
      return !isProven && (seen === 'load' || held.tried !== undefined);
    });
    backend.suspects = [];
    for (const suspect of suspects) this.#keep(suspect, backend.name, now);
    return suspects.map(({ held }) => held.adapter);
  }

  #keep({ held: { adapter }, seen }: Suspect, backend: BackendName, now: number): void {
    const deaths = (this.#state.quarantine.get(adapter)?.deaths ?? 0) + 1;
    const until = now + this.#parts.options.quarantineMs * Math.min(deaths, TIMES_MAX);
    this.#state.quarantine.set(adapter, { adapter, phase: 'kept', until, deaths, backend, seen });
    this.#changed(adapter);
  }

  /** It leaves wherever it is ready, however it came there. */
  expel(now: number): void {
    if (this.#state.quarantine.size === 0) return;
    for (const backend of this.#state.backends.values())
      for (const held of [...backend.held.values()])
        if (isReady(held) && isKept(this.#state, held.adapter))
          this.#parts.slots.drain(backend, held, { why: 'quarantine', heir: undefined, now });
  }

  /** It has answered: whatever an engine died of, it was not that. */
  prove(held: Held): void {
    held.isProven = true;
    this.#state.proven.add(held.adapter);
    if (this.#state.quarantine.delete(held.adapter)) this.#changed(held.adapter);
  }

  /** The request was never sent: the engine was gone before it. */
  unsent(held: Held, ticket: TicketId): void {
    if (held.tried?.ticket === ticket) held.tried = undefined;
  }

  /** Its checkpoint is gone. */
  retired(adapter: AdapterId): void {
    this.#state.proven.delete(adapter);
    for (const backend of this.#state.backends.values()) {
      const one = backend.held.get(adapter);
      if (one !== undefined) one.isProven = false;
      backend.suspects = backend.suspects.filter(({ held }) => held.adapter !== adapter);
    }
    if (this.#state.quarantine.delete(adapter)) this.#changed(adapter);
  }

  /** Somebody wants it tried now. */
  retry(adapter: AdapterId, now: number): void {
    const quarantine = this.#state.quarantine.get(adapter);
    if (quarantine?.phase !== 'kept') return;
    quarantine.until = now;
    this.pass(now);
  }

  /** Whose time is up may be tried. */
  pass(now: number): void {
    for (const quarantine of this.#state.quarantine.values()) {
      if (quarantine.phase !== 'kept' || quarantine.until > now) continue;
      quarantine.phase = 'trial';
      this.#changed(quarantine.adapter);
    }
  }

  nextAt(): number | undefined {
    let next: number | undefined;
    for (const { phase, until } of this.#state.quarantine.values())
      if (phase === 'kept') next = Math.min(next ?? until, until);
    return next;
  }

  #changed(adapter: AdapterId): void {
    const quarantine = this.#state.quarantine.get(adapter);
    this.#state.isPlanStale = true;
    this.#state.stirred = true;
    const about = quarantine === undefined ? 'it has answered, or is gone' : sayQuarantine(quarantine);
    this.#parts.emit({ type: 'quarantine', adapter, phase: quarantine?.phase ?? 'over', about });
  }
}
