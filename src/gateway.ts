// The shell around the router: feeds it what happens, carries out what it asks for. Requests and engines meet here, and nowhere else.
import { performance } from 'node:perf_hooks';
import type { Logger } from 'pino';
import type { Access } from './access/access.ts';
import type { Credentials } from './access/credentials.ts';
import { Adapters } from './adapters.ts';
import { affinityOf } from './affinity.ts';
import type { Config } from './config.ts';
import { Cordons } from './cordons.ts';
import type { Deployments } from './deployments/deployments.ts';
import { type AdapterId, as, assertNever, type Checkpoint, type TicketId, weightsOf } from './domain.ts';
import { type Asked, type Bounce, Exchange, judged, type OutcomeCode } from './exchange.ts';
import { Fleet, type NextFleet } from './fleet.ts';
import type { Journal } from './journal.ts';
import { levelsOf } from './levels.ts';
import { Metrics } from './metrics.ts';
import { BodyBudget } from './openai/body-budget.ts';
import type { Registry, RegistryChange } from './registry/registry.ts';
import { Reservations } from './reservations.ts';
import type { Effect } from './router/effects.ts';
import type { AdapterTarget, RouterEvent } from './router/events.ts';
import { Router } from './router/router.ts';
import type { Sources } from './sources/sources.ts';
import { Sweeps } from './sweeps.ts';
import { adapterTargetOf, targetOf } from './targets.ts';
import { TicketTable } from './ticket-table.ts';
import { tellTrouble } from './troubles.ts';

export interface GatewayParts {
  readonly config: Config;
  readonly registry: Registry;
  readonly access: Access;
  readonly deployments: Deployments;
  readonly credentials: Credentials['engines'];
  readonly sources: Sources;
  readonly journal: Journal;
  readonly log: Logger;
}

export class Gateway {
  readonly router: Router;
  readonly fleet: Fleet;
  readonly adapters: Adapters;
  readonly reservations: Reservations;
  readonly metrics: Metrics;
  readonly sweeps: Sweeps;
  readonly registry: Registry;
  readonly access: Access;
  readonly deployments: Deployments;
  readonly sources: Sources;
  readonly journal: Journal;
  readonly cordons: Cordons;
  readonly bodies = new BodyBudget(() => this.config.limits.bufferedBytesMax);
  readonly startedAtMs = Date.now();
  readonly #log: Logger;
  #config: Config;
  readonly #exchanges = new TicketTable<Exchange>();
  readonly #events: RouterEvent[] = [];
  #feeding = false;
  #tickets = 0;
  #alarm: NodeJS.Timeout | undefined;
  #closing = false;
  #closed = false;
  #idle: (() => void) | undefined;

  constructor({ config, registry, access, deployments, credentials, sources, journal, log }: GatewayParts) {
    this.#config = config;
    this.registry = registry;
    this.access = access;
    this.deployments = deployments;
    this.sources = sources;
    this.journal = journal;
    this.#log = log;
    this.router = new Router(routerOptions(config));
    this.metrics = new Metrics(() => levelsOf(this));
    const feed = (event: RouterEvent) => this.#feed(event);
    this.fleet = new Fleet({
      config,
      credentials,
      log,
      journal,
      feed,
      pathOf: (name) => this.adapters.pathOf(name),
      onBases: (bases) => registry.catalog.setBases(bases),
      onUp: () => this.#lookAgain(),
    });
    this.cordons = new Cordons({
      rows: registry.others,
      fleet: this.fleet,
      state: this.router.state,
      feed,
      onChange: () => this.#lookAgain(),
      waitMsMax: () => this.#config.limits.waitMsMax,
      journal,
      log,
      nowMs: Date.now,
    });
    this.adapters = new Adapters({
      registry,
      fleet: this.fleet,
      metrics: this.metrics,
      journal,
      log,
      state: this.router.state,
      feed,
    });
    this.sweeps = new Sweeps({
      catalog: registry.catalog,
      target: (checkpoint) => this.#adapterTargetOf(checkpoint),
      feed,
      now: () => performance.now(),
      nowMs: Date.now,
      log,
    });
    this.reservations = new Reservations({
      rows: registry.others,
      catalog: registry.catalog,
      adapters: this.adapters,
      state: this.router.state,
      feed,
      journal,
      log,
      nowMs: Date.now,
    });
  }

