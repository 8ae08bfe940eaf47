// Which slots of which backend are kept for which reservation, and what fills them. Pure: reads the state, changes nothing.
// What the plan means for a load or an eviction is in reservations.ts.
import { type AdapterId, assertNever, type BackendName } from '../domain.ts';
import type { Reservation, ReservedFor } from './events.ts';
import { hasFailed } from './failures.ts';
import {
  type BackendState,
  fits as fitsRank,
  type Held,
  isInService,
  isLeaving,
  isService,
  type RouterState,
  takesAllOf,
} from './state.ts';

/** What one kept slot may hold. Those of `latest` differ: one is for the next checkpoint alone, or copies of the newest would take its place. */
export type Purpose =
  | Exclude<ReservedFor, { kind: 'latest' }>
  | (Extract<ReservedFor, { kind: 'latest' }> & { readonly turn: 'newest' | 'next' });

/** One slot of one backend, kept for a reservation. */
export interface Keep {
  readonly reservation: Reservation;
  readonly purpose: Purpose;
}

export interface Kept {
  readonly keeps: readonly Keep[];
  /** Of them, those that nothing fills. */
  readonly empty: number;
}

export type Plan = ReadonlyMap<BackendName, Kept>;

/** What a slot holds, or would hold. */
export type Content = Pick<Held, 'adapter' | 'usedFor'>;

/** Slots kept here that nothing here fills, whoever is counted for which: as many as can be are filled. */
export function unfilled(state: RouterState, keeps: readonly Keep[], contents: readonly Content[]): number {
  const filledBy = new Map<number, Content>();
  const settle = (content: Content, tried: Set<number>): boolean => {
    for (const [index, { purpose }] of keeps.entries()) {
      if (tried.has(index) || !isFor(state, purpose, content)) continue;
      tried.add(index);
      const other = filledBy.get(index);
      if (other !== undefined && !settle(other, tried)) continue;
      filledBy.set(index, content);
      return true;
    }
    return false;
  };
  for (const content of contents) settle(content, new Set());
  return keeps.length - filledBy.size;
}

/** What will be there: not what is on its way out. */
export const contentsOf = (backend: BackendState): readonly Held[] =>
  [...backend.held.values()].filter((held) => !isLeaving(held));

/** It is what the slot is kept for. */
export function isFor(state: RouterState, what: Purpose, { adapter, usedFor }: Content): boolean {
  switch (what.kind) {
    case 'adapter':
      return what.target.adapter === adapter;
    case 'model':
      return what.model === usedFor?.model;
    case 'latest':
      return what.turn === 'newest' ? newestOf(state, what) === adapter : isNext(state, what, adapter);
    case 'class':
      return what.class === usedFor?.class;
    default:
      return assertNever(what);
  }
}

type Latest = Extract<ReservedFor, { kind: 'latest' }>;

const newestOf = (state: RouterState, { model, newest }: Latest): AdapterId | undefined =>
  newest?.adapter ?? state.newest.get(model);

/** `latest` will lead to it as soon as it is warm, or does so since just now. */
const isNext = (state: RouterState, what: Latest, adapter: AdapterId): boolean =>
  state.publications.get(what.model)?.target.adapter === adapter ||
  (state.newest.get(what.model) === adapter && newestOf(state, what) !== adapter);

/** The narrower first: it has the fewer places to go. */
const KINDS: readonly ReservedFor['kind'][] = ['adapter', 'latest', 'model', 'class'];

/**
 * Which backend keeps which slots for which reservation, as many as can be. What was kept stays where it is, unless something that fits it came to
 * be elsewhere; what is new goes where something is that fits it, else where a slot is free, else where most slots are nobody's. Never so many
 * that adapters of some base and rank would find no slot: what finds none is short until the fleet has more.
 */
export function planOf(state: RouterState, reservations: readonly Reservation[], before: Plan = new Map()): Plan {
  const kept = planAfter(state, reservations, before);
  if (before.size === 0 || sizeOf(kept) === reservations.reduce((sum, { slots }) => sum + slots, 0)) return kept;
  const fresh = planAfter(state, reservations, new Map());
  return sizeOf(fresh) > sizeOf(kept) ? fresh : kept;
}

/** By name: nothing here depends on who came up first. */
export const backendsOf = ({ backends }: RouterState): BackendState[] =>
  [...backends.values()].sort((a, b) => (a.name < b.name ? -1 : 1));

const sizeOf = (plan: Plan): number => [...plan.values()].reduce((sum, { keeps }) => sum + keeps.length, 0);

