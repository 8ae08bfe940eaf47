// The world around one scheduler: requests arrive, engines work, versions are published, all in virtual time; nothing is random here.
// It carries out effects as the gateway's shell would, and hands what happened to measures.ts and the laws to checkers.ts.
import {
  type AdapterId,
  as,
  type BackendName,
  type BaseName,
  type CheckpointId,
  type ModelName,
  type TenantId,
  type TicketId,
} from '../../src/domain.ts';
import { hashOf } from '../../src/router/affinity.ts';
import type { Effect } from '../../src/router/effects.ts';
import type { AdapterTarget, RouterEvent } from '../../src/router/events.ts';
import { Checkers } from './checkers.ts';
import { EngineModel, type Job } from './engine-model.ts';
import { Heap } from './heap.ts';
import { Measures } from './measures.ts';
import {
  type Arrival,
  CLASSES,
  type Contender,
  type Publication,
  type Request,
  type Residency,
  type Result,
  type Scheduler,
  type Workload,
} from './types.ts';

const BASE = as<BaseName>('base');
const RANK = 32;
/** From the gateway's word to the engine's answer when an adapter's name is forgotten, ms. */
const UNLOAD_MS = 2;
/** What is not over so long after the last arrival never will be, ms. */
const PATIENCE_MS = 2 * 3600_000;

export interface SimulationOptions {
  readonly workload: Workload;
  readonly contender: Contender;
  readonly seed: number;
}

type Happening = () => void;

const targetOf = (adapter: AdapterId, model: string): AdapterTarget => ({
  kind: 'adapter',
  adapter,
  model: as<ModelName>(model),
  base: BASE,
  rank: RANK,
});

export const adapterOf = (model: string, step: number | undefined): AdapterId =>
  as<AdapterId>(step === undefined ? model : `${model}@${step}`);

export class Simulation {
  readonly #workload: Workload;
  readonly #contender: Contender;
  readonly #seed: number;
  readonly #residency: Residency;
  readonly #scheduler: Scheduler;
  readonly #engines = new Map<BackendName, EngineModel>();
  readonly #fleet: EngineModel[] = [];
  readonly #agenda = new Heap<Happening>();
  readonly #checkers: Checkers;
  readonly #measures: Measures;
  /** What engines have said since it was last passed on. */
  readonly #said: Happening[] = [];
  readonly #latest = new Map<string, number>();
  readonly #adapters: AdapterId[] = [];
  #now = 0;
  #wakeAt = Number.POSITIVE_INFINITY;
  #decisions = 0;
  #decisionMs = 0;

  constructor({ workload, contender, seed }: SimulationOptions) {
    this.#workload = workload;
    this.#contender = contender;
    this.#seed = seed;
    this.#residency = contender.residency;
    const { backends, slots, load, costs } = workload;
    this.#scheduler = contender.create({ backends, slots, loadMs: load.fetchMs + load.readMs, seed });
    this.#measures = new Measures(workload);
    this.#checkers = new Checkers(workload);
    for (let index = 0; index < backends; index++) {
      const backend = as<BackendName>(`gpu-${index}`);
      const engine = new EngineModel({ costs, load, slots, residency: this.#residency }, this.#listener(backend));
      this.#engines.set(backend, engine);
      this.#fleet.push(engine);
    }
  }

  run(): Result {
    for (const backend of this.#engines.keys()) {
      this.#feed({
        type: 'backendUp',
        backend,
        bases: [BASE],
        slots: this.#workload.slots,
        rankMax: undefined,
        adapters: [],
      });
    }
    const { publications, requests } = this.#workload;
    for (const publication of publications) this.#at(publication.at, () => this.#publish(publication));
    requests.forEach((request, index) => {
      this.#at(request.at, () => this.#arrive(request, index));
    });
    const end = (requests.at(-1)?.at ?? 0) + PATIENCE_MS;
    while (this.#next() <= end);
    return this.#result();
  }

  #at(at: number, act: Happening): void {
    this.#agenda.push(at, act);
  }

