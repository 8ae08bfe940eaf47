// A world for the router: engines that load, forget, fail and restart, and callers that come and go, in virtual time from a seed.
// After each event the laws are checked; `run` throws with the seed and the last lines of the transcript when one is broken.

import {
  type AdapterId,
  as,
  type BackendName,
  type BaseName,
  type CheckpointId,
  CLASSES,
  type ModelName,
  type ReservationId,
  type TenantId,
  type TicketId,
} from '../../src/domain.ts';
import type { Effect } from '../../src/router/effects.ts';
import type { RouterEvent } from '../../src/router/events.ts';
import { Router, type RouterOptions } from '../../src/router/router.ts';
import { type Random, seeded } from '../random.ts';

export interface WorldOptions extends RouterOptions {
  readonly backends: number;
  readonly slots: number;
  readonly adapters: number;
  readonly events: number;
  /** Probability that a fault happens in the place of an arrival. */
  readonly faults: number;
  readonly arrivalEveryMs: number;
  readonly serviceMs: number;
  readonly loadMs: number;
}

interface Engine {
  up: boolean;
  readonly registered: Set<AdapterId>;
  /** Counts restarts: what was under way before one is lost. */
  life: number;
}

interface Running {
  readonly backend: BackendName;
  readonly adapter: AdapterId | undefined;
}

export interface Outcome {
  readonly transcript: readonly string[];
  readonly loads: number;
  readonly rejected: ReadonlyMap<string, number>;
  readonly waitMsMax: number;
}

const base = as<BaseName>('base');
const model = as<ModelName>('m');

export class World {
  readonly #seed: number;
  readonly #options: WorldOptions;
  readonly #random: Random;
  readonly #router: Router;
  readonly #engines = new Map<BackendName, Engine>();
  readonly #agenda: { at: number; order: number; act: () => void }[] = [];
  readonly #transcript: string[] = [];
  readonly #waiting = new Map<TicketId, number>();
  readonly #running = new Map<TicketId, Running>();
  readonly #over = new Set<TicketId>();
  readonly #rejected = new Map<string, number>();
  readonly #reserved = new Set<ReservationId>();
  #now = 0;
  #order = 0;
  #tickets = 0;
  #loads = 0;
  #waitMsMax = 0;
  #wakeAt = Number.POSITIVE_INFINITY;

  constructor(seed: number, options: WorldOptions) {
    this.#seed = seed;
    this.#options = options;
    this.#random = seeded(seed);
    this.#router = new Router(options);
    for (let index = 0; index < options.backends; index++) {
      this.#engines.set(as<BackendName>(`gpu-${index}`), { up: false, registered: new Set(), life: 0 });
    }
  }

  run(): Outcome {
    for (const name of this.#engines.keys()) this.#start(name);
    for (let count = 0; count < this.#options.events; count++) {
      this.#passTime(this.#now + this.#random.next() * 2 * this.#options.arrivalEveryMs);
      if (this.#random.chance(this.#options.faults)) this.#misfortune();
      else this.#arrive();
    }
    for (const [name, engine] of this.#engines) if (!engine.up) this.#start(name);
    this.#releaseAll();
    this.#passTime(this.#now + 10 * this.#options.waitMsMax);
    this.#law('every ticket ends', this.#waiting.size === 0 && this.#running.size === 0);
    this.#law('nothing is left behind', this.#router.state.tickets.size === 0 && this.#router.state.waiting === 0);
    return { transcript: this.#transcript, loads: this.#loads, rejected: this.#rejected, waitMsMax: this.#waitMsMax };
  }

  #law(name: string, held: boolean): void {
    if (held) return;
    throw new Error(`seed ${this.#seed}: broken law: ${name}\n${this.#transcript.slice(-40).join('\n')}`);
  }

  #later(ms: number, act: () => void): void {
    this.#agenda.push({ at: this.#now + ms, order: this.#order++, act });
  }

  #passTime(until: number): void {
    for (;;) {
      this.#agenda.sort((a, b) => a.at - b.at || a.order - b.order);
      const next = this.#agenda[0];
      if (this.#wakeAt <= until && this.#wakeAt <= (next?.at ?? Number.POSITIVE_INFINITY)) {
        this.#now = Math.max(this.#now, this.#wakeAt);
        this.#wakeAt = Number.POSITIVE_INFINITY;
        this.#feed({ type: 'tick' });
      } else if (next !== undefined && next.at <= until) {
        this.#agenda.shift();
        this.#now = next.at;
        next.act();
      } else break;
    }
    this.#now = until;
  }

  #adapter(): AdapterId {
    return as<AdapterId>(`m@${Math.floor(this.#options.adapters * this.#random.next() ** 2)}`);
  }