  /** The registry's news. */
  onChange(change: RegistryChange): void {
    this.adapters.onChange(change);
    this.reservations.follow(change.kind === 'moved' ? change.model : change.checkpoint.model);
  }

  /** What counts now. A request that is under way goes by what counted when it came. */
  get config(): Config {
    return this.#config;
  }

  /** Goes by another config from now on. */
  configure(config: Config, fleet: NextFleet): void {
    this.#config = config;
    this.#feed({ type: 'configured', options: routerOptions(config) });
    this.fleet.adopt(fleet);
    this.cordons.forgetGone();
    this.#closeLeft();
    this.#lookAgain();
  }

  /** What names lead to, or who can hold it, may be other than it was. */
  #lookAgain(): void {
    this.reservations.follow();
    this.adapters.publishAll();
  }

  #closeLeft(): void {
    this.fleet.closeLeft(new Set(this.#exchanges.values().map(({ placed }) => placed?.destination)));
  }

  /** Resolves when every engine was asked once: from then on a request can be placed. */
  start(): Promise<void> {
    this.cordons.start();
    return this.fleet.start();
  }

  /** Takes a request from its arrival to its end; the exchange answers it. */
  submit(asked: Asked): void {
    const ticket = as<TicketId>(++this.#tickets);
    const exchange = new Exchange(ticket, asked, { config: this.#config, listener: this.#listener });
    this.#exchanges.set(ticket, exchange);
    if (this.#closing) return exchange.reject('shutting_down', 'the gateway is stopping; ask again in a moment');
    const { base, checkpoint } = asked;
    const target = targetOf({ base, checkpoint });
    const affinity = this.router.isShared(target) ? affinityOf(asked) : undefined;
    const { tenant, near, route } = asked;
    const kind = this.sweeps.take(ticket, asked);
    this.#feed({ type: 'arrived', ticket, target, class: kind, tenant, route: route.path, affinity, near });
    if (exchange.placed === undefined) exchange.hold();
  }

  readonly #listener = {
    over: (exchange: Exchange, code: OutcomeCode, status?: number) => {
      this.#forget(exchange, code, exchange.asked.response.statusCode);
      const { placed, ticket } = exchange;
      const outcome = judged(exchange.asked, code, status);
      if (outcome === undefined) return this.#feed({ type: 'cancelled', ticket });
      // It may be dead: better found out now than at the next look.
      if ((outcome === 'failed' || outcome === 'erred') && placed !== undefined)
        void this.fleet.at(placed.destination)?.probeNow();
      this.#feed({ type: 'ended', ticket, outcome });
    },
    mayAskAnother: ({ ticket }: Exchange) => this.router.mayAskAnother(ticket),
    left: (exchange: Exchange) => {
      this.#forget(exchange, 'client_closed', 499);
      this.#feed({ type: 'cancelled', ticket: exchange.ticket });
    },
    bounced: (exchange: Exchange, end: Bounce) => {
      const { placed, model, ticket, asked } = exchange;
      const backend = placed?.backend;
      this.#log.warn({ backend, model, requestId: asked.requestId, about: end.message }, `engine: ${end.kind}`);
      if (end.kind === 'refused' && placed !== undefined) this.fleet.at(placed.destination)?.suspect(end.message);
      const gone = end.kind === 'missing' && end.gone ? this.#sayGone(exchange, end.message) : undefined;
      exchange.placed = undefined;
      this.#feed({ type: 'ended', ticket, outcome: end.kind, gone });
      if (this.#exchanges.get(ticket) === undefined) return;
      if (backend !== undefined) this.metrics.retried(backend, end.kind);
      if (exchange.placed === undefined) exchange.hold();
    },
  };

  /** The service has no such checkpoint, whatever its template says: as good as a load that failed. */
  #sayGone({ asked, placed }: Exchange, message: string): string | undefined {
    const adapter = asked.checkpoint && weightsOf(asked.checkpoint)?.id;
    if (adapter === undefined || placed === undefined) return undefined;
    const { backend, destination } = placed;
    const about = `it has no model "${destination.dialect.modelOf(asked)}": ${message}`;
    this.metrics.loadFailed(backend, 'adapter');
    this.journal.tell({ type: 'loadFailed', backend, adapter, about });
    return `engine ${backend} cannot answer for ${adapter}: ${about}`;
  }

  #forget(exchange: Exchange, code: OutcomeCode, status: number): void {
    const { asked, model, placed } = exchange;
    this.#exchanges.delete(exchange.ticket);
    if (this.fleet.hasLeft) this.#closeLeft();
    asked.held.release();
    this.sweeps.ended(exchange.ticket, status);
    const now = performance.now();
    const tookMs = now - asked.arrivedAt;
    this.metrics.answered(asked.route.label, code, tookMs);
    const line = { asked: asked.name, model, backend: placed?.backend, why: placed?.why, status, tookMs };
    if (this.journal.heard) {
      this.journal.tell({ type: 'answered', ...line, waitedMs: (placed?.at ?? now) - asked.arrivedAt });
    }
    if (code !== 'ok') this.#log.info({ requestId: asked.requestId, code, ...line }, 'request not answered');
    if (this.#closing && this.#exchanges.size === 0) this.#idle?.();
  }

  /** One event after the other: what an effect sets off waits until the effects of the event before it are carried out. */
  #feed(event: RouterEvent): void {
    // A load or unload that ends with its engine's connections is still told. The router would plan around it, and its alarm keep the process alive.
    if (this.#closed) return;
    this.#events.push(event);
    if (this.#feeding) return;
    this.#feeding = true;
    try {
      for (let next = this.#events.shift(); next !== undefined; next = this.#events.shift()) {
        const now = performance.now();
        for (const effect of this.router.step(next, now)) this.#carryOut(effect, now);
      }
    } finally {
      this.#feeding = false;
    }
  }

  #carryOut(effect: Effect, now: number): void {
    switch (effect.type) {
      case 'dispatch': {
        const exchange = this.#exchanges.get(effect.ticket);
        if (exchange === undefined) return;
        this.metrics.dispatched(effect.backend, effect.why, now - exchange.asked.arrivedAt);
        return exchange.dispatch(this.fleet.get(effect.backend), effect.why, now);
      }
      case 'load':
        return void this.adapters.load(effect);
      case 'unload':
        return void this.adapters.unload(effect);
      case 'promote':
        return this.adapters.promote(effect.model, effect.checkpoint);
      case 'reject':
        return this.#exchanges.get(effect.ticket)?.reject(effect.code, effect.message, effect.retryAfterS);
      case 'standing':
      case 'quarantine':
        tellTrouble(effect, { log: this.#log, journal: this.journal, metrics: this.metrics });
        if (effect.type === 'quarantine' && effect.phase === 'trial') this.adapters.publishAll();
        return;
      case 'wakeAt':
        clearTimeout(this.#alarm);
        this.#alarm = setTimeout(() => this.#feed({ type: 'tick' }), Math.max(0, Math.ceil(effect.at - now)));
        return;
      default:
        return assertNever(effect);
    }
  }

  /** An adapter under quarantine is to be tried again now. */
  retry(adapter: AdapterId): void {
    this.#feed({ type: 'retry', adapter });
  }

  #adapterTargetOf(checkpoint: Checkpoint): AdapterTarget | undefined {
    const base = this.adapters.baseOf(checkpoint)?.name;
    return base === undefined ? undefined : adapterTargetOf(checkpoint, base);
  }

  get inFlight(): number {
    return this.#exchanges.size;
  }

  get closing(): boolean {
    return this.#closing;
  }

  /** New requests are turned away; resolves when the last one under way has ended. */
  async drain(): Promise<void> {
    this.#closing = true;
    if (this.#exchanges.size === 0) return;
    await new Promise<void>((resolve) => {
      this.#idle = resolve;
    });
  }

  /** Ends all requests under way: their callers are told. */
  cut(message: string): void {
    for (const exchange of this.#exchanges.values()) exchange.cut(message);
  }

  async close(): Promise<void> {
    this.#closing = true;
    this.#closed = true;
    clearTimeout(this.#alarm);
    this.reservations.close();
    this.sweeps.close();
    await this.fleet.close();
  }
}

const routerOptions = ({ limits, scheduling, health }: Config) => ({ ...limits, ...scheduling, ...health });