  /** The earliest thing happens. Returns when that was; infinite: nothing will. */
  #next(): number {
    let engine: EngineModel | undefined;
    let at = Math.min(this.#agenda.key, this.#wakeAt);
    for (const candidate of this.#fleet) if (candidate.nextAt < at) [engine, at] = [candidate, candidate.nextAt];
    if (at === Number.POSITIVE_INFINITY) return at;
    this.#now = Math.max(this.#now, at);
    if (engine !== undefined) engine.fire();
    else if (this.#wakeAt <= this.#agenda.key) this.#tick();
    else this.#agenda.pop()?.();
    this.#passOn();
    return at;
  }

  #passOn(): void {
    for (let act = this.#said.shift(); act !== undefined; act = this.#said.shift()) act();
  }

  #tick(): void {
    this.#wakeAt = Number.POSITIVE_INFINITY;
    this.#feed({ type: 'tick' });
  }

  #publish({ model, step }: Publication): void {
    if (!this.#latest.has(model)) this.#latest.set(model, step);
    this.#feed({
      type: 'published',
      model: as<ModelName>(model),
      checkpoint: as<CheckpointId>(`${model}@${step}`),
      target: targetOf(adapterOf(model, step), model),
    });
  }

  #arrive(request: Request, index: number): void {
    const adapter = adapterOf(request.model, request.step ?? this.#latest.get(request.model));
    this.#adapters[index] = adapter;
    const { class: kind, tenant, session, promptTokens } = request;
    const arrival: Arrival = {
      type: 'arrived',
      ticket: as<TicketId>(index),
      target: targetOf(adapter, request.model),
      class: kind,
      tenant: as<TenantId>(tenant),
      affinity: session === undefined ? undefined : hashOf(session),
      session,
      promptTokens,
    };
    this.#checkers.arrived(index, adapter);
    this.#feed(arrival);
  }

  #feed(event: RouterEvent): void {
    const before = performance.now();
    const effects = this.#scheduler.step(event, this.#now);
    this.#decisionMs += performance.now() - before;
    this.#decisions++;
    for (const effect of effects) this.#carryOut(effect);
  }

  #carryOut(effect: Effect): void {
    switch (effect.type) {
      case 'dispatch':
        return this.#dispatch(effect.ticket, effect.backend);
      case 'load':
        return this.#load(effect.backend, effect.adapter);
      case 'unload':
        return this.#unload(effect.backend, effect.adapter);
      case 'reject':
        this.#measures.refused++;
        return this.#checkers.ended(effect.ticket, this.#now);
      case 'promote':
        return this.#promote(effect.checkpoint);
      case 'wakeAt':
        this.#wakeAt = effect.at;
        return this.#checkers.law('a wake-up is in the future', effect.at > this.#now);
    }
  }

  #promote(checkpoint: string): void {
    const at = checkpoint.lastIndexOf('@');
    this.#latest.set(checkpoint.slice(0, at), Number(checkpoint.slice(at + 1)));
  }

  #engine(backend: BackendName): EngineModel {
    const engine = this.#engines.get(backend);
    if (engine === undefined) throw new Error(`${this.#contender.name} names a backend that is not there: ${backend}`);
    return engine;
  }

  #dispatch(ticket: TicketId, backend: BackendName): void {
    const [engine, request, adapter] = [this.#engine(backend), this.#workload.requests[ticket], this.#adapters[ticket]];
    if (request === undefined || adapter === undefined || !this.#checkers.dispatched(ticket)) return;
    const commanded = this.#residency === 'api' || this.#residency === 'host';
    this.#checkers.law('a request goes to a backend that holds its adapter', !commanded || engine.slots.holds(adapter));
    const { promptTokens, outputTokens, session: prefix } = request;
    const rank = this.#residency === 'free' ? CLASSES.indexOf(request.class) : 0;
    engine.submit({ ticket, adapter, promptTokens, outputTokens, prefix, rank }, this.#now);
  }

  #load(backend: BackendName, adapter: AdapterId): void {
    const engine = this.#engine(backend);
    const { slots } = engine;
    this.#checkers.law('no load without a free slot', slots.used < this.#workload.slots && !slots.holds(adapter));
    slots.reserve(adapter);
    const fetchMs = slots.isNear(adapter) ? 0 : this.#workload.load.fetchMs;
    this.#at(this.#now + fetchMs, () => engine.load(adapter, this.#now));
  }

  #unload(backend: BackendName, adapter: AdapterId): void {
    this.#checkers.law('only an idle adapter is unloaded', this.#engine(backend).slots.drop(adapter));
    this.#at(this.#now + UNLOAD_MS, () => this.#feed({ type: 'unloaded', backend, adapter }));
  }

  #listener(backend: BackendName) {
    return {
      started: ({ ticket }: Job, now: number) => {
        this.#checkers.started(ticket, now);
        this.#measures.started(ticket, now);
      },
      firstToken: ({ ticket, adapter }: Job, at: number) => this.#measures.firstToken(ticket, adapter, at),
      ended: ({ ticket }: Job, now: number) => {
        this.#measures.ended(ticket, now);
        this.#checkers.ended(ticket, now);
        this.#said.push(() => this.#feed({ type: 'ended', ticket, outcome: 'done' }));
      },
      loaded: (adapter: AdapterId) => {
        this.#said.push(() => this.#feed({ type: 'loaded', backend, adapter }));
      },
    };
  }

  #result(): Result {
    this.#checkers.over();
    const sum = (of: (engine: EngineModel) => number) => this.#fleet.reduce((total, engine) => total + of(engine), 0);
    return {
      workload: this.#workload.name,
      policy: this.#contender.name,
      seed: this.#seed,
      ...this.#measures.summary(
        sum(({ slots }) => slots.loads),
        sum(({ slots }) => slots.diskLoads),
      ),
      decisionUs: (1000 * this.#decisionMs) / this.#decisions,
      violations: this.#checkers.violations,
      violationsByLaw: this.#checkers.byLaw(),
    };
  }
}
