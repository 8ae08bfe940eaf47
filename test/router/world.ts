// A world for the router: engines that load, forget, fail, restart and lie, and callers that come and go, in virtual time from a seed.
// What happens by chance depends on the seed and on who it happens to, never on what happened to others before, so that two worlds of one
// seed differ only where their routers did. It judges nothing: laws.ts does, after each event.
import { Heap } from '../../bench/scheduling/heap.ts';
import {
  type AdapterId,
  as,
  type BackendName,
  type BaseName,
  type CheckpointId,
  CLASSES,
  type ModelName,
  type TenantId,
  type TicketId,
} from '../../src/domain.ts';
import type { Effect } from '../../src/router/effects.ts';
import type { AdapterTarget, Outcome as Ended, RouterEvent } from '../../src/router/events.ts';
import { type Random, seeded } from '../random.ts';
import { Run, report } from './run.ts';
import { FATE, fate, type Outcome, type Variation, type WorldOptions } from './world-options.ts';

interface Engine {
  readonly index: number;
  readonly name: BackendName;
  up: boolean;
  slots: number;
  readonly registered: Set<AdapterId>;
  /** Counts restarts: what was under way before one is lost. */
  life: number;
  /** Until then none of its requests succeeds, ms. */
  sickUntil: number;
  /** The process that answers; the same one may have been out of reach for a while. */
  process: number;
}

const LIFE = { life: 0, sickUntil: 0, process: 1 };

/** How requests end on an engine that is sick. */
const AILMENTS: readonly Ended[] = ['failed', 'failed', 'failed', 'erred', 'unavailable', 'busy'];

/** Of the adapters that are asked for seldom, one is what engines die of. */
const isPoison = (index = 0): boolean => index % 16 === 15;

const BASE = as<BaseName>('base');
const OTHER = as<BaseName>('other');

const basesOf = ({ index }: Engine): readonly BaseName[] => (index % 3 === 0 ? [BASE, OTHER] : [BASE]);

const rankMaxOf = ({ index }: Engine): number | undefined => (index % 3 === 2 ? 16 : undefined);

/** Even a lie, or what somebody else loaded, is an adapter that the engine could hold. */
const couldHold = (engine: Engine, { base, rank }: AdapterTarget): boolean =>
  basesOf(engine).includes(base) && rank <= (rankMaxOf(engine) ?? rank);

export class World {
  readonly #seed: number;
  readonly #options: WorldOptions;
  readonly #variation: Variation;
  /** For what comes from outside: arrivals and misfortunes. */
  readonly #random: Random;
  readonly #run: Run;
  readonly #engines = new Map<BackendName, Engine>();
  readonly #adapters: readonly AdapterTarget[];
  readonly #indexOf = new Map<AdapterId, number>();
  readonly #agenda = new Heap<() => void>();
  readonly #rejected = new Map<string, number>();
  readonly #recent: (RouterEvent | undefined)[] = Array.from({ length: 50 }, () => undefined);
  #fed = 0;
  #tickets = 0;
  #loads = 0;

  constructor(seed: number, options: WorldOptions, variation: Variation = {}) {
    this.#seed = seed;
    this.#options = options;
    this.#variation = variation;
    this.#random = seeded(seed);
    this.#run = new Run(options.router, { auditEvery: 16 });
    for (let index = 0; index < options.backends; index++) {
      const name = as<BackendName>(variation.backend?.(index) ?? `gpu-${index}`);
      this.#engines.set(name, { index, name, up: false, slots: options.slots, registered: new Set(), ...LIFE });
    }
    this.#adapters = Array.from({ length: options.adapters }, (_, index) => this.#target(index));
    for (const [index, { adapter }] of this.#adapters.entries()) this.#indexOf.set(adapter, index);
  }

  /** Every sixth is for the other base, which every third engine serves; every seventh is of a rank that every third does not take. */
  #target(index: number): AdapterTarget {
    const name = this.#variation.adapter?.(index) ?? `m${index % 3}@${index}`;
    const [model = ''] = name.split('@');
    return {
      kind: 'adapter',
      adapter: as<AdapterId>(name),
      model: as<ModelName>(model),
      base: index % 6 === 5 ? OTHER : BASE,
      rank: index % 7 === 6 ? 64 : 8,
    };
  }

