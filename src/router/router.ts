// The one owner of the router's state: an event in, effects out, deterministic. It never awaits, logs, measures or asks the time.
// What happens to slots is in slots.ts, who waits is in lines.ts, which backend is preferred is in policy.ts.
import type { SweepId, TicketId } from '../domain.ts';
import { assertNever } from '../domain.ts';
import type { Expected } from './announced.ts';
import { Backends } from './backends.ts';
import type { Effect } from './effects.ts';
import { emptyState, newTicket } from './empty-state.ts';
import type { RouterEvent, Target } from './events.ts';
import { Ejections } from './health.ts';
import { Keeper } from './keeper.ts';
import { Lines } from './lines.ts';
import { boundsOf, type RouterOptions } from './options.ts';
import { earlier } from './order.ts';
import { leastLoaded } from './policy.ts';
import { Prefetch } from './prefetch.ts';
import { Publications } from './publications.ts';
import { Quarantines } from './quarantine.ts';
import { Replicas } from './replicas.ts';
import { isSentBack, mayAskAnother, noteRetry, refusalOf } from './retries.ts';
import { Slots } from './slots.ts';
import type { BackendState, RouterState, Ticket } from './state.ts';
import { ableOf, forget, holdersOf, isReady } from './state.ts';

export type { RouterOptions } from './options.ts';

type Event<T extends RouterEvent['type']> = Extract<RouterEvent, { type: T }>;

/** After these, time may change something sooner than was thought, for many. */
const RARE: ReadonlySet<RouterEvent['type']> = new Set(['loadFailed', 'backendDown', 'cordoned', 'configured']);

export class Router {
  readonly state: RouterState;
  /** One object, which all parts read: `configured` changes what is in it. */
  readonly #options: RouterOptions;
  readonly #slots: Slots;
  readonly #lines: Lines;
  readonly #ejections: Ejections;
  readonly #quarantines: Quarantines;
  readonly #backends: Backends;
  readonly #keeper: Keeper;
  readonly #replicas: Replicas;
  readonly #publications: Publications;
  readonly #prefetch: Prefetch;
  #effects: Effect[] = [];
  #wakeAt: number | undefined;

