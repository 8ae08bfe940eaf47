// Who runs next where an adapter is ready: the limit of what one engine runs at once, and who gets the room when a request ends.
// It dispatches; it never loads or drains (lines.ts does).
import type { BackendName, TenantId } from '../domain.ts';
import type { Effect } from './effects.ts';
import { rank } from './order.ts';
import type { Policy } from './policy.ts';
import type { Slots } from './slots.ts';
import {
  type BackendState,
  hasRoute,
  holdersOf,
  isOpen,
  isReady,
  type Line,
  type RouterState,
  serves,
  type Ticket,
} from './state.ts';
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
  /** Since when it is owed, ms; undefined: chosen by class. */
  readonly dueAt: number | undefined;
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

  /**
   * Of those that are ready for it, the engine that has the answer from which it goes on, full or not, since elsewhere it could not; else the
   * policy's choice among those with room for one more of its class.
   */
  of(
    ready: readonly BackendState[],
    { near, class: kind, affinity, sentBackBy }: Ticket,
    now: number,
  ): BackendState | undefined {
    const own = near === undefined ? undefined : ready.find(({ name }) => name === near);
    if (own !== undefined) return own;
    const roomy = ready.filter((backend) => backend.inFlight < backend.limit.of(kind));
    if (roomy.length === 0) return undefined;
    const isPlain = sentBackBy === undefined && this.#state.busyUntil <= now;
    return this.#policy.route(isPlain ? roomy : preferable(roomy, sentBackBy, now), affinity);
  }

  /** Who waits for an adapter that is ready, or for a base, runs for as long as there is room: the most urgent first. */
  flush({ waiting, line }: { waiting: Waiting; line: Line | undefined }, now: number): void {
    for (;;) {
      const { next, backend } = this.#roomForNext(waiting, line, now);
      if (next === undefined || backend === undefined) return;
      const held = line === undefined ? undefined : backend.held.get(line.adapter);
      this.#dispatch(next, backend, { why: line === undefined ? 'base' : (held?.residency.why ?? 'resident'), now });
    }
  }

  /** Whose route none of those has that are ready holds up nobody behind it. */
  #roomForNext(
    waiting: Waiting,
    line: Line | undefined,
    now: number,
  ): { readonly next: Next | undefined; readonly backend: BackendState | undefined } {
    const next = byClass(waiting, line);
    if (next === undefined) return { next, backend: undefined };
    const ready = this.#readyFor(next.ticket);
    const backend = this.of(routed(ready, next.ticket), next.ticket, now);
    if (backend !== undefined || ready.every((one) => hasRoute(one, next.ticket))) return { next, backend };
    for (const ticket of waiting) {
      const able = routed(ready, ticket);
      if (able.length > 0) return { next: { ...next, ticket }, backend: this.of(able, ticket, now) };
    }
    return { next: undefined, backend: undefined };
  }

  #readyFor({ target }: Ticket): BackendState[] {
    const able = target.kind === 'base' ? this.#state.backends.values() : holdersOf(this.#state, target.adapter);
    return [...able].filter((backend) => serves(backend, target));
  }

  /**
   * A request ended there: those who wait for what it is ready for share the room. The most urgent is next; but of two, one is whoever has been due
   * longest, if somebody is: so neither class starves the other. Yields the lines of those who run.
   */
  *fill(backend: BackendState, now: number): Generator<Line> {
    while (isOpen(backend) && backend.inFlight < backend.limit.max) {
      const urgent = this.#best(backend, byClass);
      const due = this.#best(backend, (waiting, line) => this.#due(waiting, line, now));
      const isOwed = due !== undefined && (due.ticket === urgent?.ticket || backend.owesDue);
      const next = isOwed ? due : urgent;
      if (next === undefined) return;
      if (!isOwed && backend.inFlight >= backend.limit.of(next.ticket.class)) return;
      backend.owesDue = due !== undefined && !isOwed;
      this.#dispatch(next, backend, { why: next.line === undefined ? 'base' : 'resident', now });
      this.#noteTurn(backend, next.ticket.tenant);
      if (next.line !== undefined) yield next.line;
    }
  }

  #best(backend: BackendState, next: (waiting: Waiting, line: Line | undefined) => Next | undefined): Next | undefined {
    const { lines, baseLines } = this.#state;
    let best: Next | undefined;
    const consider = (waiting: Waiting | undefined, line: Line | undefined) => {
      const first = waiting === undefined ? undefined : next(waiting, line);
      const one = first === undefined || hasRoute(backend, first.ticket) ? first : firstRouted(backend, first);
      if (one !== undefined && (best === undefined || compare(backend, one, best) < 0)) best = one;
    };
    for (const held of backend.held.values()) {
      const line = isReady(held) ? lines.get(held.adapter) : undefined;
      consider(line?.tickets, line);
    }
    if (baseLines.size > 0) for (const base of backend.bases) consider(baseLines.get(base), undefined);
    return best;
  }

  #due(waiting: Waiting, line: Line | undefined, now: number): Next | undefined {
    const due = waiting.firstDue(this.#state.bounds.dueAfterMs);
    return due === undefined || due.dueAt > now ? undefined : { ...due, waiting, line };
  }

  #noteTurn(backend: BackendState, tenant: TenantId): void {
    const { turns } = backend;
    turns.set(tenant, ++this.#turns);
    if (turns.size <= TURNS_MAX) return;
    for (const [other, turn] of turns) if (turn <= this.#turns - TURNS_MAX) turns.delete(other);
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

/** Those that did not send it back, and did not say lately that they are busy; all, where there are none. */
function preferable(
  roomy: readonly BackendState[],
  sentBackBy: BackendName | undefined,
  now: number,
): readonly BackendState[] {
  const others = roomy.filter(({ name, health }) => name !== sentBackBy && health.busyUntil <= now);
  return others.length > 0 ? others : roomy;
}

/** Those that have its route. */
const routed = (ready: readonly BackendState[], ticket: Ticket): readonly BackendState[] =>
  ready.every((backend) => hasRoute(backend, ticket)) ? ready : ready.filter((backend) => hasRoute(backend, ticket));

/** The one that it has the route for, of those that wait with the first. */
function firstRouted(backend: BackendState, first: Next): Next | undefined {
  for (const ticket of first.waiting) if (hasRoute(backend, ticket)) return { ...first, ticket, dueAt: undefined };
  return undefined;
}

function byClass(waiting: Waiting, line: Line | undefined): Next | undefined {
  const kind = waiting.class;
  const ticket = kind === undefined ? undefined : waiting.first(kind);
  return ticket === undefined ? undefined : { ticket, waiting, line, dueAt: undefined };
}

/** By class, but among those who are due; then the tenant that was served longest ago; then by age. */
function compare({ turns }: BackendState, a: Next, b: Next): number {
  const turnOf = ({ ticket }: Next) => turns.get(ticket.tenant) ?? 0;
  return (
    (a.dueAt === undefined ? rank(a.ticket.class) - rank(b.ticket.class) : 0) ||
    turnOf(a) - turnOf(b) ||
    (a.dueAt ?? a.ticket.since) - (b.dueAt ?? b.ticket.since) ||
    a.ticket.order - b.ticket.order
  );
}