  run(): Outcome {
    try {
      return this.#live();
    } catch (error) {
      throw report(error, this.#run, { options: this.#options.router, seed: `seed ${this.#seed}` });
    }
  }

  #live(): Outcome {
    const run = this.#run;
    this.#variation.prelude?.(run);
    for (const engine of this.#ordered([...this.#engines.values()])) this.#start(engine);
    while (this.#fed < this.#options.events) {
      this.#passTime(run.now + this.#random.below(2 * this.#options.arrivalEveryMs + 1));
      if (this.#random.chance(this.#options.faults)) this.#misfortune();
      else this.#arrive();
    }
    for (const engine of this.#engines.values()) this.#start(engine);
    this.#passTime(run.now + 3 * this.#options.router.waitMsMax);
    run.over();
    return { run, loads: this.#loads, rejected: this.#rejected };
  }

  #ordered<T>(items: readonly T[]): readonly T[] {
    return this.#variation.order?.(items) ?? items;
  }

  #later(ms: number, act: () => void): void {
    this.#agenda.push(this.#run.now + 1 + Math.floor(ms), act);
  }

  #passTime(until: number): void {
    const run = this.#run;
    for (;;) {
      if (run.wakeAt <= Math.min(until, this.#agenda.key)) this.#carryOut({ type: 'tick' }, run.tick());
      else if (this.#agenda.key <= until) {
        run.now = this.#agenda.key;
        this.#agenda.pop()?.();
      } else break;
    }
    run.now = until;
  }

  #feed(event: RouterEvent): void {
    this.#recent[this.#fed++ % this.#recent.length] = event;
    this.#carryOut(event, this.#run.feed(event));
  }

  /** A few are asked for often, most seldom. */
  #anyTarget(): AdapterTarget {
    return this.#adapters[Math.floor(this.#options.adapters * this.#random.next() ** 2)] as AdapterTarget;
  }

  #arrive(): void {
    const ticket = as<TicketId>(++this.#tickets);
    const adapter = this.#anyTarget();
    const target = this.#random.chance(0.1) ? ({ kind: 'base', base: adapter.base } as const) : adapter;
    const kind = this.#random.pick(CLASSES);
    const tenant = as<TenantId>(`t${this.#random.below(3)}`);
    const affinity = this.#random.chance(this.#options.sessions) ? this.#random.below(100) : undefined;
    if (this.#random.chance(0.05)) {
      const leavesAfterMs = this.#random.next() * 2 * this.#options.serviceMs;
      this.#later(leavesAfterMs, () => this.#feed({ type: 'cancelled', ticket }));
    }
    this.#feed({ type: 'arrived', ticket, target, class: kind, tenant, affinity });
  }

  #misfortune(): void {
    const engine = this.#random.pick([...this.#engines.values()]);
    const target = this.#anyTarget();
    const { adapter } = target;
    const chance = this.#random.next();
    switch (this.#random.below(11)) {
      case 0:
        return this.#stop(engine, chance < 0.5);
      case 1:
        return void engine.registered.delete(adapter);
      case 2:
        return this.#observe(engine, [...engine.registered]);
      case 3: // a lie, or an adapter that somebody else loaded
        return this.#observe(engine, [...engine.registered].slice(1).concat(couldHold(engine, target) ? adapter : []));
      case 4:
        engine.slots = 1 + Math.floor(chance * (this.#options.slots + 1));
        return this.#observe(engine, [...engine.registered]);
      case 5: {
        const checkpoint = as<CheckpointId>(`id-${adapter}`);
        return this.#feed({ type: 'published', model: target.model, checkpoint, target });
      }
      case 6:
        return this.#feed({ type: 'retired', adapter });
      case 7:
        return this.#cordon(engine, chance);
      case 8:
        engine.sickUntil = this.#run.now + chance * 3000;
        return;
      default:
        return this.#again(chance);
    }
  }

  /** For a while: somebody works on it. */
  #cordon({ name: backend }: Engine, chance: number): void {
    this.#feed({ type: 'cordoned', backend });
    this.#later(chance * 2000, () => this.#feed({ type: 'uncordoned', backend }));
  }

  /** Something recent is told once more. */
  #again(chance: number): void {
    const event = this.#recent[Math.floor(chance * this.#recent.length)];
    const isOnce = event === undefined || event.type === 'arrived' || event.type === 'backendUp';
    if (!isOnce) this.#feed(event);
  }

