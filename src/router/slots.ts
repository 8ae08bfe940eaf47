// Slots and leases: how residency changes on each backend, `absent -> loading -> ready -> draining -> absent`.
// Enforces the two laws of a slot: nothing is unloaded while a lease is open, and no load is asked for beyond the slots.
import type { AdapterId, BackendName, Why } from '../domain.ts';
import type { Effect } from './effects.ts';
import type { RouterEvent } from './events.ts';
import type { Failure } from './failures.ts';
import { placed } from './health.ts';
import type { Claim } from './policy.ts';
import { indexed } from './residency-index.ts';
import type { BackendState, Held, Residency, RouterState, Ticket } from './state.ts';
import { isIdle, isLost, isReady, isUnloading } from './state.ts';

export class Slots {
  readonly #state: RouterState;
  readonly #emit: (effect: Effect) => void;
  /** In this step. */
  readonly #leftRetired = new Set<AdapterId>();

  constructor(state: RouterState, emit: (effect: Effect) => void) {
    this.#state = state;
    this.#emit = emit;
  }

  /** The one place where residency changes (undefined: absent): keeps the indices true, and notes what others may now do. */
  #become(backend: BackendState, held: Held, wanted: Residency | undefined, now: number): void {
    const next = backend.cordoned && wanted?.state === 'ready' ? keptAway(wanted) : wanted;
    const isThere = backend.held.get(held.adapter) === held;
    if (isThere) indexed(this.#state, { backend, held }, -1);
    if (next === undefined) backend.held.delete(held.adapter);
    else {
      held.residency = next;
      backend.held.set(held.adapter, held);
      indexed(this.#state, { backend, held }, 1);
    }
    backend.changedAt = now;
    this.#state.isPlanStale = true;
    if (next === undefined || next.state === 'ready') this.#state.stirred = true;
    if (next?.state === 'ready' && !backend.open) this.dismissRetired(held.adapter, now); // it is in no index, so nobody looks at it
  }

  /** Opens a lease: the ticket runs there from now on. */
  lease(ticket: Ticket, backend: BackendState, why: Why, now: number): Effect {
    const held = ticket.target.kind === 'adapter' ? backend.held.get(ticket.target.adapter) : undefined;
    if (held !== undefined && ticket.target.kind === 'adapter') {
      if (held.usedFor === undefined) {
        held.usedFor = { model: ticket.target.model, class: ticket.class };
        this.#state.isPlanStale = true;
      }
      held.leases++;
      held.lastUsedAt = now;
      held.tried ??= { ticket: ticket.id, at: now };
      if (held.residency.why === 'prefetch') this.#cameTrue(held, held.residency);
    }
    backend.inFlight++;
    ticket.attempts++;
    ticket.place = { kind: 'running', backend, held };
    if (backend.health.standing.kind === 'trial') placed(this.#state, backend, ticket.id);
    return { type: 'dispatch', ticket: ticket.id, backend: backend.name, why };
  }

  /** It was loaded on a guess, and somebody asks for it: the next may be guessed. */
  #cameTrue(held: Held, residency: Residency): void {
    held.residency = { ...residency, why: 'resident' };
    this.#state.stirred = true;
  }

  /** Closes a lease; a slot that was only waiting for it is emptied. */
  release(ticket: Ticket, now: number): void {
    if (ticket.place.kind !== 'running') return;
    const { backend, held } = ticket.place;
    if (this.#state.waiting > 0 && backend.inFlight >= backend.limit.of('eval')) this.#state.roomy.add(backend);
    backend.inFlight--;
    ticket.place = { kind: 'waiting' };
    if (held === undefined) return;
    held.leases--;
    held.lastUsedAt = now;
    if (backend.held.get(held.adapter) !== held || held.leases > 0) return;
    this.#state.stirred = true;
    if (isUnloading(held)) this.drop(backend.name, held.adapter, now);
    else if (held.residency.state === 'draining') this.#unload(backend, held, now);
    else this.dismissRetired(held.adapter, now);
    if (backend.held.size > backend.slots) this.trim(backend, now);
  }

  #unused(adapter: AdapterId, now: number): Omit<Held, 'residency' | 'usedFor'> {
    const isProven = this.#state.proven.has(adapter);
    return { adapter, leases: 0, lastUsedAt: now, readyAt: now, tried: undefined, isProven };
  }

  /** Takes a free slot. */
  load(backend: BackendState, { target, class: kind, cause }: Claim, now: number): void {
    const vacated = backend.vacated.pop() ?? 'room';
    const why = cause === 'request' ? vacated : cause;
    const { adapter, model } = target;
    const residency = { state: 'loading', since: now, why } as const;
    const held: Held = { ...this.#unused(adapter, now), residency, usedFor: { model, class: kind } };
    this.#countStrays(backend, held);
    this.#become(backend, held, residency, now);
    this.#emit({ type: 'load', backend: backend.name, adapter, why });
  }

  /** The engine forgot it: the same slot loads it again; requests that still run on the old registration keep their leases. */
  reload(name: BackendName, held: Held, now: number): void {
    const backend = this.#state.backends.get(name);
    if (backend?.up !== true || backend.held.get(held.adapter) !== held || !isReady(held)) return;
    this.#become(backend, held, { state: 'loading', since: now, why: 'reload' }, now);
    this.#emit({ type: 'load', backend: name, adapter: held.adapter, why: 'reload' });
  }

  loaded(name: BackendName, adapter: AdapterId, now: number): void {
    const backend = this.#state.backends.get(name);
    const held = backend?.held.get(adapter);
    if (backend === undefined || held?.residency.state !== 'loading') return;
    held.lastUsedAt = held.readyAt = now;
    const tookMs = now - held.residency.since;
    backend.loadMs += (backend.loadMs === 0 ? 1 : LOAD_WEIGHT) * (tookMs - backend.loadMs);
    this.#state.loadMs += (this.#state.loadMs === 0 ? 1 : FLEET_LOAD_WEIGHT) * (tookMs - this.#state.loadMs);
    this.#become(backend, held, { state: 'ready', since: now, why: held.residency.why }, now);
    if (backend.held.size > backend.slots) this.trim(backend, now);
  }

  /** No new requests on it; unloaded at once when nobody runs on it, else with its last lease. */
  drain(
    backend: BackendState,
    held: Held,
    { why, heir, now }: { why: Why; heir: AdapterId | undefined; now: number },
  ): void {
    this.#become(backend, held, { state: 'draining', since: now, why, unloading: false, heir }, now);
    if (held.leases === 0) this.#unload(backend, held, now);
  }

  /** Its slot is not needed after all: it serves again. */
  undrain(backend: BackendState, held: Held, now: number): void {
    if (held.residency.state !== 'draining' || isUnloading(held)) return;
    this.#become(backend, held, { state: 'ready', since: now, why: 'resident' }, now);
    if (backend.held.size > backend.slots) this.trim(backend, now);
  }

  /** It takes nothing new: no slot there is emptied for anybody. */
  undrainAll(backend: BackendState, now: number): void {
    for (const held of [...backend.held.values()])
      if (held.residency.state === 'draining' && held.residency.heir !== undefined) this.undrain(backend, held, now);
  }

  #unload(backend: BackendState, held: Held, now: number): void {
    if (held.residency.state !== 'draining' || isUnloading(held) || backend.cordoned) return;
    this.#become(backend, held, { ...held.residency, unloading: true }, now);
    this.#emit({ type: 'unload', backend: backend.name, adapter: held.adapter, why: held.residency.why });
  }

  unloaded(name: BackendName, adapter: AdapterId, now: number): void {
    const held = this.#state.backends.get(name)?.held.get(adapter);
    if (held?.residency.state !== 'draining' || !held.residency.unloading || isLost(held)) return;
    this.drop(name, adapter, now);
    if (held.residency.heir !== undefined) this.#state.backends.get(name)?.vacated.push(held.residency.why);
  }

  /** It is there still: it serves again, as the most recently used, so that another one is chosen next. */
  unloadFailed(name: BackendName, adapter: AdapterId, now: number): void {
    const backend = this.#state.backends.get(name);
    const held = backend?.held.get(adapter);
    if (backend === undefined || held?.residency.state !== 'draining' || !held.residency.unloading) return;
    if (isLost(held)) return;
    held.lastUsedAt = now;
    this.#become(backend, held, { state: 'ready', since: now, why: held.residency.why }, now);
    if (backend.held.size > backend.slots) this.trim(backend, now);
  }

  /** It is not loaded, or not as ours: the slot is free, once the last request that still runs on what was loaded before has ended. */
  lose(backend: BackendState, held: Held, now: number): void {
    if (held.leases === 0) return this.drop(backend.name, held.adapter, now);
    const lost = { state: 'draining', since: now, why: 'reload', unloading: true, heir: undefined } as const;
    this.#become(backend, held, lost, now);
    this.#state.stirred = true; // who waits for it needs a slot elsewhere
  }

  /** The slot is free. */
  drop(name: BackendName, adapter: AdapterId, now: number): void {
    const backend = this.#state.backends.get(name);
    const held = backend?.held.get(adapter);
    if (backend === undefined || held === undefined) return;
    this.#become(backend, held, undefined, now);
    if (this.#state.retired.has(adapter)) this.#leftRetired.add(adapter);
  }

  /** Unloads a retired adapter wherever nobody runs on it or waits for it. */
  dismissRetired(adapter: AdapterId, now: number): void {
    if (!this.#state.retired.has(adapter) || this.#state.lines.has(adapter)) return;
    for (const backend of this.#state.backends.values()) {
      const held = backend.held.get(adapter);
      if (isReady(held) && held.leases === 0) this.drain(backend, held, { why: 'retired', heir: undefined, now });
    }
  }

  /**
   * Retired adapters that have left their last slot, and that nobody waits for. At the end of a step: within it, who was sent back by the engine that
   * held it last does not wait yet.
   */
  forgetRetired(): void {
    if (this.#leftRetired.size === 0) return;
    for (const adapter of this.#leftRetired) {
      const isHeld = [...this.#state.backends.values()].some(({ held }) => held.has(adapter));
      if (!isHeld && !this.#state.lines.has(adapter)) this.#state.retired.delete(adapter);
    }
    this.#leftRetired.clear();
  }

  /** It holds nothing any more. Its requests end one by one, as their connections break. */
  down(backend: BackendState, now: number): void {
    backend.up = false;
    this.#state.isPlanStale = true;
    for (const held of [...backend.held.values()]) this.#become(backend, held, undefined, now);
    backend.vacated.length = 0;
    backend.changedAt = now;
  }

  /** What it holds stays, and serves again once it is uncordoned. */
  cordon(backend: BackendState, now: number): void {
    for (const held of [...backend.held.values()]) {
      const { residency } = held;
      if (residency.state === 'ready') this.#become(backend, held, residency, now);
      if (residency.state === 'draining') this.#become(backend, held, { ...residency, heir: undefined }, now);
    }
    this.#state.isPlanStale = true;
    this.#state.stirred = true;
  }

  uncordon(backend: BackendState, now: number): void {
    for (const held of [...backend.held.values()]) this.undrain(backend, held, now);
    this.#state.isPlanStale = true;
    this.#state.stirred = true;
  }

  /** An adapter that the engine holds though we did not ask: it serves. */
  adopt(backend: BackendState, adapter: AdapterId, now: number): void {
    if (backend.held.has(adapter)) return;
    const held: Held = {
      ...this.#unused(adapter, now),
      residency: { state: 'ready', since: now, why: 'resident' },
      usedFor: undefined,
    };
    this.#countStrays(backend, held);
    this.#become(backend, held, held.residency, now);
  }

  /**
   * Requests that run there on the same adapter, from before it was held as this: they may have been placed when the engine had restarted and nobody knew
   * it yet, and run on what is loaded now. All requests are walked only where some run there that no slot counts: strays, or those for a base.
   */
  #countStrays(backend: BackendState, held: Held): void {
    let counted = 0;
    for (const { leases } of backend.held.values()) counted += leases;
    if (counted === backend.inFlight) return;
    for (const { place, target } of this.#state.tickets.values()) {
      if (place.kind !== 'running' || place.backend !== backend) continue;
      if (target.kind !== 'adapter' || target.adapter !== held.adapter) continue;
      place.held = held;
      held.leases++;
    }
  }

  /** True residency. An answer to a question from before our last change says nothing about now, and is dropped. */
  observe(
    { backend: name, askedAt, slots, adapters, gauges }: Extract<RouterEvent, { type: 'observed' }>,
    now: number,
  ): void {
    const backend = this.#state.backends.get(name);
    if (backend?.up !== true) return;
    if (slots !== backend.slots) {
      this.#state.stirred = true;
      this.#state.isPlanStale = true;
    }
    backend.slots = slots;
    if (gauges !== undefined && backend.limit.learn(gauges, backend.inFlight)) this.#state.roomy.add(backend);
    if (adapters !== undefined && askedAt > backend.changedAt) {
      const listed = new Set(adapters);
      for (const held of [...backend.held.values()]) {
        if (held.residency.state === 'loading' || isUnloading(held) || listed.has(held.adapter)) continue;
        if (held.leases > 0) this.reload(name, held, now);
        else this.drop(name, held.adapter, now);
      }
      for (const adapter of adapters) this.adopt(backend, adapter, now);
    }
    this.trim(backend, now);
  }

  /** More adapters than slots (found so, or fewer slots than thought): the idle ones go, least recently used first. */
  trim(backend: BackendState, now: number): void {
    const idle = [...backend.held.values()]
      .filter(isIdle)
      .sort((a, b) => a.lastUsedAt - b.lastUsedAt || (a.adapter < b.adapter ? -1 : 1));
    const leaving = [...backend.held.values()].filter((held) => held.residency.state === 'draining').length;
    for (const held of idle.slice(0, Math.max(0, backend.held.size - leaving - backend.slots))) {
      this.drain(backend, held, { why: 'surplus', heir: undefined, now });
    }
  }

  remember(name: BackendName, adapter: AdapterId, failure: Failure): void {
    const failures = this.#state.failures.get(name) ?? new Map<AdapterId, Failure>();
    failures.set(adapter, failure);
    this.#state.isPlanStale = true;
    this.#state.failures.set(name, failures);
  }
}

/** Of the last load in a backend's average, and in the fleet's. */
const LOAD_WEIGHT = 0.25;
const FLEET_LOAD_WEIGHT = 0.0625;

/** What would serve, were its backend not cordoned. */
const keptAway = ({ since, why }: Residency): Residency => ({
  ...{ state: 'draining', since, why, unloading: false, heir: undefined },
});