function planAfter(state: RouterState, reservations: readonly Reservation[], before: Plan): Plan {
  const plans = backendsOf(state)
    .filter((backend) => isInService(backend) && !isService(backend))
    .map((backend) => new Planned(state, backend));
  const best = (keep: Keep, may: (planned: Planned) => boolean) =>
    plans.filter((planned) => may(planned) && planned.hasRoomFor(keep, plans)).sort(byPreference(keep))[0];
  const missing = [...reservations].sort(byKind).flatMap((reservation) => {
    const wanted = Array.from({ length: reservation.slots }, (_, slot) => purposeOf(reservation, slot));
    for (const planned of plans) {
      for (const { reservation: known, purpose } of before.get(planned.backend.name)?.keeps ?? []) {
        const at = wanted.findIndex((other) => known.id === reservation.id && isAlike(purpose, other));
        const [found] = wanted.slice(at, at + 1);
        if (at < 0 || found === undefined || !planned.hasRoomFor({ reservation, purpose: found }, plans)) continue;
        planned.keeps.push({ reservation, purpose: found });
        wanted.splice(at, 1);
      }
    }
    return wanted.map((purpose) => ({ reservation, purpose }));
  });
  for (const keep of missing) best(keep, () => true)?.keeps.push(keep);
  for (const planned of plans) {
    for (const keep of planned.empty) {
      const elsewhere = best(keep, (other) => other !== planned && other.holds(keep));
      if (elsewhere === undefined) continue;
      planned.keeps.splice(planned.keeps.indexOf(keep), 1);
      elsewhere.keeps.push(keep);
    }
  }
  return new Map(plans.map((planned) => [planned.backend.name, { keeps: planned.keeps, empty: planned.empty.length }]));
}

const byKind = (a: Reservation, b: Reservation): number =>
  KINDS.indexOf(a.for.kind) - KINDS.indexOf(b.for.kind) || (a.id < b.id ? -1 : 1);

const isAlike = (a: Purpose, b: Purpose): boolean =>
  a.kind === b.kind && (a.kind !== 'latest' || b.kind !== 'latest' || a.turn === b.turn);

/** The last slot of `latest` is for the next one. */
function purposeOf({ for: what, slots }: Reservation, slot: number): Purpose {
  return what.kind === 'latest' ? { ...what, turn: slot > 0 && slot === slots - 1 ? 'next' : 'newest' } : what;
}

const byPreference =
  (keep: Keep) =>
  (a: Planned, b: Planned): number =>
    Number(b.holds(keep)) - Number(a.holds(keep)) ||
    Number(b.hasFree) - Number(a.hasFree) ||
    b.open - a.open ||
    (a.backend.name < b.backend.name ? -1 : 1);

/** One backend while a plan is made. */
class Planned {
  readonly backend: BackendState;
  readonly keeps: Keep[] = [];
  readonly #state: RouterState;
  readonly #contents: readonly Held[];

  constructor(state: RouterState, backend: BackendState) {
    this.#state = state;
    this.backend = backend;
    this.#contents = contentsOf(backend);
  }

  /** Slots that are nobody's. */
  get open(): number {
    return this.backend.slots - this.keeps.length;
  }

  /** One more can be kept without emptying a slot. */
  get hasFree(): boolean {
    return this.#contents.length + this.#emptyOf(this.keeps) < this.backend.slots;
  }

  /** One more slot for it would be filled as soon as it is kept. */
  holds(keep: Keep): boolean {
    return this.#emptyOf([...this.keeps, keep]) === this.#emptyOf(this.keeps);
  }

  /** An adapter is in a backend's slots once, and every adapter that could be anywhere finds a slot that is nobody's. */
  hasRoomFor({ reservation: { id }, purpose }: Keep, plans: readonly Planned[]): boolean {
    if (this.open < 1 || !couldKeep(this.backend, purpose)) return false;
    const adapter = adapterOf(this.#state, purpose);
    if (adapter !== undefined) {
      if (hasFailed(this.#state, this.backend.name, adapter)) return false;
      const isSame = (keep: Keep) => keep.reservation.id === id && adapterOf(this.#state, keep.purpose) === adapter;
      if (this.keeps.some(isSame)) return false;
    }
    return plans.every((other) => {
      const served = [...other.backend.bases].filter((base) => this.backend.bases.has(base));
      return served.every((base) => {
        const peers = plans.filter(({ backend }) => backend.bases.has(base) && takesAllOf(backend, other.backend));
        return !peers.includes(this) || peers.reduce((sum, { open }) => sum + open, 0) > 1;
      });
    });
  }

  /** Kept, and nothing there fills it: one for each that is empty. */
  get empty(): readonly Keep[] {
    const full = this.keeps.filter((_, at) => {
      const upTo = this.keeps.slice(0, at);
      return this.#emptyOf([...upTo, ...this.keeps.slice(at, at + 1)]) === this.#emptyOf(upTo);
    });
    return this.keeps.filter((keep) => !full.includes(keep));
  }

  #emptyOf(keeps: readonly Keep[]): number {
    return unfilled(this.#state, keeps, this.#contents);
  }
}

/** The one adapter that the slot is for. */
export function adapterOf(state: RouterState, purpose: Purpose): AdapterId | undefined {
  if (purpose.kind === 'adapter') return purpose.target.adapter;
  return purpose.kind === 'latest' && purpose.turn === 'newest' ? newestOf(state, purpose) : undefined;
}

/** It has what the reservation is for, or could have. A service has no slots to keep. */
export function couldKeep(backend: BackendState, what: ReservedFor): boolean {
  if (isService(backend)) return false;
  if (what.kind === 'class') return true;
  if (what.kind !== 'adapter') return backend.bases.has(what.base);
  return backend.bases.has(what.target.base) && fitsRank(backend, what.target);
}