  #start(engine: Engine): void {
    if (engine.up) return;
    engine.up = true;
    this.#feed({
      type: 'backendUp',
      backend: engine.name,
      bases: this.#ordered(basesOf(engine)),
      slots: engine.slots,
      rankMax: rankMaxOf(engine),
      startedAt: engine.process,
      adapters: this.#ordered([...engine.registered]),
    });
  }

  /** It comes back soon, perhaps holding what somebody else gave it. */
  #stop(engine: Engine, died: boolean): void {
    if (!engine.up) return;
    const { name, index } = engine;
    engine.up = false;
    engine.life++;
    if (died || engine.life % 2 === 0) engine.process++;
    engine.registered.clear();
    this.#feed({ type: 'backendDown', backend: name, died });
    for (const ticket of [...this.#run.judge.books.tickets.values()]) {
      if (ticket.place?.engine.name === name) this.#finish(ticket.id, ticket.attempts, 'refused');
    }
    const downMs = fate(this.#seed, FATE.downMs, { who: index, which: engine.life }) * 1000;
    this.#later(downMs, () => {
      for (const target of this.#adapters.slice(0, Math.floor(downMs) % 4))
        if (couldHold(engine, target)) engine.registered.add(target.adapter);
      this.#start(engine);
    });
  }

  #observe({ name, slots }: Engine, adapters: readonly AdapterId[]): void {
    const askedAt = this.#run.now;
    const listed = this.#ordered(adapters);
    this.#later(5, () => this.#feed({ type: 'observed', backend: name, askedAt, slots, adapters: listed }));
  }

  #finish(id: TicketId, attempt: number, outcome: Ended): void {
    const ticket = this.#run.judge.books.tickets.get(id);
    if (ticket?.place === undefined || ticket.attempts !== attempt) return;
    this.#feed({ type: 'ended', ticket: id, outcome });
  }

  #carryOut(event: RouterEvent, effects: readonly Effect[]): void {
    this.#variation.after?.(this.#run, { at: this.#run.now, event, effects });
    for (const effect of effects) {
      switch (effect.type) {
        case 'dispatch':
          this.#dispatched(effect.ticket, effect.backend);
          break;
        case 'load':
          this.#loads++;
          this.#asked(effect);
          break;
        case 'unload':
          this.#asked(effect);
          break;
        case 'reject':
          this.#rejected.set(effect.code, (this.#rejected.get(effect.code) ?? 0) + 1);
      }
    }
  }

  #dispatched(id: TicketId, backend: BackendName): void {
    const ticket = this.#run.judge.books.tickets.get(id);
    const engine = this.#engines.get(backend);
    if (ticket === undefined || engine === undefined) return;
    const { target, attempts } = ticket;
    const isMissing = target.kind === 'adapter' && !engine.registered.has(target.adapter);
    const serviceMs = fate(this.#seed, FATE.serviceMs, { who: id, which: attempts }) * 2 * this.#options.serviceMs;
    const ailment =
      AILMENTS[Math.floor(fate(this.#seed, FATE.ailment, { who: id, which: attempts }) * AILMENTS.length)];
    this.#later(isMissing ? 1 : serviceMs, () => {
      const isSick = engine.sickUntil > this.#run.now;
      this.#finish(id, attempts, isMissing ? 'missing' : isSick ? (ailment ?? 'failed') : 'done');
    });
  }

  #asked({ type, backend, adapter }: Extract<Effect, { type: 'load' | 'unload' }>): void {
    const engine = this.#engines.get(backend);
    if (engine === undefined) return;
    const { life } = engine;
    const who = (this.#indexOf.get(adapter) ?? 0) * 64 + engine.index;
    const { now } = this.#run;
    const isLoad = type === 'load';
    const fails =
      fate(this.#seed, isLoad ? FATE.loadFails : FATE.unloadFails, { who, which: now }) < this.#options.faults / 4;
    const longestMs = isLoad ? 2 * this.#options.loadMs : 10;
    this.#later(fate(this.#seed, isLoad ? FATE.loadMs : FATE.unloadMs, { who, which: now }) * longestMs, () => {
      if (engine.life !== life) return;
      if (isLoad && this.#options.faults > 0 && isPoison(this.#indexOf.get(adapter))) return this.#stop(engine, true);
      const told = { backend, adapter };
      if (!isLoad && !fails) engine.registered.delete(adapter);
      if (!isLoad) return this.#feed({ type: fails ? 'unloadFailed' : 'unloaded', ...told });
      if (!fails) engine.registered.add(adapter);
      const fault = fate(this.#seed, FATE.fault, { who, which: now }) < 0.5 ? 'adapter' : 'backend';
      this.#feed(fails ? { type: 'loadFailed', ...told, fault, message: 'no' } : { type: 'loaded', ...told });
    });
  }
}
