// The engines behind the gateway: starts them probing, and turns what they say into events for the router. It decides nothing.
import type { Logger } from 'pino';
import type { Credentials } from './access/credentials.ts';
import { Backend, type Sighting } from './backends/backend.ts';
import type { Config } from './config.ts';
import type { AdapterId, BackendName, BaseModel } from './domain.ts';
import { as } from './domain.ts';
import type { Journal } from './journal.ts';
import type { RouterEvent } from './router/events.ts';

export interface FleetOptions {
  readonly config: Config;
  readonly credentials: Credentials['engines'];
  readonly log: Logger;
  readonly journal: Journal;
  readonly feed: (event: RouterEvent) => void;
  /** Where the store keeps the adapter that an engine lists under this name; undefined: not ours. */
  readonly pathOf: (name: string) => string | undefined;
  /** Called after each change of the bases that engines serve. */
  readonly onBases: (bases: readonly BaseModel[]) => void;
  /** Called after the router has heard of an engine that came up. */
  readonly onUp: () => void;
}

/** What is known of one engine besides its residency. */
export interface Member {
  readonly backend: Backend;
  state: 'starting' | 'up' | 'down';
  about: string;
  bases: readonly BaseModel[];
  /** From the config: vLLM tells nobody its --max-lora-rank. */
  readonly rankMax: number | undefined;
  readonly runningMax: number | undefined;
  /** Listed by the engine under one of our names, but loaded from elsewhere: never served. */
  foreign: readonly string[];
}

export class Fleet {
  readonly #options: FleetOptions;
  readonly #members = new Map<BackendName, Member>();

  constructor(options: FleetOptions) {
    this.#options = options;
    const { deadlines, probe, backends } = options.config;
    for (const { name, url, kind, slots, storePath, rankMax, runningMax } of backends) {
      const backend = new Backend({
        name,
        url,
        kind,
        slots,
        storePath,
        credentials: options.credentials.get(name),
        deadlines,
        probe,
        report: {
          onUp: (sighting, about) => this.#up(name, sighting, about),
          onDown: (about) => this.#down(name, about),
          onObserved: (sighting, askedAtMs) => this.#observed(name, sighting, askedAtMs),
        },
      });
      this.#members.set(name, {
        backend,
        state: 'starting',
        about: 'not asked yet',
        bases: [],
        rankMax,
        runningMax,
        foreign: [],
      });
    }
  }

  /** Resolves when every engine was asked once, whatever it said. */
  async start(): Promise<void> {
    await Promise.all([...this.#members.values()].map(({ backend }) => backend.probeNow()));
  }

  get members(): ReadonlyMap<BackendName, Member> {
    return this.#members;
  }

  get(name: BackendName): Backend {
    const member = this.#members.get(name);
    if (member === undefined) throw new Error(`no backend ${name}`);
    return member.backend;
  }

  #up(name: BackendName, sighting: Sighting, about: string): void {
    const member = this.#members.get(name);
    if (member === undefined) return;
    Object.assign(member, { state: 'up', bases: sighting.bases, about });
    this.#tell(name, 'up', about);
    this.#options.onBases(this.#bases());
    const bases = sighting.bases.map((base) => base.name);
    const adapters = this.#ours(name, member, sighting);
    const { slots } = sighting;
    const { rankMax, runningMax } = member;
    this.#options.feed({ type: 'backendUp', backend: name, bases, slots, rankMax, runningMax, adapters });
    this.#options.onUp();
  }

  #down(name: BackendName, about: string): void {
    const member = this.#members.get(name);
    if (member === undefined) return;
    Object.assign(member, { state: 'down', about });
    this.#tell(name, 'down', about);
    this.#options.feed({ type: 'backendDown', backend: name });
  }

  #observed(name: BackendName, sighting: Sighting, askedAt: number): void {
    const member = this.#members.get(name);
    if (member === undefined) return;
    const adapters = this.#ours(name, member, sighting);
    const { slots, running, waiting } = sighting;
    const gauges = { running, waiting };
    this.#options.feed({ type: 'observed', backend: name, askedAt, slots, adapters, gauges });
  }

  /** The adapters of ours that it lists, each loaded from where our store keeps it. */
  #ours(name: BackendName, member: Member, { adapters }: Sighting): AdapterId[] {
    const ours: AdapterId[] = [];
    const foreign: string[] = [];
    for (const [adapter, root] of adapters) {
      const path = this.#options.pathOf(adapter);
      if (path === undefined) continue;
      if (member.backend.pathFor(path) === root) ours.push(as<AdapterId>(adapter));
      else foreign.push(adapter);
    }
    const news = foreign.filter((adapter) => !member.foreign.includes(adapter));
    for (const adapter of news) {
      this.#options.log.warn(
        { backend: name, adapter, root: adapters.get(adapter) },
        'engine holds this name from another path: not served from there',
      );
    }
    member.foreign = foreign;
    return ours;
  }

  #bases(): BaseModel[] {
    const bases = new Map<string, BaseModel>();
    for (const member of this.#members.values())
      for (const base of member.bases) if (!bases.has(base.name)) bases.set(base.name, base);
    return [...bases.values()];
  }

  #tell(backend: BackendName, state: 'up' | 'down', about: string): void {
    this.#options.log[state === 'up' ? 'info' : 'warn']({ backend, about }, `backend ${state}`);
    this.#options.journal.tell({ type: 'backend', backend, state, about });
  }

  async close(): Promise<void> {
    await Promise.all([...this.#members.values()].map(({ backend }) => backend.close()));
  }
}
