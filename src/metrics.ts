// Every metric, declared here and nowhere else. Label sets are closed and small: routes, backends, catalogue codes, whys; never a caller's text.
import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry as PromRegistry } from 'prom-client';
import type { Why } from './domain.ts';
import type { Bounce, OutcomeCode } from './exchange.ts';
import { type Count, TalliedHistogram, tallied } from './tallies.ts';

const SECONDS = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300];

/** What the gauges show, asked for at each scrape. */
export interface Levels {
  readonly waiting: number;
  readonly bufferedBytes: number;
  readonly storeBytes: number;
  readonly checkpoints: ReadonlyMap<string, number>;
  /** checkpoint, model, latest or class -> slots that are kept for such. */
  readonly reserved: ReadonlyMap<string, number>;
  readonly quarantined: number;
  readonly backends: readonly {
    readonly name: string;
    readonly up: boolean;
    readonly cordoned: boolean;
    readonly ejected: boolean;
    readonly slots: number;
    readonly inFlight: number;
    /** Residency state -> adapters. */
    readonly residency: ReadonlyMap<string, number>;
  }[];
}

export class Metrics {
  readonly #registry = new PromRegistry();
  readonly #requests: (route: string, code: string) => Count;
  readonly #requestSeconds: TalliedHistogram;
  readonly #waitSeconds: TalliedHistogram;
  readonly #dispatches: (backend: string, why: string) => Count;
  readonly #loads: Counter<'backend' | 'outcome'>;
  readonly #loadSeconds: Histogram<'backend'>;
  readonly #unloads: Counter<'backend' | 'why'>;
  readonly #ejections: Counter<'backend'>;
  readonly #engineEnds: Counter<'backend'>;
  readonly #retries: Counter<'backend' | 'why'>;
  readonly #quarantines: Counter;
  readonly #connectionsRefused: Counter<'listener'>;
  readonly #fetches: Counter<'source' | 'outcome'>;
  readonly #fetchedBytes: Counter<'source'>;