  #arrive(): void {
    const ticket = as<TicketId>(++this.#tickets);
    this.#waiting.set(ticket, this.#now);
    const target = this.#random.chance(0.1)
      ? ({ kind: 'base', base } as const)
      : ({ kind: 'adapter', adapter: this.#adapter(), model, base, rank: 8 } as const);
    if (this.#options.faults > 0 && this.#random.chance(0.1)) {
      this.#later(this.#random.next() * this.#options.serviceMs, () => this.#cancel(ticket));
    }
    const tenant = as<TenantId>(`t${this.#random.below(3)}`);
    const affinity = this.#random.chance(0.5) ? undefined : this.#random.below(100);
    this.#feed({ type: 'arrived', ticket, target, class: this.#random.pick(CLASSES), tenant, affinity });
  }

  #cancel(ticket: TicketId): void {
    if (this.#over.has(ticket)) return;
    this.#end(ticket);
    this.#feed({ type: 'cancelled', ticket });
  }

  #end(ticket: TicketId): void {
    this.#law(`ticket ${ticket} ends once`, !this.#over.has(ticket));
    this.#over.add(ticket);
    this.#waiting.delete(ticket);
    this.#running.delete(ticket);
  }

  #misfortune(): void {
    const { name, engine } = this.#anyEngine();
    const adapter = this.#adapter();
    switch (this.#random.below(7)) {
      case 0:
        if (engine.up) this.#stop(name, engine);
        return;
      case 1:
        return void engine.registered.delete(adapter);
      case 2:
        return this.#observe(name, engine);
      case 3:
        return this.#feed({
          type: 'published',
          model,
          checkpoint: as<CheckpointId>(`id-${adapter}`),
          target: { kind: 'adapter', adapter, model, base, rank: 8 },
        });
      case 4:
        return this.#feed({ type: 'retired', adapter });
      case 5:
        return this.#reserve(adapter);
      default:
        return this.#releaseAll();
    }
  }

  #reserve(adapter: AdapterId): void {
    const id = as<ReservationId>(`for ${adapter}`);
    this.#reserved.add(id);
    const target = { kind: 'adapter', adapter, model, base, rank: 8 } as const;
    this.#feed({ type: 'reserved', reservation: { id, for: { kind: 'adapter', target }, slots: 1 } });
  }

  #releaseAll(): void {
    for (const reservation of this.#reserved) this.#feed({ type: 'released', reservation });
    this.#reserved.clear();
  }

  #anyEngine(): { name: BackendName; engine: Engine } {
    const [name, engine] = this.#random.pick([...this.#engines]);
    return { name, engine };
  }

  #start(name: BackendName): void {
    const engine = this.#engines.get(name);
    if (engine === undefined || engine.up) return;
    engine.up = true;
    this.#feed({
      type: 'backendUp',
      backend: name,
      bases: [base],
      slots: this.#options.slots,
      rankMax: undefined,
      adapters: [...engine.registered],
    });
  }

  #stop(name: BackendName, engine: Engine): void {
    engine.up = false;
    engine.life++;
    engine.registered.clear();
    this.#feed({ type: 'backendDown', backend: name });
    for (const [ticket, running] of [...this.#running]) if (running.backend === name) this.#finish(ticket, 'refused');
    this.#later(this.#random.next() * 1000, () => this.#start(name));
  }

  #observe(name: BackendName, engine: Engine): void {
    const askedAt = this.#now;
    const adapters = [...engine.registered];
    this.#later(5, () =>
      this.#feed({ type: 'observed', backend: name, askedAt, slots: this.#options.slots, adapters }),
    );
  }

  #finish(ticket: TicketId, outcome: 'done' | 'missing' | 'refused'): void {
    if (!this.#running.has(ticket)) return;
    if (outcome === 'done') this.#end(ticket);
    else {
      this.#running.delete(ticket);
      this.#waiting.set(ticket, this.#now);
    }
    this.#feed({ type: 'ended', ticket, outcome });
  }

  #feed(event: RouterEvent): void {
    this.#transcript.push(`${this.#now.toFixed(1)} >> ${JSON.stringify(event)}`);
    const effects = this.#router.step(event, this.#now);
    for (const effect of effects) this.#transcript.push(`${this.#now.toFixed(1)} << ${JSON.stringify(effect)}`);
    for (const effect of effects) this.#carryOut(effect);
    this.#checkLaws();
  }

  #carryOut(effect: Effect): void {
    switch (effect.type) {
      case 'dispatch':
        return this.#dispatched(effect.ticket, effect.backend);
      case 'load':
        return this.#load(effect.backend, effect.adapter);
      case 'unload':
        return this.#unload(effect.backend, effect.adapter);
      case 'reject':
        this.#rejected.set(effect.code, (this.#rejected.get(effect.code) ?? 0) + 1);
        return this.#end(effect.ticket);
      case 'wakeAt':
        this.#law('a wake-up is in the future', effect.at > this.#now);
        this.#wakeAt = effect.at;
        return;
      case 'promote':
        return;
    }
  }

  #dispatched(ticket: TicketId, backend: BackendName): void {
    const since = this.#waiting.get(ticket);
    this.#law(`ticket ${ticket} is dispatched while it waits`, since !== undefined);
    this.#waitMsMax = Math.max(this.#waitMsMax, this.#now - (since ?? 0));
    this.#waiting.delete(ticket);
    const target = this.#router.state.tickets.get(ticket)?.target;
    const adapter = target?.kind === 'adapter' ? target.adapter : undefined;
    this.#running.set(ticket, { backend, adapter });
    const engine = this.#engines.get(backend);
    this.#law('a dispatch goes to an engine that is up', engine?.up === true);
    const missing = adapter !== undefined && engine?.registered.has(adapter) !== true;
    this.#later(missing ? 1 : this.#random.next() * 2 * this.#options.serviceMs, () =>
      this.#finish(ticket, missing ? 'missing' : 'done'),
    );
  }

  #load(backend: BackendName, adapter: AdapterId): void {
    this.#loads++;
    const engine = this.#engines.get(backend);
    const life = engine?.life;
    const fails = this.#random.chance(this.#options.faults / 4);
    this.#later(this.#random.next() * 2 * this.#options.loadMs, () => {
      if (engine === undefined || engine.life !== life) return;
      if (!fails) engine.registered.add(adapter);
      const fault = this.#random.chance(0.5) ? 'adapter' : 'backend';
      this.#feed(
        fails ? { type: 'loadFailed', backend, adapter, fault, message: 'no' } : { type: 'loaded', backend, adapter },
      );
    });
  }

  #unload(backend: BackendName, adapter: AdapterId): void {
    const inUse = [...this.#running.values()].some(
      (running) => running.backend === backend && running.adapter === adapter,
    );
    this.#law(`${adapter} is not unloaded from ${backend} while a request runs on it`, !inUse);
    const engine = this.#engines.get(backend);
    const life = engine?.life;
    const fails = this.#random.chance(this.#options.faults / 4);
    this.#later(this.#random.next() * 10, () => {
      if (engine === undefined || engine.life !== life) return;
      if (!fails) engine.registered.delete(adapter);
      this.#feed({ type: fails ? 'unloadFailed' : 'unloaded', backend, adapter });
    });
  }

  #checkLaws(): void {
    const { state } = this.#router;
    for (const backend of state.backends.values()) {
      this.#law(`${backend.name} holds at most its slots`, backend.held.size <= backend.slots);
      const running = [...this.#running.values()].filter((one) => one.backend === backend.name);
      const distinct = new Set(running.flatMap(({ adapter }) => adapter ?? []));
      this.#law(`${backend.name}: distinct adapters in flight within its slots`, distinct.size <= backend.slots);
      this.#law(`${backend.name}: in flight is what runs there`, backend.inFlight === running.length);
      if (!backend.up) continue;
      for (const held of backend.held.values()) {
        const leases = running.filter((one) => one.adapter === held.adapter).length;
        this.#law(`${backend.name}: leases of ${held.adapter} are its requests in flight`, held.leases === leases);
      }
    }
    const lines = [...state.lines.values()];
    this.#law(
      'an empty line is closed',
      lines.every((line) => line.tickets.length > 0 || line.publish !== undefined),
    );
    this.#law(
      'the count of the waiting is right',
      state.waiting === lines.reduce((sum, line) => sum + line.tickets.length, 0),
    );
    this.#law('who waits is in a line', state.waiting === this.#waiting.size);
    for (const since of this.#waiting.values())
      this.#law('no wait passes its bound', this.#now - since <= this.#options.waitMsMax + 1);
  }
}
