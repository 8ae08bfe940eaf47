// Who runs next where an adapter is ready: the limit of what one engine runs at once, and who gets the room when a request ends.
// It dispatches; it never loads or drains (lines.ts does).
import type { RequestClass, TenantId } from '../domain.ts';
import type { Effect } from './effects.ts';
import { nearest } from './near.ts';
import { rank } from './order.ts';
import type { Policy } from './policy.ts';
import type { Slots } from './slots.ts';
import { type BackendState, holdersOf, isReady, type Line, type RouterState, serves, type Ticket } from './state.ts';
import type { Waiting } from './waiting.ts';

/** Tenants whose last turn on a backend is remembered. */
const TURNS_MAX = 4096;

interface Parts {
  readonly state: RouterState;
  readonly slots: Slots;
  readonly policy: Policy;
  readonly emit: (effect: Effect) => void;
}

/** Of one line, who is next. */
interface Next {
  readonly ticket: Ticket;
  readonly waiting: Waiting;
  readonly line: Line | undefined;
  /** Infinite: not yet. */
  readonly dueAt: number;
}

export class Room {
  readonly #state: RouterState;
  readonly #slots: Slots;
  readonly #policy: Policy;
  readonly #emit: (effect: Effect) => void;
  #turns = 0;

  constructor({ state, slots, policy, emit }: Parts) {
    this.#state = state;
    this.#slots = slots;
    this.#policy = policy;
    this.#emit = emit;
  }

  /** Those of them where one more request of this class may run. */
  among(backends: readonly BackendState[], kind: RequestClass): BackendState[] {
    return backends.filter((backend) => backend.inFlight < backend.limit.of(kind));
  }

  /** Who waits for an adapter that is ready, or for a base, runs for as long as there is room. */
  flush({ waiting, line }: { waiting: Waiting; line: Line | undefined }, now: number): void {
    for (let next = this.#next(waiting, line, now); next !== undefined; next = this.#next(waiting, line, now)) {
      const backend = this.#roomFor(next);
      if (backend === undefined) return;
      const held = line === undefined ? undefined : backend.held.get(line.adapter);
      this.#dispatch(next, backend, { why: line === undefined ? 'base' : (held?.residency.why ?? 'resident'), now });
    }
  }

  #roomFor({ ticket, dueAt }: Next): BackendState | undefined {
    const { target } = ticket;
    const able = target.kind === 'base' ? this.#state.backends.values() : holdersOf(this.#state, target.adapter);
    const kind = dueAt < Number.POSITIVE_INFINITY ? 'interactive' : ticket.class;
    const ready = [...able].filter((backend) => serves(backend, target));
    const near = ready.find(({ name }) => name === ticket.near); // full or not: elsewhere it could not go on
    const roomy = near === undefined ? this.among(ready, kind) : [near];
    return roomy.length === 0 ? undefined : nearest(this.#policy, roomy, ticket);
  }

  /** A request ended there: those who wait for what it is ready for share the room. Returns whose line has none left. */
  *fill(backend: BackendState, now: number): Generator<Line> {
    while (backend.up && backend.inFlight < backend.limit.max) {
      let best: Next | undefined;
      for (const next of this.#candidates(backend, now)) {
        if (best === undefined || this.#compare(backend, next, best) < 0) best = next;
      }
      if (best === undefined) return;
      const { ticket, dueAt, line } = best;
      if (dueAt === Number.POSITIVE_INFINITY && backend.inFlight >= backend.limit.of(ticket.class)) return;
      this.#dispatch(best, backend, { why: line === undefined ? 'base' : 'resident', now });
      this.#noteTurn(backend, ticket.tenant);
      if (line !== undefined && line.tickets.length === 0) yield line;
    }
  }

  *#candidates(backend: BackendState, now: number): Generator<Next> {
    const { lines, baseLines } = this.#state;
    for (const held of backend.held.values()) {
      const line = isReady(held) ? lines.get(held.adapter) : undefined;
      const next = line === undefined ? undefined : this.#next(line.tickets, line, now);
      if (next !== undefined) yield next;
    }
    if (baseLines.size === 0) return;
    for (const base of backend.bases) {
      const waiting = baseLines.get(base);
      const next = waiting === undefined ? undefined : this.#next(waiting, undefined, now);
      if (next !== undefined) yield next;
    }
  }

  /** Whoever has been due longest, else the first of the most urgent class. */
  #next(waiting: Waiting, line: Line | undefined, now: number): Next | undefined {
    const due = waiting.firstDue(this.#state.bounds.dueAfterMs);
    if (due !== undefined && due.dueAt <= now) return { ...due, waiting, line };
    const kind = waiting.class;
    const ticket = kind === undefined ? undefined : waiting.first(kind);
    return ticket === undefined ? undefined : { ticket, waiting, line, dueAt: Number.POSITIVE_INFINITY };
  }

  /** Who is due first; then by class; among those the tenant that was served longest ago; then by age. */
  #compare(backend: BackendState, a: Next, b: Next): number {
    const [isDue, isOtherDue] = [Number.isFinite(a.dueAt), Number.isFinite(b.dueAt)];
    if (isDue !== isOtherDue) return isDue ? -1 : 1;
    const turnOf = ({ ticket }: Next) => backend.turns.get(ticket.tenant) ?? 0;
    return (
      (isDue ? 0 : rank(a.ticket.class) - rank(b.ticket.class)) ||
      turnOf(a) - turnOf(b) ||
      (isDue ? a.dueAt - b.dueAt : a.ticket.since - b.ticket.since) ||
      a.ticket.order - b.ticket.order
    );
  }

  #noteTurn(backend: BackendState, tenant: TenantId): void {
    const { turns } = backend;
    turns.delete(tenant);
    turns.set(tenant, ++this.#turns);
    const [longestAgo] = turns.size > TURNS_MAX ? turns.keys() : [];
    if (longestAgo !== undefined) turns.delete(longestAgo);
  }

  #dispatch(
    { ticket, waiting }: Next,
    backend: BackendState,
    { why, now }: { why: Parameters<Slots['lease']>[2]; now: number },
  ): void {
    waiting.remove(ticket, true);
    this.#state.waiting--;
    this.#emit(this.#slots.lease(ticket, backend, why, now));
  }
}
