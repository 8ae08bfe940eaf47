// Gives slots to the lines that need one: loads, evictions and drains are asked for here. In the order of order.ts: who is due first.
// A due line gets a slot drained for it, one each in the order in which they fell due, and a second only when all that are due have one.
import type { AdapterId } from '../domain.ts';
import { failureOf } from './failures.ts';
import type { LineOrder } from './order.ts';
import { earlier } from './order.ts';
import { type Policy, type Search, servedAt } from './policy.ts';
import type { Slots } from './slots.ts';
import type { BackendState, Line, RouterState, Ticket } from './state.ts';
import { drainsFor, enginesOf, hasRoute, holdersOf, isLoadingAnywhere, isOpen, isUnloading, serves } from './state.ts';

/** Whatever else may come to be drained is looked for so often, ms: no event tells. */
const LOOK_MS = 1000;

interface Parts {
  readonly state: RouterState;
  readonly slots: Slots;
  readonly policy: Policy;
  readonly order: LineOrder;
}

export class Giving {
  readonly #state: RouterState;
  readonly #slots: Slots;
  readonly #policy: Policy;
  readonly #order: LineOrder;
  /** No slot may be drained for anybody before then, ms. */
  #blockedUntil = 0;
  /** A due line has no slot coming: when it looks again, ms. */
  #lookAt: number | undefined;

  constructor({ state, slots, policy, order }: Parts) {
    this.#state = state;
    this.#slots = slots;
    this.#policy = policy;
    this.#order = order;
  }

