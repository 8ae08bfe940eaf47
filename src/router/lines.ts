// Who waits for what: one line per adapter; the place where loads, evictions and drains are asked for.
// Lines are served by class, the most urgent first, and within a class in the order in which they formed; but a line that has waited the bound of its
// class comes before all, gets a slot drained for it, and one more after each further bound: no class starves.
import type { AdapterId, RequestClass } from '../domain.ts';
import type { ErrorCode } from '../errors.ts';
import type { Effect } from './effects.ts';
import type { AdapterTarget } from './events.ts';
import { deadlineOf, drainDueAt, earlier, inOrder, rank } from './order.ts';
import type { Policy } from './policy.ts';
import type { RouterOptions } from './router.ts';
import type { Slots } from './slots.ts';
import type { BackendState, Failure, Line, Publish, RouterState, Ticket } from './state.ts';
import { drainsFor, failureOf, isLoadingAnywhere, isReady, isUnloading, serves } from './state.ts';

/** Nothing could be drained yet: a slot may have served its time by then, though nothing else happens. */
const OVERDUE_LOOK_MS = 1000;

interface Parts {
  readonly state: RouterState;
  readonly slots: Slots;
  readonly policy: Policy;
  readonly options: RouterOptions;
  readonly emit: (effect: Effect) => void;
  /** A published adapter became ready. */
  readonly promote: (publish: Publish, adapter: AdapterId) => void;
}

export class Lines {
  readonly #state: RouterState;
  readonly #slots: Slots;
  readonly #policy: Policy;
  readonly #options: RouterOptions;
  readonly #emit: (effect: Effect) => void;
  readonly #promote: Parts['promote'];
  /** A line has waited its bound and nothing could be drained for it: it tries again whenever something changes. */
  #isOverdue = false;

  constructor({ state, slots, policy, options, emit, promote }: Parts) {
    this.#promote = promote;
    this.#state = state;
    this.#slots = slots;
    this.#policy = policy;
    this.#options = options;
    this.#emit = emit;
  }

  /** Joining changes nobody else's chances: only this line is looked at. */
  join(ticket: Ticket, target: AdapterTarget, now: number): void {
    const line = this.#line(target, ticket.class, now);
    line.tickets.push(ticket);
    this.#state.waiting++;
    const isMoreUrgent = rank(ticket.class) < rank(line.class);
    if (isMoreUrgent) line.class = ticket.class;
    if (isMoreUrgent || line.tickets.length === 1) this.#serveLine(line, now);
  }

  /** For a request that was dispatched once already: it has waited longest. */
  joinFront(ticket: Ticket, target: AdapterTarget, now: number): void {
    const line = this.#line(target, ticket.class, now);
    line.tickets.unshift(ticket);
    this.#state.waiting++;
    this.#serveLine(line, now);
  }

