// Who waits, and where: one line per adapter, for a slot or, where it is ready, for room; one per base, for room. Joining, leaving, and what
// follows. Who gets slots is in giving.ts, who gets room in room.ts, who is told that it was for nothing in refusals.ts.
import type { AdapterId, BaseName } from '../domain.ts';
import type { Effect } from './effects.ts';
import type { AdapterTarget, Target } from './events.ts';
import { Giving } from './giving.ts';
import { earlier, LineOrder } from './order.ts';
import type { Policy } from './policy.ts';
import { Refusals } from './refusals.ts';
import { Room } from './room.ts';
import type { RouterOptions } from './router.ts';
import type { Slots } from './slots.ts';
import type { BackendState, Line, Publish, RouterState, Ticket } from './state.ts';
import { drainsFor, hasRoute, holdersOf } from './state.ts';
import { Waiting } from './waiting.ts';

interface Parts {
  readonly state: RouterState;
  readonly slots: Slots;
  readonly policy: Policy;
  readonly options: RouterOptions;
  readonly emit: (effect: Effect) => void;
}

export class Lines {
  readonly refusals: Refusals;
  readonly room: Room;
  readonly #state: RouterState;
  readonly #slots: Slots;
  readonly #order: LineOrder;
  readonly #giving: Giving;
  readonly #options: RouterOptions;
  /** Requests whose adapter is ready only where their route is not. */
  readonly #unreached = new Set<Ticket>();
  #formed = 0;
  #joined = 0;