  constructor(options: RouterOptions) {
    this.#options = { ...options };
    this.state = emptyState(boundsOf(options));
    const emit = (effect: Effect) => this.#effects.push(effect);
    this.#slots = new Slots(this.state, emit);
    const policy = options.policy ?? leastLoaded;
    const parts = { state: this.state, slots: this.#slots, policy, options: this.#options, emit };
    this.#lines = new Lines(parts);
    this.#ejections = new Ejections(parts);
    this.#quarantines = new Quarantines(parts);
    const [ejections, quarantines] = [this.#ejections, this.#quarantines];
    this.#backends = new Backends({ ...parts, ejections, quarantines, refusals: this.#lines.refusals });
    this.#keeper = new Keeper(parts);
    this.#replicas = new Replicas(parts);
    this.#publications = new Publications({ ...parts, lines: this.#lines });
    this.#prefetch = new Prefetch(parts);
  }

  /**
   * Takes one event at monotonic time `now` (ms, never decreasing) and returns what to do, in order.
   * Each call is atomic; an event about something that is no longer so is ignored.
   */
  step(event: RouterEvent, now: number): Effect[] {
    this.#effects = [];
    this.state.wanted = undefined;
    const { isolated, quarantine } = this.state;
    if (isolated.size > 0) this.#ejections.pass(now);
    if (quarantine.size > 0) this.#quarantines.pass(now);
    this.#apply(event, now);
    this.#settle(now);
    this.#slots.forgetRetired();
    if (this.state.waiting > 0 || this.state.lines.size > 0) this.#wake(this.#deadlineAfter(event, now), now);
    if (this.state.publications.size > 0) this.#wake(this.#publications.nextDeadline(), now);
    if (this.state.reservations.size > 0 && this.state.failures.size > 0) this.#wake(this.#keeper.retryAt(now), now);
    if (isolated.size > 0) this.#wake(this.#ejections.nextAt(), now);
    if (quarantine.size > 0) this.#wake(this.#quarantines.nextAt(), now);
    return this.#effects;
  }

  /** Until nothing follows from it any more: who waits for what is ready runs while there is room, and slots that came free are given away. */
  #settle(now: number): void {
    const { readied, unreadied, roomy, shut, quarantine } = this.state;
    if (quarantine.size > 0) this.#quarantines.expel(now);
    while (readied.size + unreadied.size + roomy.size + shut.size > 0 || this.state.stirred) {
      for (const backend of shut) {
        shut.delete(backend);
        this.#slots.undrainAll(backend, now);
      }
      for (const adapter of readied) {
        readied.delete(adapter);
        this.#lines.flush(adapter, now);
        this.#lines.look();
        this.#slots.dismissRetired(adapter, now);
      }
      for (const adapter of unreadied) {
        unreadied.delete(adapter);
        this.#lines.unready(adapter, now);
      }
      for (const backend of roomy) {
        roomy.delete(backend);
        const crowded = this.#lines.fill(backend, now);
        if (crowded !== undefined) this.#replicas.follow(crowded.target, crowded.class, now);
      }
      this.#publications.follow(now);
      if (!this.state.stirred) continue;
      this.state.stirred = false;
      this.#lines.serve(now);
      if (quarantine.size > 0) this.#quarantines.expel(now); // a drain may have been taken back
      if (readied.size === 0 && !this.state.stirred) this.#prefetch.ahead(now);
    }
    this.#keeper.keep(now);
  }

  /**
   * An earlier alarm than needed costs one look; a later one would break a promise. So all who wait are looked at only when the alarm rang,
   * something rare happened or a request came back, and otherwise the one line that may have formed.
   */
  #deadlineAfter(event: RouterEvent, now: number): number | undefined {
    const returned = event.type === 'ended' && event.outcome !== 'done';
    if (this.#wakeAt === undefined || returned || RARE.has(event.type)) return this.#lines.nextDeadline(now);
    const isNew = event.type === 'arrived' || event.type === 'published';
    const line = isNew && event.target.kind === 'adapter' ? this.state.lines.get(event.target.adapter) : undefined;
    const deadline = this.#lines.deadlineOf(line, now);
    return event.type === 'arrived' ? earlier(deadline, now + this.#options.waitMsMax) : deadline;
  }

  #apply(event: RouterEvent, now: number): void {
    switch (event.type) {
      case 'arrived':
        return this.#arrived(event, now);
      case 'cancelled':
        return this.#cancelled(event.ticket, now);
      case 'ended':
        return this.#ended(event, now);
      case 'loaded':
        return this.#slots.loaded(event.backend, event.adapter, now);
      case 'unloaded':
        return this.#slots.unloaded(event.backend, event.adapter, now);
      case 'unloadFailed':
        return this.#slots.unloadFailed(event.backend, event.adapter, now);
      case 'backendUp':
      case 'backendDown':
      case 'backendGone':
      case 'cordoned':
      case 'uncordoned':
      case 'observed':
      case 'loadFailed':
        return this.#backends.step(event, now);
      case 'configured':
        return this.#configured(event.options);
      case 'published':
        return this.#publications.published(event, now);
      case 'retired':
        this.state.retired.add(event.adapter);
        this.#lines.unpublish(event.adapter, now);
        this.#publications.follow(now);
        this.#keeper.retired(event.adapter);
        this.state.announced.forget(event.adapter);
        this.#quarantines.retired(event.adapter);
        return this.#slots.dismissRetired(event.adapter, now);
      case 'announced':
        return this.#announced(event.sweep, event.expected);
      case 'withdrawn':
        return this.#announced(event.sweep, []);
      case 'reserved':
        return this.#keeper.reserved(event.reservation);
      case 'released':
        return this.#keeper.released(event.reservation);
      case 'retry':
        return this.#quarantines.retry(event.adapter, now);
      case 'tick':
        this.#wakeAt = undefined;
        this.#lines.refusals.expire(now);
        this.state.isPlanStale = true; // nor keeps it its reserved slots elsewhere any more
        this.state.stirred = true; // a failed load may be tried again
        return;
      default:
        return assertNever(event);
    }
  }

  /**
   * 1. No backend that could serve it, and has the route, is up, cordoned or not: refuse. 2. Some are ready for it, and have room: one of them, in this same step. 3. Every backend has
   * failed to load it lately: refuse with what it said. 4. The queue, or its part for one target, is full: refuse. 5. Wait in its line: for room, or for a slot.
   */
  #arrived(event: Event<'arrived'>, now: number): void {
    const { ticket: id, target, near } = event;
    const able = ableOf(this.state, target, event);
    if (able.length === 0 && !this.#lines.refusals.isServable(target, event))
      return this.#lines.refusals.unable(id, target, event.route); // 1
    const ticket = newTicket(event, ++this.state.arrivals, now);
    this.state.tickets.set(id, ticket);
    if (target.kind === 'adapter') {
      this.state.demand.note(target.adapter, now);
      if (this.state.retired.size > 0) this.state.retired.delete(target.adapter);
    }
    const ready = target.kind === 'base' ? able : able.filter((backend) => isReady(backend.held.get(target.adapter)));
    const holder = this.#lines.room.of(ready, ticket, now);
    if (holder !== undefined && (holder.name === near || !this.#lines.isAhead(target)))
      return this.#dispatch(ticket, holder, now); // 2
    const failure = this.#lines.refusals.hopeless(target, now, event);
    if (failure !== undefined) return this.#lines.refusals.failed(ticket, failure); // 3
    const full = this.#lines.fullFor(target);
    if (full !== undefined) return this.#lines.refusals.noCapacity(ticket, full, now); // 4
    this.#wait(ticket, now); // 5
  }

  #wait(ticket: Ticket, now: number): void {
    const { target } = ticket;
    if (target.kind === 'base') return this.#lines.joinBase(ticket, target.base, now);
    this.#lines.join(ticket, target, now);
    if (holdersOf(this.state, target.adapter).size > 0) this.#replicas.follow(target, ticket.class, now);
  }

  /** Who had a sweep alone for a caller has none from now on, and may make room. */
  #announced(sweep: SweepId, expected: readonly Expected[]): void {
    for (const { adapter, model } of this.state.announced.replace(sweep, expected))
      if (this.state.newest.get(model) !== adapter) this.state.demand.forget(adapter);
    this.state.stirred = true;
  }

  #configured(options: Event<'configured'>['options']): void {
    Object.assign(this.#options, options);
    Object.assign(this.state.bounds, boundsOf(options));
    this.#lines.reorder();
    this.state.stirred = true;
  }

  #dispatch(ticket: Ticket, backend: BackendState, now: number): void {
    const { target } = ticket;
    this.#effects.push(this.#slots.lease(ticket, backend, target.kind === 'base' ? 'base' : 'resident', now));
    if (target.kind === 'adapter') this.#replicas.follow(target, ticket.class, now);
  }

