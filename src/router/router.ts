// The one owner of the router's state: an event in, effects out, deterministic. It never awaits, logs, measures or asks the time.
// What happens to slots is in slots.ts, who waits is in lines.ts, which backend is preferred is in policy.ts.
import type { AdapterId, BackendName, RequestClass, TicketId } from '../domain.ts';
import { assertNever } from '../domain.ts';
import type { Effect } from './effects.ts';
import type { RouterEvent, Target } from './events.ts';
import { Lines } from './lines.ts';
import type { Policy } from './policy.ts';
import { leastLoaded } from './policy.ts';
import { Publications } from './publications.ts';
import { Replicas } from './replicas.ts';
import { Slots } from './slots.ts';
import type { BackendState, Publish, RouterState, Ticket } from './state.ts';
import { emptyState, failureOf, isReady, serves } from './state.ts';

export interface RouterOptions {
  /** A request of this class that waited this long gets a slot drained for it, before all others; ms. */
  readonly drainAfterMs: Readonly<Record<RequestClass, number>>;
  /** No request waits longer than this, ms. */
  readonly waitMsMax: number;
  /** Waiting requests, over all adapters. */
  readonly queueMax: number;
  /** How long a load that an adapter spoilt is not tried again, ms; a tenth of it when the backend was at fault. */
  readonly failureMemoryMs: number;
  /** An adapter is loaded on one more backend when the least busy that holds it runs this many requests more than that one. */
  readonly replicateAbove: number;
  readonly policy?: Policy;
}

type Event<T extends RouterEvent['type']> = Extract<RouterEvent, { type: T }>;

export class Router {
  readonly state: RouterState = emptyState();
  readonly #options: RouterOptions;
  readonly #policy: Policy;
  readonly #slots: Slots;
  readonly #lines: Lines;
  readonly #replicas: Replicas;
  readonly #publications: Publications;
  #effects: Effect[] = [];
  #wakeAt: number | undefined;

  constructor(options: RouterOptions) {
    this.#options = options;
    this.#policy = options.policy ?? leastLoaded;
    const emit = (effect: Effect) => this.#effects.push(effect);
    this.#slots = new Slots(this.state, emit);
    const parts = { state: this.state, slots: this.#slots, policy: this.#policy, options, emit };
    const promote = (publish: Publish, adapter: AdapterId) => this.#publications.promote(publish, adapter);
    this.#lines = new Lines({ ...parts, promote });
    this.#replicas = new Replicas(parts);
    this.#publications = new Publications({ ...parts, lines: this.#lines });
  }

  /**
   * Takes one event at monotonic time `now` (ms, never decreasing) and returns what to do, in order.
   * Each call is atomic; an event about something that is no longer so is ignored.
   */
  step(event: RouterEvent, now: number): Effect[] {
    this.#effects = [];
    this.#apply(event, now);
    this.#settle(now);
    if (this.state.lines.size > 0) this.#wake(this.#deadlineAfter(event, now));
    return this.#effects;
  }

  /** Until nothing follows from it any more: who waits for an adapter that is ready runs, and slots that came free are given away. */
  #settle(now: number): void {
    const { readied } = this.state;
    while (readied.length > 0 || this.state.stirred) {
      for (let adapter = readied.shift(); adapter !== undefined; adapter = readied.shift()) {
        this.#lines.flush(adapter, now);
        this.#slots.dismissRetired(adapter, now);
      }
      if (!this.state.stirred) continue;
      this.state.stirred = false;
      this.#lines.serve(now);
    }
  }

