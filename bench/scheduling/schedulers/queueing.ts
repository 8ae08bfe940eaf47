// What engines with a queue of their own share: a line per adapter and backend, slots, loads and evictions; a subclass says which backend,
// who is evicted, and whose turn is over. As those engines do, it keeps weights in CPU memory (residency `host`).
import type { AdapterId, BackendName, TicketId } from '../../../src/domain.ts';
import type { Effect } from '../../../src/router/effects.ts';
import type { RouterEvent } from '../../../src/router/events.ts';
import { Fifo } from '../heap.ts';
import type { Scheduler } from '../types.ts';
import { least } from './forwarder.ts';

export interface Resident {
  readonly adapter: AdapterId;
  state: 'loading' | 'ready' | 'unloading';
  leases: number;
  /** Whether a request has run on it since it was loaded. */
  served: boolean;
  /** When it became ready, ms. */
  since: number;
  lastUsedAt: number;
}

export interface Line {
  readonly adapter: AdapterId;
  readonly tickets: Fifo<TicketId>;
  /** Requests that were sent ahead of it while it had no slot. */
  bypassed: number;
}

export interface Place {
  readonly name: BackendName;
  readonly slots: number;
  readonly held: Map<AdapterId, Resident>;
  /** In the order in which they formed. */
  readonly lines: Map<AdapterId, Line>;
  /** Running and waiting. */
  requests: number;
}

export abstract class Queueing implements Scheduler {
  protected readonly places: Place[] = [];
  readonly #byName = new Map<BackendName, Place>();
  readonly #running = new Map<TicketId, { place: Place; resident: Resident }>();
  #effects: Effect[] = [];

  /** Where a request of this adapter waits and runs: where it is already, unless the fleet is out of balance (SGLang's cache-aware gates). */
  protected route(adapter: AdapterId): Place | undefined {
    const requests = this.places.map((place) => place.requests);
    const [fewest, most] = [Math.min(...requests), Math.max(...requests)];
    const isBalanced = most - fewest <= 32 || most <= 1.0001 * fewest;
    const there = isBalanced ? this.places.filter(({ held, lines }) => held.has(adapter) || lines.has(adapter)) : [];
    return least(there.length > 0 ? there : this.places, (place) => place.requests);
  }

  /** Of idle adapters; the least one goes. */
  protected abstract worth(resident: Resident, now: number): number;

  /** Takes no more requests while others wait for a slot. */
  protected isTurnOver(_resident: Resident, _place: Place, _now: number): boolean {
    return false;
  }

  protected noteUse(_adapter: AdapterId, _now: number): void {}

  step(event: RouterEvent, now: number): readonly Effect[] {
    this.#effects = [];
    this.#apply(event, now);
    return this.#effects;
  }

  #apply(event: RouterEvent, now: number): void {
    switch (event.type) {
      case 'backendUp': {
        const place = { name: event.backend, slots: event.slots, held: new Map(), lines: new Map(), requests: 0 };
        this.places.push(place);
        this.#byName.set(event.backend, place);
        return;
      }
      case 'published':
        this.#effects.push({ type: 'promote', model: event.model, checkpoint: event.checkpoint });
        return;
      case 'arrived':
        if (event.target.kind === 'adapter') this.#arrived(event.ticket, event.target.adapter, now);
        return;
      case 'ended':
        return this.#ended(event.ticket, now);
      case 'loaded':
        return this.#moved(event.backend, now, (place) => {
          const resident = place.held.get(event.adapter);
          if (resident !== undefined) Object.assign(resident, { state: 'ready', since: now, lastUsedAt: now });
        });
      case 'unloaded':
        return this.#moved(event.backend, now, (place) => place.held.delete(event.adapter));
    }
  }

  #moved(backend: BackendName, now: number, change: (place: Place) => void): void {
    const place = this.#byName.get(backend);
    if (place === undefined) return;
    change(place);
    this.#pump(place, now);
  }

  #arrived(ticket: TicketId, adapter: AdapterId, now: number): void {
    this.noteUse(adapter, now);
    const place = this.route(adapter);
    if (place === undefined) {
      this.#effects.push({ type: 'reject', ticket, code: 'backend_unavailable', message: 'no backend' });
      return;
    }
    place.requests++;
    const line = place.lines.get(adapter) ?? { adapter, tickets: new Fifo<TicketId>(), bypassed: 0 };
    place.lines.set(adapter, line);
    line.tickets.push(ticket);
    this.#pump(place, now);
  }

  #ended(ticket: TicketId, now: number): void {
    const running = this.#running.get(ticket);
    if (running === undefined) return;
    this.#running.delete(ticket);
    running.place.requests--;
    running.resident.leases--;
    running.resident.lastUsedAt = now;
    this.#pump(running.place, now);
  }

  #pump(place: Place, now: number): void {
    const without = place.lines.size > 0 && [...place.lines.keys()].some((adapter) => !place.held.has(adapter));
    for (const resident of place.held.values()) {
      const line = place.lines.get(resident.adapter);
      if (line === undefined || resident.state !== 'ready') continue;
      if (!without || !resident.served || !this.isTurnOver(resident, place, now)) this.#run(place, resident, line, now);
    }
    if (place.lines.size > 0) this.#makeRoom(place, now);
  }

  #run(place: Place, resident: Resident, line: Line, now: number): void {
    place.lines.delete(line.adapter);
    for (const other of place.lines.values()) {
      if (!place.held.has(other.adapter)) other.bypassed += line.tickets.size;
    }
    for (let ticket = line.tickets.shift(); ticket !== undefined; ticket = line.tickets.shift()) {
      resident.leases++;
      resident.served = true;
      resident.lastUsedAt = now;
      this.#running.set(ticket, { place, resident });
      this.#effects.push({ type: 'dispatch', ticket, backend: place.name, why: 'resident' });
    }
  }

  /** In the order in which lines formed: a free slot, one that is being emptied, or an idle adapter's. */
  #makeRoom(place: Place, now: number): void {
    let coming = 0;
    for (const { state } of place.held.values()) if (state === 'unloading') coming++;
    for (const line of place.lines.values()) {
      if (place.held.has(line.adapter)) continue;
      if (place.held.size < place.slots) this.#load(place, line.adapter, now);
      else if (coming > 0) coming--;
      else if (!this.#unloadOne(place, now)) return;
    }
  }

  #load(place: Place, adapter: AdapterId, now: number): void {
    place.held.set(adapter, { adapter, state: 'loading', leases: 0, served: false, since: now, lastUsedAt: now });
    this.#effects.push({ type: 'load', backend: place.name, adapter, why: 'room' });
  }

  #unloadOne(place: Place, now: number): boolean {
    const idle = [...place.held.values()].filter(
      ({ adapter, state, leases, served }) =>
        state === 'ready' && leases === 0 && (served || !place.lines.has(adapter)),
    );
    const victim = least(idle, (resident) => this.worth(resident, now));
    if (victim === undefined) return false;
    victim.state = 'unloading';
    this.#effects.push({ type: 'unload', backend: place.name, adapter: victim.adapter, why: 'evict' });
    // Whoever waits for it has had its turn.
    const line = place.lines.get(victim.adapter);
    if (line !== undefined && place.lines.delete(victim.adapter)) place.lines.set(victim.adapter, line);
    return true;
  }
}
