// The one owner of the router's state: an event in, effects out, deterministic. It never awaits, logs, measures or asks the time.
// What happens to slots is in slots.ts, who waits is in lines.ts, which backend is preferred is in policy.ts.
import type { SweepId, TicketId } from '../domain.ts';
import { assertNever } from '../domain.ts';
import type { Expected } from './announced.ts';
import { Backends } from './backends.ts';
import type { Effect } from './effects.ts';
import type { RouterEvent, Target } from './events.ts';
import { Keeper } from './keeper.ts';
import { Lines } from './lines.ts';
import { boundsOf, type RouterOptions } from './options.ts';
import { earlier } from './order.ts';
import { leastLoaded } from './policy.ts';
import { Prefetch } from './prefetch.ts';
import { Publications } from './publications.ts';
import { Replicas } from './replicas.ts';
import { Slots } from './slots.ts';
import type { BackendState, RouterState, Ticket } from './state.ts';
import { emptyState, holdersOf, isReady, serves } from './state.ts';

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
    this.#backends = new Backends({ ...parts, refusals: this.#lines.refusals });
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
    this.#apply(event, now);
    this.#settle(now);
    if (this.state.waiting > 0 || this.state.lines.size > 0) this.#wake(this.#deadlineAfter(event, now), now);
    if (this.state.publications.size > 0) this.#wake(this.#publications.nextDeadline(), now);
    if (this.state.reservations.size > 0 && this.state.failures.size > 0) this.#wake(this.#keeper.retryAt(now), now);
    return this.#effects;
  }

  /** Until nothing follows from it any more: who waits for what is ready runs while there is room, and slots that came free are given away. */
  #settle(now: number): void {
    const { readied, unreadied, roomy } = this.state;
    while (readied.size + unreadied.size + roomy.size > 0 || this.state.stirred) {
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
      case 'loadFailed':
        return this.#loadFailed(event, now);
      case 'unloaded':
        return this.#slots.unloaded(event.backend, event.adapter, now);
      case 'unloadFailed':
        return this.#slots.unloadFailed(event.backend, event.adapter, now);
      case 'backendUp':
      case 'backendDown':
      case 'backendGone':
      case 'cordoned':
      case 'uncordoned':
        return this.#backends.step(event, now);
      case 'configured':
        return this.#configured(event.options);
      case 'observed':
        return this.#slots.observe(event, now);
      case 'published':
        return this.#publications.published(event, now);
      case 'retired':
        this.state.retired.add(event.adapter);
        this.#lines.unpublish(event.adapter, now);
        this.#publications.follow(now);
        this.#keeper.retired(event.adapter);
        this.state.announced.forget(event.adapter);
        return this.#slots.dismissRetired(event.adapter, now);
      case 'announced':
        return this.#announced(event.sweep, event.expected);
      case 'withdrawn':
        return this.#announced(event.sweep, []);
      case 'reserved':
        return this.#keeper.reserved(event.reservation);
      case 'released':
        return this.#keeper.released(event.reservation);
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
   * 1. No backend that could serve it is up, cordoned or not: refuse. 2. Some are ready for it, and have room: one of them, in this same step. 3. Every backend has
   * failed to load it lately: refuse with what it said. 4. The queue is full: refuse. 5. Wait in its line: for room, or for a slot.
   */
  #arrived(event: Event<'arrived'>, now: number): void {
    const { ticket: id, target, class: kind, tenant, affinity, near } = event;
    const able = this.#able(target);
    if (able.length === 0 && !this.#lines.refusals.isServable(target)) return this.#lines.refusals.unable(id, target); // 1
    const order = ++this.state.arrivals;
    const ticket: Ticket = {
      id,
      target,
      class: kind,
      tenant,
      affinity,
      near,
      order,
      arrivedAt: now,
      since: now,
      turn: undefined,
      attempts: 0,
      place: { kind: 'waiting' },
    };
    this.state.tickets.set(id, ticket);
    if (target.kind === 'adapter') {
      this.state.demand.note(target.adapter, now);
      if (this.state.retired.size > 0) this.state.retired.delete(target.adapter);
    }
    const ready = target.kind === 'base' ? able : able.filter((backend) => isReady(backend.held.get(target.adapter)));
    const holder = this.#lines.room.of(ready, ticket);
    if (holder !== undefined && (holder.name === near || !this.#lines.isAhead(target)))
      return this.#dispatch(ticket, holder, now); // 2
    if (target.kind === 'adapter' && ready.length === 0) {
      const failure = this.#lines.refusals.hopeless(able, target.adapter, now);
      if (failure !== undefined) return this.#lines.refusals.failed(ticket, failure); // 3
    }
    if (this.state.waiting >= this.#options.queueMax) return this.#lines.refusals.full(ticket); // 4
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

  #able(target: Target): BackendState[] {
    const able = [];
    for (const backend of this.state.backends.values()) if (serves(backend, target)) able.push(backend);
    return able;
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
    this.state.tickets.delete(id);
    if (ticket.place.kind === 'waiting') this.#lines.leave(ticket, now);
    else this.#slots.release(ticket, now);
  }

  /** `missing` and `refused` go back to the front of the line for one more attempt; the third dispatch does not exist. */
  #ended({ ticket: id, outcome }: Event<'ended'>, now: number): void {
    const ticket = this.state.tickets.get(id);
    if (ticket === undefined || ticket.place.kind !== 'running') return;
    const { backend, held } = ticket.place;
    this.#slots.release(ticket, now);
    if (outcome === 'done') return void this.state.tickets.delete(id);
    if (outcome === 'missing' && held !== undefined) this.#slots.reload(backend.name, held, now);
    if (ticket.attempts >= 2) {
      const message =
        outcome === 'missing'
          ? `engine ${backend.name} keeps forgetting the adapter it was given; see its log`
          : `the engines refuse connections (${backend.name} last)`;
      const code = outcome === 'missing' ? 'backend_error' : 'backend_unavailable';
      return this.#lines.refusals.reject(ticket, { code, message });
    }
    this.#retry(ticket, now);
  }

  #retry(ticket: Ticket, now: number): void {
    if (!this.#lines.refusals.isServable(ticket.target)) {
      this.state.tickets.delete(ticket.id);
      return this.#lines.refusals.unable(ticket.id, ticket.target);
    }
    ticket.place = { kind: 'waiting' };
    this.#wait(ticket, now);
  }

  #loadFailed({ backend, adapter, fault, message }: Event<'loadFailed'>, now: number): void {
    const held = this.state.backends.get(backend)?.held.get(adapter);
    if (held?.residency.state !== 'loading') return;
    this.#slots.drop(backend, adapter, now);
    const memoryMs = fault === 'adapter' ? this.#options.failureMemoryMs : this.#options.failureMemoryMs / 10;
    this.#slots.remember(backend, adapter, { until: now + memoryMs, fault, message });
    this.#lines.refusals.giveUpIfHopeless(adapter, now);
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