  /**
   * An earlier alarm than needed costs one look; a later one would break a promise. So all lines are looked at only when the alarm rang, a
   * load failed or a request came back, and otherwise the one line that may have formed.
   */
  #deadlineAfter(event: RouterEvent, now: number): number | undefined {
    const returned = event.type === 'ended' && event.outcome !== 'done';
    if (this.#wakeAt === undefined || returned || event.type === 'loadFailed') return this.#lines.nextDeadline(now);
    const adapter =
      event.type === 'arrived' && event.target.kind === 'adapter'
        ? event.target.adapter
        : event.type === 'published'
          ? event.target.adapter
          : undefined;
    const line = adapter === undefined ? undefined : this.state.lines.get(adapter);
    return line === undefined ? undefined : this.#lines.deadlineOf(line, now);
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
        return this.#backendUp(event, now);
      case 'backendDown':
        return this.#backendDown(event.backend, now);
      case 'observed':
        return this.#slots.observe(event, now);
      case 'published':
        return this.#publications.published(event, now);
      case 'retired':
        this.state.retired.add(event.adapter);
        this.#lines.unpublish(event.adapter);
        return this.#slots.dismissRetired(event.adapter, now);
      case 'pinned':
        this.state.pinned.add(event.adapter);
        return;
      case 'unpinned':
        this.state.pinned.delete(event.adapter);
        this.state.stirred = true;
        return;
      case 'announced':
      case 'withdrawn':
      case 'reserved':
      case 'released':
        return;
      case 'tick':
        this.#wakeAt = undefined;
        this.#lines.expire(now);
        this.#lines.serveOverdue(now);
        this.state.stirred = true; // a failed load may be tried again
        return;
      default:
        return assertNever(event);
    }
  }

  /**
   * 1. No backend that could serve it is up: refuse. 2. A base needs no slot: the least loaded backend. 3. Holders: one of them, in this same
   * step. 4. Every backend has failed to load it lately: refuse with what it said. 5. The queue is full: refuse. 6. Wait in its line.
   */
  #arrived(event: Event<'arrived'>, now: number): void {
    const { ticket: id, target, class: kind, tenant, affinity } = event;
    const able = this.#able(target);
    const place = { kind: 'waiting' } as const;
    const ticket: Ticket = { id, target, class: kind, tenant, affinity, arrivedAt: now, attempts: 0, place };
    if (able.length === 0) return this.#refuseUnable(id, target); // 1
    this.state.tickets.set(id, ticket);
    if (target.kind === 'base') return this.#dispatch(ticket, this.#policy.route(able, ticket.affinity), now); // 2
    this.state.demand.note(target.adapter, now);
    if (this.state.retired.size > 0) this.state.retired.delete(target.adapter);
    const holders = able.filter((backend) => isReady(backend.held.get(target.adapter)));
    if (holders.length > 0) return this.#dispatchAmong(holders, ticket, now); // 3
    const failures = able.map((backend) => failureOf(this.state, backend.name, target.adapter, now));
    const [failure] = failures;
    if (failure !== undefined && !failures.includes(undefined)) return this.#lines.rejectFailed(ticket, failure); // 4
    if (this.state.waiting >= this.#options.queueMax) return this.#lines.rejectFull(ticket); // 5
    this.#lines.join(ticket, target, now); // 6
  }

  #able(target: Target): BackendState[] {
    const able = [];
    for (const backend of this.state.backends.values()) if (serves(backend, target)) able.push(backend);
    return able;
  }

  #dispatch(ticket: Ticket, backend: BackendState, now: number): void {
    const why = ticket.target.kind === 'base' ? 'base' : 'resident';
    this.#effects.push(this.#slots.lease(ticket, backend, why, now));
  }

  #dispatchAmong(holders: readonly BackendState[], ticket: Ticket, now: number): void {
    const holder = this.#policy.route(holders, ticket.affinity);
    this.#dispatch(ticket, holder, now);
    if (ticket.target.kind === 'adapter') this.#replicas.follow(ticket.target, holder, now);
  }

  #refuseUnable(ticket: TicketId, target: Target): void {
    const up = [...this.state.backends.values()].filter((backend) => backend.up && backend.bases.has(target.base));
    if (target.kind === 'base' || up.length === 0) {
      this.#effects.push({ type: 'reject', ticket, code: 'backend_unavailable', message: unavailable(target) });
      return;
    }
    const limits = up.map(({ name, rankMax }) => `${name} takes ${rankMax}`).join(', ');
    const message = `${target.adapter} has rank ${target.rank}, over the limit of every engine that is up (${limits})`;
    this.#effects.push({ type: 'reject', ticket, code: 'checkpoint_not_servable', message });
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
    if (outcome === 'missing' && held !== undefined) this.#slots.reload(backend, held, now);
    if (ticket.attempts >= 2) {
      const message =
        outcome === 'missing'
          ? `engine ${backend} keeps forgetting the adapter it was given; see its log`
          : `the engines refuse connections (${backend} last)`;
      return this.#lines.reject(ticket, outcome === 'missing' ? 'backend_error' : 'backend_unavailable', message);
    }
    this.#retry(ticket, now);
  }

  #retry(ticket: Ticket, now: number): void {
    const able = this.#able(ticket.target);
    if (able.length === 0) return this.#lines.reject(ticket, 'backend_unavailable', unavailable(ticket.target));
    ticket.place = { kind: 'waiting' };
    if (ticket.target.kind === 'base') return this.#dispatch(ticket, this.#policy.route(able, ticket.affinity), now);
    this.#lines.joinFront(ticket, ticket.target, now);
  }

  #loadFailed({ backend, adapter, fault, message }: Event<'loadFailed'>, now: number): void {
    const held = this.state.backends.get(backend)?.held.get(adapter);
    if (held?.residency.state !== 'loading') return;
    this.#slots.drop(backend, adapter, now);
    const memoryMs = fault === 'adapter' ? this.#options.failureMemoryMs : this.#options.failureMemoryMs / 10;
    this.#slots.remember(backend, adapter, { until: now + memoryMs, fault, message });
    this.#lines.giveUpIfHopeless(adapter, now);
  }

  #backendUp({ adapters, ...up }: Event<'backendUp'>, now: number): void {
    const backend = this.#slots.up(up);
    this.state.failures.delete(backend.name);
    for (const adapter of adapters) this.#slots.adopt(backend, adapter, now);
    this.#slots.trim(backend, now);
  }

  #backendDown(name: BackendName, now: number): void {
    this.#slots.down(name, now);
    this.#lines.rejectStranded(now);
  }

  #wake(at: number | undefined): void {
    if (at === undefined || at >= (this.#wakeAt ?? Number.POSITIVE_INFINITY)) return;
    this.#wakeAt = at;
    this.#effects.push({ type: 'wakeAt', at });
  }

  /** Requests in flight on an adapter, over the fleet. */
  leasesOf(adapter: AdapterId): number {
    let leases = 0;
    for (const backend of this.state.backends.values()) leases += backend.held.get(adapter)?.leases ?? 0;
    return leases;
  }
}

const unavailable = (target: Target): string =>
  `no engine that serves the base "${target.base}" is up; GET /ready says which are down and why`;
