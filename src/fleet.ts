// The engines behind the gateway: starts them probing, and turns what they say into events for the router; lets them come and go as the config
// changes. It decides nothing.
import { isDeepStrictEqual } from 'node:util';
import type { Logger } from 'pino';
import type { Credentials } from './access/credentials.ts';
import { Backend, type Sighting } from './backends/backend.ts';
import type { BackendConfig, Config } from './config.ts';
import type { AdapterId, BackendName, BaseModel, ModelName } from './domain.ts';
import { as } from './domain.ts';
import type { Journal } from './journal.ts';
import type { RouterEvent } from './router/events.ts';

export interface FleetOptions {
  readonly config: FleetConfig;
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

export type FleetConfig = Pick<Config, 'backends' | 'deadlines' | 'probe'>;

/** What is known of one engine besides its residency. */
export interface Member {
  readonly backend: Backend;
  state: 'starting' | 'up' | 'down';
  about: string;
  bases: readonly BaseModel[];
  /** What it was made from: when any of it changes, another one takes its place. */
  readonly made: Made;
  /** Listed by the engine under one of our names, but loaded from elsewhere: never served. */
  foreign: readonly string[];
}

interface Made {
  readonly row: BackendConfig;
  readonly credentials: ReturnType<Credentials['engines']['get']>;
  readonly connectMs: number;
}

/** The fleet as another config has it: whom it has not had before was asked once. */
export interface NextFleet {
  readonly config: FleetConfig;
  readonly members: ReadonlyMap<BackendName, Member>;
}

export class Fleet {
  readonly #options: FleetOptions;
  #config: FleetConfig;
  readonly #left = new Set<Backend>();
  #members = new Map<BackendName, Member>();

  constructor(options: FleetOptions) {
    this.#options = options;
    this.#config = options.config;
    this.#members = this.#madeFrom(options.config, options.credentials);
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

  /** It has not left, and no other has taken its place. */
  has(backend: Backend): boolean {
    return this.at(backend) !== undefined;
  }

  /** The engine to which that leads, while it is one of the fleet. */
  at(destination: Pick<Backend, 'name'>): Backend | undefined {
    const backend = this.#members.get(destination.name)?.backend;
    return backend === destination ? backend : undefined;
  }

  /** Asks each engine that is new in the config, or that is to be reached in another way, once. Nothing is given to it yet. */
  async prepare(config: FleetConfig, credentials: Credentials['engines']): Promise<NextFleet> {
    const members = this.#madeFrom(config, credentials);
    const fresh = [...members.values()].filter(({ backend }) => !this.has(backend));
    await Promise.all(fresh.map(({ backend }) => backend.probeNow()));
    return { config, members };
  }

  /**
   * Goes by the other config from now on: first those who come, one by one, so that nobody finds no engine, then those who go. The router never
   * knows of one that is not here.
   */
  adopt({ config, members }: NextFleet): void {
    this.#config = config;
    for (const [name, member] of members) {
      const before = this.#members.get(name);
      if (before === member) continue;
      this.#members.set(name, member);
      if (before !== undefined) this.#leave(before);
      const { sighting } = member.backend;
      this.#options.onBases(this.#bases());
      if (member.state === 'up' && sighting !== undefined) this.#up(member, sighting);
      else if (before !== undefined) this.#options.feed({ type: 'backendDown', backend: name });
    }
    for (const [name, member] of this.#members) {
      if (members.has(name)) continue;
      this.#options.feed({ type: 'backendGone', backend: name });
      this.#leave(member);
    }
    this.#members = new Map(members);
    this.#options.onBases(this.#bases());
  }

  #leave({ backend }: Member): void {
    backend.leave();
    this.#left.add(backend);
  }

  /** Requests may still run on engines that left. */
  get hasLeft(): boolean {
    return this.#left.size > 0;
  }

  /** Lets go of those that left and that none of these requests is at. */
  closeLeft(used: ReadonlySet<unknown>): void {
    for (const backend of this.#left) {
      if (used.has(backend)) continue;
      this.#left.delete(backend);
      this.#options.log.info({ backend: backend.name, url: backend.url }, 'engine left: nothing runs there any more');
      void backend.close({ gently: true });
    }
  }