  #line(target: AdapterTarget, kind: RequestClass, now: number): Line {
    const { adapter } = target;
    const known = this.#state.lines.get(adapter);
    const line: Line = known ?? { adapter, target, since: now, class: kind, tickets: [], publish: undefined };
    this.#state.lines.set(adapter, line);
    return line;
  }

  /** The caller left: nothing is loaded for it from now on. */
  leave(ticket: Ticket, now: number): void {
    if (ticket.target.kind !== 'adapter') return;
    const line = this.#state.lines.get(ticket.target.adapter);
    const at = line?.tickets.indexOf(ticket) ?? -1;
    if (line === undefined || at < 0) return;
    line.tickets.splice(at, 1);
    this.#state.waiting--;
    this.#closeIfEmpty(line, now);
  }

  #closeIfEmpty(line: Line, now: number): void {
    if (line.tickets.length > 0 || line.publish !== undefined) return;
    this.#state.lines.delete(line.adapter);
    this.undrain(line.adapter, now);
    this.#slots.dismissRetired(line.adapter, now);
  }

  /** A line without requests, so that its adapter gets a slot ahead of them. */
  publish(target: AdapterTarget, publish: Publish, now: number): void {
    const line = this.#line(target, 'rollout', now);
    line.publish = publish;
    this.#serveLine(line, now);
  }

  unpublish(adapter: AdapterId): void {
    const line = this.#state.lines.get(adapter);
    if (line?.publish === undefined) return;
    line.publish = undefined;
    if (line.tickets.length === 0) this.#state.lines.delete(adapter);
  }

  /** Everyone in the adapter's line runs, if some backend is ready for it. */
  flush(adapter: AdapterId, now: number): void {
    const line = this.#state.lines.get(adapter);
    if (line === undefined) return;
    const holders = this.#candidates(line, (backend) => isReady(backend.held.get(adapter)));
    if (holders.length === 0) return;
    this.#state.lines.delete(adapter);
    this.#state.waiting -= line.tickets.length;
    if (line.publish !== undefined) this.#promote(line.publish, adapter);
    for (const ticket of line.tickets) {
      const backend = this.#policy.route(holders, ticket.affinity);
      const why = backend.held.get(adapter)?.residency.why ?? 'resident';
      this.#emit(this.#slots.lease(ticket, backend, why, now));
    }
  }

  #candidates(line: Line, may: (backend: BackendState) => boolean): BackendState[] {
    const candidates = [];
    for (const backend of this.#state.backends.values())
      if (serves(backend, line.target) && may(backend)) candidates.push(backend);
    return candidates;
  }

  /** Gives each line, in order, the slot it can have now; ends with the last slot there is. */
  serve(now: number): void {
    const isOverdue = this.#isOverdue;
    this.#isOverdue = false;
    for (const line of inOrder(this.#state, this.#options, now)) {
      if (!isOverdue && this.#policy.home(this.#state, { candidates: this.#up(), claim: undefined, now }) === undefined)
        return;
      this.#serveLine(line, now);
    }
  }

  #up(): BackendState[] {
    return [...this.#state.backends.values()].filter(({ up }) => up);
  }

  #serveLine(line: Line, now: number): void {
    this.flush(line.adapter, now);
    if (this.#state.lines.get(line.adapter) !== line || isLoadingAnywhere(this.#state, line.adapter)) return;
    this.#place(line, now);
  }

  /** 1. A free slot: load. 2. One is being emptied for it: wait. 3. An idle adapter: unload it. 4. Waited its bound: drain one. */
  #place(line: Line, now: number): void {
    const { adapter } = line;
    const candidates = this.#candidates(
      line,
      (backend) => !backend.held.has(adapter) && failureOf(this.#state, backend.name, adapter, now) === undefined,
    );
    const cause = line.tickets.length === 0 ? 'publish' : 'request';
    const search = { candidates, claim: { target: line.target, class: line.class, cause }, now } as const;
    const home = this.#policy.home(this.#state, search);
    if (home !== undefined && home.victim === undefined) {
      this.#slots.load(home.backend, adapter, { ...(cause === 'publish' && { cause }), now });
      return this.undrain(adapter, now); // 1
    }
    const promised = drainsFor(this.#state, adapter);
    for (const { held } of promised) if (isUnloading(held)) return; // 2
    if (home?.victim !== undefined) {
      return this.#slots.drain(home.backend, home.victim, { why: 'evict', heir: adapter, now }); // 3
    }
    if (now < drainDueAt(line, promised.size, this.#options)) return;
    const drained = this.#policy.drain(this.#state, search);
    if (drained?.victim === undefined) {
      this.#isOverdue = true;
      return;
    }
    this.#slots.drain(drained.backend, drained.victim, { why: 'drain', heir: adapter, now }); // 4
  }

  /** Slots that were being emptied for this adapter and need not be any more serve again. */
  undrain(adapter: AdapterId, now: number): void {
    for (const { backend, held } of [...drainsFor(this.#state, adapter)]) this.#slots.undrain(backend, held, now);
  }

  /** When time alone changes something for one of them. */
  nextDeadline(now: number): number | undefined {
    let next: number | undefined;
    for (const line of this.#state.lines.values()) next = earlier(next, this.deadlineOf(line, now));
    return this.#isOverdue ? earlier(next, now + OVERDUE_LOOK_MS) : next;
  }

  deadlineOf(line: Line, now: number): number | undefined {
    return deadlineOf(this.#state, line, { bounds: this.#options, now });
  }

  /** Drains a slot for each line that has waited its bound. */
  serveOverdue(now: number): void {
    for (const line of this.#state.lines.values()) {
      const promised = drainsFor(this.#state, line.adapter).size;
      if (now >= drainDueAt(line, promised, this.#options)) this.#serveLine(line, now);
    }
  }

  /** Ends the wait of those who have waited their bound, and forgets failures that have served their time. */
  expire(now: number): void {
    for (const line of [...this.#state.lines.values()]) {
      for (const ticket of [...line.tickets]) {
        if (now - ticket.arrivedAt < this.#options.waitMsMax) continue;
        const waited = Math.round((now - ticket.arrivedAt) / 1000);
        this.#rejectWaiting(line, ticket, {
          code: 'no_capacity',
          message: `no slot came free for ${line.adapter} in ${waited} s; all are busy`,
        });
      }
      this.#closeIfEmpty(line, now);
    }
    for (const failures of this.#state.failures.values()) {
      for (const [adapter, failure] of failures) if (failure.until <= now) failures.delete(adapter);
    }
  }

  #rejectWaiting(line: Line, ticket: Ticket, { code, message }: { code: ErrorCode; message: string }): void {
    line.tickets.splice(line.tickets.indexOf(ticket), 1);
    this.#state.waiting--;
    this.reject(ticket, code, message);
  }

  reject(ticket: Ticket, code: ErrorCode, message: string): void {
    this.#state.tickets.delete(ticket.id);
    this.#emit({ type: 'reject', ticket: ticket.id, code, message });
  }

  rejectFull(ticket: Ticket): void {
    this.reject(
      ticket,
      'no_capacity',
      `${this.#state.waiting} requests are waiting for a slot already (limits.queueMax)`,
    );
  }

  rejectFailed(ticket: Ticket, failure: Failure): void {
    this.reject(ticket, failure.fault === 'adapter' ? 'checkpoint_not_servable' : 'backend_error', failure.message);
  }

  /** Rejects a whole line when every backend that could load its adapter failed to; a line waits on while one is left. */
  giveUpIfHopeless(adapter: AdapterId, now: number): void {
    const line = this.#state.lines.get(adapter);
    if (line === undefined) return;
    const failures = this.#candidates(line, () => true).map((backend) =>
      failureOf(this.#state, backend.name, adapter, now),
    );
    const [failure] = failures;
    if (failure === undefined || failures.includes(undefined)) return;
    line.publish = undefined;
    for (const ticket of [...line.tickets]) {
      line.tickets.shift();
      this.#state.waiting--;
      this.rejectFailed(ticket, failure);
    }
    this.#closeIfEmpty(line, now);
  }

  /** Nobody is left who serves their base. A publication alone goes on waiting for an engine. */
  rejectStranded(now: number): void {
    for (const line of [...this.#state.lines.values()]) {
      if (this.#candidates(line, () => true).length > 0) {
        this.giveUpIfHopeless(line.adapter, now);
        continue;
      }
      const message = `the last engine that serves the base "${line.target.base}" went down; GET /ready says why`;
      for (const ticket of [...line.tickets])
        this.#rejectWaiting(line, ticket, { code: 'backend_unavailable', message });
      this.#closeIfEmpty(line, now);
    }
  }
}