  #cancelled(id: TicketId, now: number): void {
    const ticket = this.state.tickets.get(id);
    if (ticket === undefined) return;
    forget(this.state, ticket);
    if (ticket.place.kind === 'waiting') return this.#lines.leave(ticket, now);
    const { backend } = ticket.place;
    this.#slots.release(ticket, now);
    this.#ejections.left(ticket, backend);
  }

  /** Who was sent back goes to the front of the line for one more attempt; the third dispatch does not exist. */
  #ended({ ticket: id, outcome, gone }: Event<'ended'>, now: number): void {
    const ticket = this.state.tickets.get(id);
    if (ticket === undefined || ticket.place.kind !== 'running') return;
    const { backend, held } = ticket.place;
    this.#slots.release(ticket, now);
    if (outcome === 'done' || outcome === 'declined') {
      this.#ejections.answered(ticket, backend, now);
      if (outcome === 'done' && held?.isProven === false) this.#quarantines.prove(held);
      return forget(this.state, ticket);
    }
    this.#ejections.unanswered(ticket, backend, { outcome, now });
    if (!isSentBack(outcome)) return forget(this.state, ticket);
    if (outcome === 'missing' && held !== undefined) {
      if (gone === undefined) this.#slots.reload(backend.name, held, now);
      else this.#backends.lacks(backend, held, { message: gone, now });
      const failure = this.#lines.refusals.hopeless(ticket.target, now, ticket);
      if (failure !== undefined) return this.#lines.refusals.failed(ticket, failure);
    }
    if (outcome === 'refused' && held !== undefined) this.#quarantines.unsent(held, id);
    const refusal = refusalOf(this.state, ticket, { outcome, backend: backend.name });
    if (refusal !== undefined) return this.#lines.refusals.reject(ticket, refusal);
    noteRetry(this.state, ticket, backend.name);
    this.#retry(ticket, now);
  }

  /** Whether a request that its engine has no time for could run elsewhere. */
  mayAskAnother(id: TicketId): boolean {
    return mayAskAnother(this.state, this.state.tickets.get(id));
  }

  #retry(ticket: Ticket, now: number): void {
    const { id, target } = ticket;
    if (!this.#lines.refusals.isServable(target, ticket)) {
      forget(this.state, ticket);
      return this.#lines.refusals.unable(id, target, ticket.route);
    }
    const failure = this.#lines.refusals.hopeless(target, now, ticket);
    if (failure !== undefined) return this.#lines.refusals.failed(ticket, failure);
    this.#wait(ticket, now);
  }

  #wake(due: number | undefined, now: number): void {
    const at = due === undefined ? undefined : Math.max(due, now + 1);
    if (at === undefined || at >= (this.#wakeAt ?? Number.POSITIVE_INFINITY)) return;
    this.#wakeAt = at;
    this.#effects.push({ type: 'wakeAt', at });
  }

  /** More than one backend could take it now, so that it matters which: only then is an affinity worth computing. */
  isShared(target: Target): boolean {
    const holders = target.kind === 'base' ? this.state.backends.size : holdersOf(this.state, target.adapter).size;
    return holders > 1;
  }
}
