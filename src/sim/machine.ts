// One life of a simulated engine: its options, the engine itself, its metrics and what it counts for tests. A restart makes a new one.
// Knows no HTTP: server.ts serves it, sim.ts starts and ends it.
import { randomBytes } from 'node:crypto';
import { readAdapter } from './adapter-files.ts';
import { type Clock, realClock } from './clock.ts';
import { Engine } from './engine.ts';
import type { Kept } from './kept.ts';
import { createMetrics, type Metrics } from './metrics.ts';

export interface SimOptions {
  readonly host?: string;
  /** 0 (the default) takes a free one. */
  readonly port?: number;
  /** Served names of the base; the first is the one that metrics and adapters' `parent` show. */
  readonly base?: string | readonly string[];
  readonly maxLoras?: number;
  /** Adapters kept in memory; others are read again when they are used. Default: maxLoras. */
  readonly maxCpuLoras?: number;
  readonly maxLoraRank?: number;
  /** Tokens; the simulated tokenizer makes one of each byte. */
  readonly maxModelLen?: number;
  readonly maxNumSeqs?: number;
  readonly loadMs?: number;
  readonly firstTokenMs?: number;
  /** One token of a sequence that runs alone; each further sequence of the batch adds 3 %. */
  readonly tokenMs?: number;
  /** 10 makes all three times a tenth. */
  readonly speed?: number;
  /** Tokens after which an answer ends by itself. */
  readonly answerTokens?: number;
  /** False: the load and unload routes do not exist, as without VLLM_ALLOW_RUNTIME_LORA_UPDATING. */
  readonly runtimeLora?: boolean;
  /** True: answers of /v1/responses are kept, as with VLLM_ENABLE_RESPONSES_API_STORE=1. */
  readonly keepResponses?: boolean;
  /** Adapters that the engine dies of: when they are loaded, or when they are first used. */
  readonly poison?: Readonly<Record<string, 'load' | 'use'>>;
  readonly clock?: Clock;
}

export type MachineOptions = Required<Omit<SimOptions, 'host' | 'port' | 'base' | 'speed' | 'clock'>> & {
  readonly bases: readonly string[];
};

const DEFAULTS = {
  maxLoras: 2,
  maxLoraRank: 16,
  maxModelLen: 32_768,
  maxNumSeqs: 256,
  loadMs: 200,
  firstTokenMs: 40,
  tokenMs: 10,
  answerTokens: 24,
  runtimeLora: true,
  keepResponses: false,
  poison: {},
};

/** What tests ask about; all counts since this engine's start. */
export interface SimStats {
  /** Registered names -> paths. */
  readonly adapters: ReadonlyMap<string, string>;
  /** Calls of the load route by name, whatever became of them. */
  readonly loadCalls: ReadonlyMap<string, number>;
  /** Loads and unloads that succeeded. */
  readonly loads: number;
  readonly unloads: number;
  /** Sequences. */
  readonly running: number;
  readonly waiting: number;
  /** Name -> sequences running or waiting. */
  readonly inFlight: ReadonlyMap<string, number>;
  /** The most distinct adapters that were in flight at once, running or waiting. */
  readonly maxDistinctInFlight: number;
  /** Requests that arrived on routes with a model. */
  readonly requests: number;
  /** Requests whose caller left while tokens were made. */
  readonly aborted: number;
  /** Requests on routes with a model, or of a kept answer, whose connection closed before their answer was complete. */
  readonly left: number;
  readonly done: number;
  /** Nothing runs on it until it is restarted. */
  readonly dead: boolean;
  /** Times that evicted weights were read again. */
  readonly rereads: number;
  /** Request ids of answers that were made to their end though their adapter had been unloaded meanwhile. */
  readonly orphans: readonly string[];
  readonly startedAtS: number;
}

export interface Tally {
  readonly loadCalls: Map<string, number>;
  loads: number;
  unloads: number;
  requests: number;
  done: number;
  died: number;
  aborted: number;
  left: number;
  readonly orphans: string[];
  maxDistinctInFlight: number;
}

export class Machine {
  readonly options: MachineOptions;
  readonly clock: Clock;
  readonly engine: Engine;
  readonly metrics: Metrics;
  readonly startedAtS: number;
  /** By the ids of the answers. */
  readonly kept = new Map<string, Kept>();
  readonly tally: Tally = {
    loadCalls: new Map(),
    loads: 0,
    unloads: 0,
    requests: 0,
    done: 0,
    died: 0,
    aborted: 0,
    left: 0,
    orphans: [],
    maxDistinctInFlight: 0,
  };

  /** `startedAfterS`: the former life's start, which this one's must differ from. */
  constructor(options: SimOptions, startedAfterS = 0) {
    this.clock = options.clock ?? realClock(options.speed);
    this.options = withDefaults(options);
    this.startedAtS = Math.max(this.clock.unixS(), startedAfterS + 0.01);
    const { maxLoraRank, maxLoras } = this.options;
    this.engine = new Engine(this.options, this.clock, (name, path) => readAdapter(name, path, maxLoraRank));
    this.metrics = createMetrics({
      base: this.base,
      maxLoras,
      startedAtS: this.startedAtS,
      clock: this.clock,
      now: () => ({ running: this.engine.running, waiting: this.engine.waiting }),
    });
    this.engine.onStep = this.metrics.step;
  }

  get base(): string {
    return this.options.bases[0] ?? '';
  }

  nextId(): string {
    return randomBytes(8).toString('hex');
  }

  noteInFlight(): void {
    this.tally.maxDistinctInFlight = Math.max(this.tally.maxDistinctInFlight, this.engine.adaptersInFlight());
  }

  stats(): SimStats {
    const { engine, tally, startedAtS } = this;
    return {
      ...tally,
      dead: engine.dead,
      loadCalls: new Map(tally.loadCalls),
      adapters: engine.adapters(),
      running: engine.running,
      waiting: engine.waiting,
      inFlight: engine.inFlight(),
      rereads: engine.rereads,
      orphans: [...tally.orphans],
      startedAtS,
    };
  }
}

function withDefaults({ base = 'base', host, port, speed, clock, ...given }: SimOptions): MachineOptions {
  const maxLoras = given.maxLoras ?? DEFAULTS.maxLoras;
  return { ...DEFAULTS, maxCpuLoras: maxLoras, ...given, bases: typeof base === 'string' ? [base] : base };
}