  constructor(levels: () => Levels) {
    const registers = [this.#registry];
    this.#requests = tallied({
      name: 'stepgate_requests_total',
      help: 'Requests answered, by route and outcome: ok, engine_4xx, engine_5xx, or the code of docs/errors.md.',
      labelNames: ['route', 'code'],
      registers,
    });
    this.#requestSeconds = new TalliedHistogram({
      name: 'stepgate_request_seconds',
      help: 'From the arrival of a request to the end of its answer.',
      labelNames: ['route'],
      buckets: SECONDS,
      registers,
    });
    this.#waitSeconds = new TalliedHistogram({
      name: 'stepgate_wait_seconds',
      help: 'From the arrival of a request to its dispatch to an engine, by why it could be placed.',
      labelNames: ['why'],
      buckets: SECONDS,
      registers,
    });
    this.#dispatches = tallied({
      name: 'stepgate_dispatches_total',
      help: 'Requests sent to an engine, by backend and why.',
      labelNames: ['backend', 'why'],
      registers,
    });
    this.#loads = new Counter({
      name: 'stepgate_loads_total',
      help: 'Adapter loads, by backend and outcome: loaded, or whose fault it was.',
      labelNames: ['backend', 'outcome'],
      registers,
    });
    this.#loadSeconds = new Histogram({
      name: 'stepgate_load_seconds',
      help: 'Time that a successful load took.',
      labelNames: ['backend'],
      buckets: SECONDS,
      registers,
    });
    this.#unloads = new Counter({
      name: 'stepgate_unloads_total',
      help: 'Adapter unloads asked for, by backend and why.',
      labelNames: ['backend', 'why'],
      registers,
    });
    this.#ejections = new Counter({
      name: 'stepgate_ejections_total',
      help: 'Times that nothing new was placed on an engine because its requests failed.',
      labelNames: ['backend'],
      registers,
    });
    this.#engineEnds = new Counter({
      name: 'stepgate_engine_ends_total',
      help: 'Times that an engine which the gateway started has ended by itself, by its name.',
      labelNames: ['backend'],
      registers,
    });
    this.#retries = new Counter({
      name: 'stepgate_retries_total',
      help: 'Second attempts, by the backend that sent the request back and why: missing, refused, busy or unavailable.',
      labelNames: ['backend', 'why'],
      registers,
    });
    this.#quarantines = new Counter({
      name: 'stepgate_quarantines_total',
      help: 'Times that an adapter came under quarantine because an engine died with it.',
      registers,
    });
    this.#connectionsRefused = new Counter({
      name: 'stepgate_connections_refused_total',
      help: 'Connections closed at once because there were limits.connectionsMax, by listener.',
      labelNames: ['listener'],
      registers,
    });
    this.#fetches = new Counter({
      name: 'stepgate_source_fetches_total',
      help: 'Adapters fetched from elsewhere, by kind of source (hf, s3, ...) and outcome: fetched, broken_off (kept), refused.',
      labelNames: ['source', 'outcome'],
      registers,
    });
    this.#fetchedBytes = new Counter({
      name: 'stepgate_source_bytes_total',
      help: 'Bytes of what was fetched from elsewhere, by kind of source.',
      labelNames: ['source'],
      registers,
    });
    declareLevels(this.#registry, levels);
    // A coarse look at the event loop: a finer one would wake an idle process a hundred times a second.
    collectDefaultMetrics({ register: this.#registry, eventLoopMonitoringPrecision: 100 });
  }

  answered(route: string, code: OutcomeCode, tookMs: number): void {
    this.#requests(route, code).inc();
    this.#requestSeconds.of(route).observe(tookMs / 1000);
  }

  dispatched(backend: string, why: Why, waitedMs: number): void {
    this.#dispatches(backend, why).inc();
    this.#waitSeconds.of(why).observe(waitedMs / 1000);
  }

  loaded(backend: string, tookMs: number): void {
    this.#loads.inc({ backend, outcome: 'loaded' });
    this.#loadSeconds.observe({ backend }, tookMs / 1000);
  }

  loadFailed(backend: string, fault: 'adapter' | 'backend'): void {
    this.#loads.inc({ backend, outcome: `${fault}_fault` });
  }

  unloading(backend: string, why: Why): void {
    this.#unloads.inc({ backend, why });
  }

  ejected(backend: string): void {
    this.#ejections.inc({ backend });
  }

  engineEnded(backend: string): void {
    this.#engineEnds.inc({ backend });
  }

  retried(backend: string, why: Bounce['kind']): void {
    this.#retries.inc({ backend, why });
  }

  quarantined(): void {
    this.#quarantines.inc();
  }

  connectionRefused(listener: 'listen' | 'admin'): void {
    this.#connectionsRefused.inc({ listener });
  }

  fetchEnded(source: string, outcome: string, bytes: number): void {
    this.#fetches.inc({ source, outcome });
    this.#fetchedBytes.inc({ source }, bytes);
  }

  get contentType(): string {
    return this.#registry.contentType;
  }

  text(): Promise<string> {
    return this.#registry.metrics();
  }
}

function declareLevels(registry: PromRegistry, levels: () => Levels): void {
  const registers = [registry];
  const gauge = (name: string, help: string, labelNames: string[], collect: (gauge: Gauge) => void) =>
    new Gauge({
      name,
      help,
      labelNames,
      registers,
      collect() {
        this.reset();
        collect(this);
      },
    });
  gauge('stepgate_waiting', 'Requests that wait for a slot.', [], (it) => it.set(levels().waiting));
  gauge('stepgate_buffered_bytes', 'Bytes of request bodies that are held.', [], (it) =>
    it.set(levels().bufferedBytes),
  );
  gauge('stepgate_store_bytes', 'Bytes of adapters in the store.', [], (it) => it.set(levels().storeBytes));
  gauge('stepgate_checkpoints', 'Known checkpoints, by state.', ['state'], (it) => {
    for (const [state, count] of levels().checkpoints) it.set({ state }, count);
  });
  gauge('stepgate_backend_up', '1 while the engine answers.', ['backend'], (it) => {
    for (const { name, up } of levels().backends) it.set({ backend: name }, up ? 1 : 0);
  });
  gauge(
    'stepgate_cordoned',
    '1 while nothing new goes to the engine (stepgate drain); what still runs there: stepgate_in_flight.',
    ['backend'],
    (it) => {
      for (const { name, cordoned } of levels().backends) it.set({ backend: name }, cordoned ? 1 : 0);
    },
  );
  gauge(
    'stepgate_backend_ejected',
    '1 while nothing new, or one request at a time, is placed there.',
    ['backend'],
    (it) => {
      for (const { name, ejected } of levels().backends) it.set({ backend: name }, ejected ? 1 : 0);
    },
  );
  gauge('stepgate_quarantined', 'Adapters under quarantine.', [], (it) => it.set(levels().quarantined));
  gauge('stepgate_slots', 'Distinct adapters that the engine runs at once.', ['backend'], (it) => {
    for (const { name, slots } of levels().backends) it.set({ backend: name }, slots);
  });
  gauge('stepgate_reserved_slots', 'Slots that are kept, by what for.', ['for'], (it) => {
    for (const [kind, slots] of levels().reserved) it.set({ for: kind }, slots);
  });
  gauge('stepgate_in_flight', 'Requests running on the engine for this gateway.', ['backend'], (it) => {
    for (const { name, inFlight } of levels().backends) it.set({ backend: name }, inFlight);
  });
  gauge('stepgate_residency', 'Adapters on the engine, by state.', ['backend', 'state'], (it) => {
    for (const { name, residency } of levels().backends) {
      for (const [state, count] of residency) it.set({ backend: name, state }, count);
    }
  });
}