  /** Gives each line, in order, the slot that it can have now; ends with the last slot there is. */
  serve(now: number): void {
    let hasHome = true;
    this.#lookAt = this.#isBlocked(now) ? this.#blockedUntil : undefined;
    for (const line of this.#order) {
      hasHome &&= this.#policy.home(this.#state, this.#forAnybody(now)) !== undefined;
      if (!hasHome && (line.dueAt > now || this.#isBlocked(now))) return;
      if (hasHome || drainsFor(this.#state, line.adapter).size === 0) this.give(line, now);
    }
  }

  #isBlocked(now: number): boolean {
    return now < this.#blockedUntil;
  }

  #forAnybody(now: number): Search {
    return { candidates: [...this.#state.backends.values()].filter(isOpen), claim: undefined, now };
  }

  /** An adapter became ready: it may be one to drain. */
  look(): void {
    this.#blockedUntil = 0;
  }

  /** 1. A free slot: load. 2. One is being emptied for it: wait. 3. An idle adapter: unload it. 4. Due: drain one. */
  give(line: Line, now: number): void {
    const { adapter, target } = line;
    if (isLoadingAnywhere(this.#state, adapter) || holdersOf(this.#state, adapter).size > 0) return;
    const cause = line.tickets.length === 0 ? 'publish' : 'request';
    const claim = { target, class: line.class, cause } as const;
    const search: Search = { candidates: this.#candidates(line, now), claim, now };
    const home = this.#policy.home(this.#state, search);
    if (home !== undefined && home.victim === undefined) {
      this.#slots.load(home.backend, claim, now);
      return this.undrain(adapter, now); // 1
    }
    const promised = drainsFor(this.#state, adapter);
    for (const { held } of promised) if (isUnloading(held)) return; // 2
    if (home?.victim !== undefined) {
      return this.#slots.drain(home.backend, home.victim, { why: 'evict', heir: adapter, now }); // 3
    }
    if (now >= this.#drainDueAt(line, promised.size) && !this.#isBlocked(now)) this.#drain(line, search); // 4
  }

  /** One more backend loads what this one waits for, one that has its route; when it is due, another adapter is drained for it. */
  extend({ target, class: kind, route, since }: Ticket, now: number): void {
    if (target.kind === 'base' || drainsFor(this.#state, target.adapter).size > 0) return; // a slot is on its way
    const { adapter } = target;
    const able: BackendState[] = [];
    for (const backend of this.#state.backends.values()) {
      if (!hasRoute(backend, { route }) || !serves(backend, target)) continue;
      if (backend.held.has(adapter)) return; // on its way in, or out
      if (failureOf(this.#state, backend.name, adapter, now) === undefined) able.push(backend);
    }
    const claim = { target, class: kind, cause: 'request' } as const;
    const search: Search = { candidates: able, claim, now };
    const home = this.#policy.home(this.#state, search);
    if (home !== undefined && home.victim === undefined) return this.#slots.load(home.backend, claim, now);
    const dueAt = since + this.#state.bounds.dueAfterMs[kind];
    const drained = home === undefined && now >= dueAt ? this.#policy.drain(this.#state, { ...search, dueAt }) : home;
    if (drained?.victim === undefined) return;
    const why = home === undefined ? 'drain' : 'evict';
    this.#slots.drain(drained.backend, drained.victim, { why, heir: adapter, now });
  }

  #candidates({ adapter, target, tickets }: Line, now: number): readonly BackendState[] {
    const candidates: BackendState[] = [];
    for (const backend of this.#state.backends.values()) {
      const could = serves(backend, target) && !backend.held.has(adapter);
      if (could && failureOf(this.#state, backend.name, adapter, now) === undefined) candidates.push(backend);
    }
    return tickets.length > 0 ? candidates : enginesOf(candidates);
  }

  #drain({ adapter, dueAt }: Line, search: Search): void {
    const { candidates, now } = search;
    if (candidates.length === 0) return;
    const drained = this.#policy.drain(this.#state, { ...search, dueAt });
    if (drained?.victim !== undefined) {
      return this.#slots.drain(drained.backend, drained.victim, { why: 'drain', heir: adapter, now });
    }
    this.#lookAt = this.#servedAt(now);
    if (this.#policy.drain(this.#state, this.#forAnybody(now)) === undefined) this.#blockedUntil = this.#lookAt;
  }

  /** When the next adapter has served its quantum, ms. */
  #servedAt(now: number): number {
    let next = now + LOOK_MS;
    for (const backend of this.#state.backends.values()) {
      for (const held of backend.held.values()) {
        const at = servedAt(this.#state, backend, held);
        if (held.residency.state === 'ready' && at > now) next = Math.min(next, at);
      }
    }
    return next;
  }

  /** When one more slot is to be drained for a line that has `promised` of them being emptied. */
  #drainDueAt(line: Line, promised: number): number {
    return line.dueAt + promised * this.#state.bounds.dueAfterMs[line.class];
  }

  /** One more slot for who has been due for long, when nobody due is without one; and again, until each has as many as it is owed. */
  serveAgain(now: number): void {
    for (let isMore = true; isMore && this.#lookAt === undefined; ) {
      isMore = false;
      for (const line of this.#order.due(now)) {
        if (!this.isOwedMore(line, now)) continue;
        const promised = drainsFor(this.#state, line.adapter).size;
        this.give(line, now);
        isMore ||= drainsFor(this.#state, line.adapter).size > promised;
      }
    }
  }

  /** Slots are being emptied for it, and by now it is owed one more. */
  isOwedMore(line: Line, now: number): boolean {
    const promised = drainsFor(this.#state, line.adapter).size;
    return promised > 0 && now >= this.#drainDueAt(line, promised);
  }

  /** Slots that were being emptied for this adapter and need not be any more serve again. */
  undrain(adapter: AdapterId, now: number): void {
    for (const { backend, held } of [...drainsFor(this.#state, adapter)]) this.#slots.undrain(backend, held, now);
  }

  /** When something changes for a line by the passing of time alone, ms. */
  nextAt(now: number): number | undefined {
    let next = earlier(this.#order.nextDueAt(now), this.retryAt(now));
    for (const line of this.#order.due(now)) {
      const at = this.#drainDueAt(line, drainsFor(this.#state, line.adapter).size);
      if (at > now) next = earlier(next, at);
    }
    return next;
  }

  /** When a due line that found no slot to drain looks again, ms. */
  retryAt(now: number): number | undefined {
    return this.#lookAt === undefined ? undefined : Math.max(this.#lookAt, now + 1);
  }
}