  #madeFrom(config: FleetConfig, credentials: Credentials['engines']): Map<BackendName, Member> {
    const { connectMs } = config.deadlines;
    return new Map(
      config.backends.map((row) => {
        const made: Made = { row, credentials: credentials.get(row.name), connectMs };
        const known = this.#members.get(row.name);
        return [row.name, known !== undefined && isDeepStrictEqual(known.made, made) ? known : this.#make(made)];
      }),
    );
  }

  #make(made: Made): Member {
    const current = () => this.#config;
    const { credentials } = made;
    const member: Member = {
      backend: new Backend({
        ...made.row,
        credentials,
        get deadlines() {
          return { ...current().deadlines, connectMs: made.connectMs };
        },
        get probe() {
          return current().probe;
        },
        report: {
          onUp: (sighting, about) => this.#cameUp(member, sighting, about),
          onDown: (about, died) => this.#wentDown(member, about, died),
          onObserved: (sighting, askedAt) => this.#observed(member, sighting, askedAt),
        },
      }),
      ...{ state: 'starting', about: 'not asked yet', bases: [], made, foreign: [] },
    };
    return member;
  }

  /** One that is only prepared is known, but nobody is told of it yet. */
  #isMember({ backend }: Member): boolean {
    return this.has(backend);
  }

  #cameUp(member: Member, sighting: Sighting, about: string): void {
    Object.assign(member, { state: 'up', bases: sighting.bases, about });
    this.#tell(member);
    if (!this.#isMember(member)) return;
    this.#options.onBases(this.#bases());
    this.#up(member, sighting);
  }

  #up(member: Member, sighting: Sighting): void {
    const { name: backend, rankMax, runningMax, models } = member.made.row;
    const { slots, startedAt } = sighting;
    this.#options.feed({
      type: 'backendUp',
      backend,
      bases: sighting.bases.map((base) => base.name),
      ...{ slots, rankMax, runningMax, startedAt },
      models: models && new Set(Object.keys(models) as ModelName[]),
      routes: member.backend.dialect.routes,
      adapters: this.#ours(member, sighting) ?? [],
    });
    this.#options.onUp();
  }

  #wentDown(member: Member, about: string, died: boolean): void {
    Object.assign(member, { state: 'down', about });
    this.#tell(member);
    if (this.#isMember(member)) this.#options.feed({ type: 'backendDown', backend: member.backend.name, died });
  }

  #observed(member: Member, sighting: Sighting, askedAt: number): void {
    if (!this.#isMember(member)) return;
    const { name } = member.backend;
    const adapters = this.#ours(member, sighting);
    const { slots, running, waiting } = sighting;
    const gauges = running === undefined || waiting === undefined ? undefined : { running, waiting };
    this.#options.feed({ type: 'observed', backend: name, askedAt, slots, adapters, gauges });
  }

  /** The adapters of ours that it lists, each loaded from where our store keeps it; undefined: it lists none of any. */
  #ours(member: Member, { adapters }: Sighting): AdapterId[] | undefined {
    if (adapters === undefined) return undefined;
    const ours: AdapterId[] = [];
    const foreign: string[] = [];
    const { backend } = member;
    for (const [adapter, root] of adapters) {
      const path = this.#options.pathOf(adapter);
      if (path === undefined) continue;
      if (backend.pathFor(path) === root) ours.push(as<AdapterId>(adapter));
      else foreign.push(adapter);
    }
    const news = foreign.filter((adapter) => !member.foreign.includes(adapter));
    for (const adapter of news) {
      this.#options.log.warn(
        { backend: backend.name, adapter, root: adapters.get(adapter) },
        'engine holds this name from another path: not served from there',
      );
    }
    member.foreign = foreign;
    return ours;
  }

  #bases(): BaseModel[] {
    const bases = new Map<string, BaseModel>();
    for (const { bases: served, made } of this.#members.values())
      for (const base of served) {
        const known = bases.get(base.name);
        if (made.row.rankMax === 0) bases.set(base.name, known ?? { ...base, isPlain: true });
        else if (known === undefined || known.isPlain) bases.set(base.name, base);
      }
    return [...bases.values()];
  }

  #tell({ backend: { name: backend }, state, about }: Member): void {
    if (state === 'starting') return;
    this.#options.log[state === 'up' ? 'info' : 'warn']({ backend, about }, `backend ${state}`);
    this.#options.journal.tell({ type: 'backend', backend, state, about });
  }

  async close(): Promise<void> {
    const all = [...this.#left, ...[...this.#members.values()].map(({ backend }) => backend)];
    await Promise.all(all.map((backend) => backend.close()));
  }
}
