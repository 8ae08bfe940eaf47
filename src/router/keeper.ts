// Makes the plan of reservations.ts come true: empties slots that are kept and hold something else, and loads reserved adapters ahead of requests.
// It decides neither who may take a slot nor which are kept.
import type { AdapterId } from '../domain.ts';
import type { AdapterTarget, Reservation } from './events.ts';
import { failureOf } from './failures.ts';
import { worthOf } from './policy.ts';
import { backendsOf, contentsOf, type Plan, unfilled } from './reservation-plan.ts';
import { currentPlan, keptFor, keptOn, mayTake } from './reservations.ts';
import type { Slots } from './slots.ts';
import { type BackendState, fits, type Held, isLeaving, isReady, type RouterState } from './state.ts';

export class Keeper {
  readonly #state: RouterState;
  readonly #slots: Slots;
  /** The plan that was made true last. */
  #done: Plan | undefined;

  constructor({ state, slots }: { readonly state: RouterState; readonly slots: Slots }) {
    this.#state = state;
    this.#slots = slots;
  }

  reserved(reservation: Reservation): void {
    this.#state.reservations.set(reservation.id, reservation);
    this.#changed();
  }

  released(id: Reservation['id']): void {
    if (this.#state.reservations.delete(id)) this.#changed();
  }

  /** Its checkpoint is gone: nothing is left to keep a slot for. */
  retired(adapter: AdapterId): void {
    for (const { id, for: what } of this.#state.reservations.values())
      if (what.kind === 'adapter' && what.target.adapter === adapter) this.released(id);
  }

  #changed(): void {
    this.#state.isPlanStale = true;
    this.#state.stirred = true;
  }

  /** After everything else of a step. */
  keep(now: number): void {
    const { reservations } = this.#state;
    if (reservations.size === 0 || currentPlan(this.#state) === this.#done) return;
    for (const backend of backendsOf(this.#state)) this.#empty(backend, now);
    for (const reservation of byId(reservations.values())) this.#loadAhead(reservation, now);
    this.#done = currentPlan(this.#state);
  }

  /** What is there besides the reservations and finds no slot beside them leaves: idle ones first, then those with the fewest requests. */
  #empty(backend: BackendState, now: number): void {
    const { keeps } = keptOn(this.#state, backend);
    if (keeps.length === 0) return;
    const rest = [...contentsOf(backend)].sort((a, b) => this.#byWorth(a, b, now));
    let short = unfilled(this.#state, keeps, rest);
    for (const held of [...rest]) {
      if (rest.length + short <= backend.slots) return;
      if (!isReady(held)) continue;
      const others = rest.filter((other) => other !== held);
      if (unfilled(this.#state, keeps, others) > short) continue;
      rest.splice(rest.indexOf(held), 1);
      short = unfilled(this.#state, keeps, rest);
      this.#slots.drain(backend, held, { why: 'reserved', heir: undefined, now });
    }
  }

  #byWorth(a: Held, b: Held, now: number): number {
    const worth = worthOf(this.#state, a, now) - worthOf(this.#state, b, now);
    return a.leases - b.leases || worth || (a.adapter < b.adapter ? -1 : 1);
  }

  /** An adapter wherever a slot is kept for it, the newest checkpoint once. */
  #loadAhead({ id, for: what }: Reservation, now: number): void {
    if (what.kind === 'adapter') {
      for (const { backend } of keptFor(this.#state, id)) this.#load(backend, what.target, now);
    }
    if (what.kind !== 'latest' || what.newest === undefined) return;
    const { newest } = what;
    const isHeld = ({ held }: BackendState) => {
      const known = held.get(newest.adapter);
      return known !== undefined && !isLeaving(known);
    };
    if ([...this.#state.backends.values()].some(isHeld)) return;
    for (const { backend } of keptFor(this.#state, id)) if (this.#load(backend, newest, now)) return;
  }

  #load(backend: BackendState, target: AdapterTarget, now: number): boolean {
    const claim = { target, class: 'rollout', cause: 'reserved' } as const;
    const { adapter } = target;
    if (!backend.open || backend.held.has(adapter) || this.#state.retired.has(adapter)) return false;
    if (!fits(backend, target)) return false;
    if (failureOf(this.#state, backend.name, adapter, now) !== undefined) return false;
    if (!mayTake(this.#state, backend, claim)) return false;
    this.#slots.load(backend, claim, now);
    return true;
  }

  /** When a reserved adapter that failed to load may be tried again. */
  retryAt(now: number): number | undefined {
    const untils = [...this.#state.reservations.values()].flatMap(({ for: what }) => {
      const adapter = what.kind === 'adapter' ? what.target.adapter : what.kind === 'latest' && what.newest?.adapter;
      if (!adapter) return [];
      return [...this.#state.failures.values()].flatMap((failures) => failures.get(adapter)?.until ?? []);
    });
    const next = Math.min(...untils.filter((until) => until > now));
    return Number.isFinite(next) ? next : undefined;
  }
}

const byId = (reservations: Iterable<Reservation>): Reservation[] =>
  [...reservations].sort((a, b) => (a.id < b.id ? -1 : 1));