  constructor(parts: Parts) {
    this.#state = parts.state;
    this.#slots = parts.slots;
    this.#options = parts.options;
    this.#order = new LineOrder(parts.state);
    this.#giving = new Giving({ ...parts, order: this.#order });
    this.room = new Room(parts);
    const take = (ticket: Ticket) => this.#take(ticket);
    const closeIfEmpty = (line: Line, now: number) => this.#closeIfEmpty(line, now);
    this.refusals = new Refusals({ ...parts, take, closeIfEmpty, gone: () => this.#joined - this.#state.waiting });
  }

  /** Joining changes nobody else's chances: only this line is looked at, unless the turn of a tenant makes it so old that it is owed a second slot. */
  join(ticket: Ticket, target: AdapterTarget, now: number): void {
    const line = this.#line(target, now);
    const isReady = holdersOf(this.#state, line.adapter).size > 0;
    const since = isReady ? ticket.arrivedAt : Math.min(this.#order.take(line, ticket, now), ticket.arrivedAt);
    line.tickets.add(ticket, since);
    this.#enter();
    if (isReady) return this.flush(line.adapter, now);
    const wasOwed = this.#giving.isOwedMore(line, now);
    this.#order.add(line);
    if (line.tickets.length === 1 || now >= line.dueAt) this.#giving.give(line, now);
    if (!wasOwed && this.#giving.isOwedMore(line, now)) this.#state.stirred = true;
  }

  /** For a request that needs a base alone, and found no room. */
  joinBase(ticket: Ticket, base: BaseName, now: number): void {
    const waiting = this.#state.baseLines.get(base) ?? new Waiting();
    this.#state.baseLines.set(base, waiting);
    waiting.add(ticket, ticket.arrivedAt);
    this.#enter();
    this.room.flush({ waiting, line: undefined }, now);
  }

  #enter(): void {
    this.#state.waiting++;
    this.#joined++;
  }

  /** Why one more may not wait for it; undefined: it may. */
  fullFor(target: Target): string | undefined {
    const { queueMax, queuePerCheckpointMax } = this.#options;
    const { waiting, lines, baseLines } = this.#state;
    if (waiting >= queueMax) return `${waiting} requests are waiting already (limits.queueMax)`;
    const line = target.kind === 'adapter' ? lines.get(target.adapter)?.tickets : baseLines.get(target.base);
    if (line === undefined || line.length < queuePerCheckpointMax) return undefined;
    const name = target.kind === 'adapter' ? target.adapter : target.base;
    return `${line.length} requests are waiting for ${name} already (limits.queuePerCheckpointMax)`;
  }

  /** Others wait for the same already. */
  isAhead(target: Target): boolean {
    if (target.kind === 'adapter') return this.#state.lines.has(target.adapter);
    return (this.#state.baseLines.get(target.base)?.length ?? 0) > 0;
  }

  #line(target: AdapterTarget, now: number): Line {
    const { adapter } = target;
    const known = this.#state.lines.get(adapter);
    if (known !== undefined) return known;
    const tickets = new Waiting();
    const line: Line = {
      ...{ adapter, target, formedAt: now, order: ++this.#formed, tickets, publish: undefined },
      ...{ class: 'rollout', dueAt: Number.POSITIVE_INFINITY, turn: Number.POSITIVE_INFINITY },
    };
    this.#state.lines.set(adapter, line);
    return line;
  }

  /** The caller left: nothing is loaded for it from now on. */
  leave(ticket: Ticket, now: number): void {
    this.#take(ticket);
    const line = ticket.target.kind === 'adapter' ? this.#state.lines.get(ticket.target.adapter) : undefined;
    if (line !== undefined) this.#closeIfEmpty(line, now);
  }

  #take(ticket: Ticket): void {
    const { target } = ticket;
    const line = target.kind === 'adapter' ? this.#state.lines.get(target.adapter) : undefined;
    const waiting = target.kind === 'base' ? this.#state.baseLines.get(target.base) : line?.tickets;
    if (waiting?.remove(ticket, false) !== true) return;
    this.#state.waiting--;
    if (line !== undefined && line.tickets.length > 0 && holdersOf(this.#state, line.adapter).size === 0)
      this.#order.add(line);
  }

  #closeIfEmpty(line: Line, now: number): void {
    if (line.tickets.length > 0 || line.publish !== undefined) return;
    this.#close(line);
    this.#giving.undrain(line.adapter, now);
    this.#slots.dismissRetired(line.adapter, now);
  }

  #close(line: Line): void {
    if (this.#state.lines.get(line.adapter) === line) this.#state.lines.delete(line.adapter);
    this.#order.remove(line, false);
  }

  /** A line without requests, so that its adapter gets a slot ahead of them. */
  publish(target: AdapterTarget, publish: Publish, now: number): void {
    const line = this.#line(target, now);
    line.publish = publish;
    this.#state.isPlanStale = true;
    this.#order.add(line);
    this.#giving.give(line, now);
  }

  unpublish(adapter: AdapterId, now: number): void {
    const line = this.#state.lines.get(adapter);
    if (line?.publish === undefined) return;
    line.publish = undefined;
    this.#state.isPlanStale = true;
    this.#closeIfEmpty(line, now);
  }

  /** The adapter is ready: who waits for it runs, for as long as there is room. */
  flush(adapter: AdapterId, now: number): void {
    const line = this.#state.lines.get(adapter);
    if (line === undefined || holdersOf(this.#state, adapter).size === 0) return;
    this.#order.remove(line, true);
    line.publish = undefined;
    this.room.flush({ waiting: line.tickets, line }, now);
    this.#closeIfEmpty(line, now);
    if (line.tickets.length > 0) this.#noteUnreached(line, now);
    if (drainsFor(this.#state, adapter).size > 0) this.#giving.undrain(adapter, now);
  }

  /** None that holds what it waits for has its route. */
  #isUnreached({ target, route }: Ticket): boolean {
    if (target.kind === 'base') return false;
    for (const backend of holdersOf(this.#state, target.adapter)) if (hasRoute(backend, { route })) return false;
    return true;
  }

  #noteUnreached({ adapter, tickets }: Line, now: number): void {
    for (const { routes } of holdersOf(this.#state, adapter)) {
      if (routes === undefined) continue;
      for (const ticket of tickets) if (this.#isUnreached(ticket)) this.#unreached.add(ticket);
      return this.reach(now);
    }
  }

  /** Has what somebody waits for loaded where there is the route that it asks for, beside those that hold it already. */
  reach(now: number, isNext: (ticket: Ticket) => boolean = () => true): void {
    for (const ticket of this.#unreached) {
      if (!isNext(ticket)) continue;
      const isWaiting = this.#state.tickets.get(ticket.id) === ticket && ticket.place.kind === 'waiting';
      if (isWaiting && this.#isUnreached(ticket)) this.#giving.extend(ticket, now);
      else this.#unreached.delete(ticket);
    }
  }

  /** No backend is ready for the adapter any more: who waits for it needs a slot from now on, and is as old as before. */
  unready(adapter: AdapterId, now: number): void {
    const line = this.#state.lines.get(adapter);
    if (line === undefined || holdersOf(this.#state, adapter).size > 0) return;
    this.#order.add(line);
    this.#giving.give(line, now);
  }

  /** A request ended on it: who waits for room there runs. Returns a line that still waits. */
  fill(backend: BackendState, now: number): Line | undefined {
    let crowded: Line | undefined;
    for (const line of this.room.fill(backend, now)) {
      this.#closeIfEmpty(line, now);
      if (line.tickets.length > 0) crowded = line;
    }
    return crowded;
  }

  /** Other bounds count from now on. */
  reorder(): void {
    for (const line of [...this.#order]) this.#order.add(line);
  }

  /** A slot may have come free. */
  serve(now: number): void {
    this.reach(now, (ticket) => now >= ticket.since + this.#state.bounds.dueAfterMs[ticket.class]);
    this.#giving.serve(now);
    this.#giving.serveAgain(now);
    this.reach(now);
  }

  /** An adapter became ready: it may be one to drain. */
  look(): void {
    this.#giving.look();
  }

  /** When time alone changes something for somebody, ms. Looks at all who wait. */
  nextDeadline(now: number): number | undefined {
    return earlier(this.#giving.nextAt(now), this.refusals.nextAt(now));
  }

  /** The same for one that may have formed just now, and whatever was put off. */
  deadlineOf(line: Line | undefined, now: number): number | undefined {
    const due =
      line !== undefined && line.dueAt > now && line.dueAt < Number.POSITIVE_INFINITY ? line.dueAt : undefined;
    const retry = line === undefined ? undefined : this.refusals.retryAt(line.adapter, now);
    return earlier(earlier(due, retry), this.#giving.retryAt(now));
  }
}
