// The nouns of the bench: what is asked for, what competes, what a run yields. No behaviour.
// A contender sees what the gateway's router sees, the same events and effects; nothing here may hand it the future.
import type { RequestClass } from '../../src/domain.ts';
import type { Effect } from '../../src/router/effects.ts';
import type { RouterEvent } from '../../src/router/events.ts';
import type { Costs, LoadCost } from './costs.ts';

export { CLASSES, type RequestClass } from '../../src/domain.ts';

export interface Request {
  /** Virtual time of arrival, ms. */
  readonly at: number;
  readonly model: string;
  /** Undefined: the bare name, resolved when it arrives. */
  readonly step: number | undefined;
  readonly promptTokens: number;
  readonly outputTokens: number;
  readonly class: RequestClass;
  readonly tenant: string;
  /** Requests that share it begin alike: the turns of a conversation, each with all before it, or samples of one prompt. */
  readonly session: string | undefined;
}

/** A model's newest step; the one at time 0 is `latest` from the start. */
export interface Publication {
  readonly at: number;
  readonly model: string;
  readonly step: number;
}

export interface Workload {
  readonly name: string;
  readonly backends: number;
  /** Per backend. */
  readonly slots: number;
  readonly load: LoadCost;
  readonly costs: Costs;
  /** In order of arrival. */
  readonly requests: readonly Request[];
  readonly publications: readonly Publication[];
  /** When its evaluation sweep starts, ms; its requests are those of class `eval`. */
  readonly sweepAt: number | undefined;
  /** So sparse that every request can be served in order: Belady's optimum is then a fair bound on loads. */
  readonly sparse: boolean;
}

/** `arrived` as the bench says it: what a better policy may want to know is there already, though today's router does not read it. */
export type Arrival = Extract<RouterEvent, { type: 'arrived' }> & Pick<Request, 'session' | 'promptTokens'>;

export interface Scheduler {
  step(event: RouterEvent, now: number): readonly Effect[];
}

export interface Setup {
  readonly backends: number;
  readonly slots: number;
  /** From disk, ms. */
  readonly loadMs: number;
  readonly seed: number;
}

/**
 * Who swaps adapters. `api`: the scheduler, by load and unload; what was unloaded is read from disk again (the engine numbers each
 * registration anew, so that its CPU cache never knows it). `host`: the scheduler, inside an engine that keeps weights in CPU memory.
 * `engine`: the engine, by LRU, with its CPU cache. `free`: nobody; every adapter is everywhere at no cost.
 */
export type Residency = 'api' | 'host' | 'engine' | 'free';

export interface Contender {
  readonly name: string;
  /** Where the idea comes from. */
  readonly source: string;
  readonly residency: Residency;
  create(setup: Setup): Scheduler;
}

export type ByClass = Partial<Record<RequestClass, number>>;

/** One row of the JSON; times in ms. Null: the workload has no such thing. */
export interface Result {
  readonly workload: string;
  readonly policy: string;
  readonly seed: number;
  readonly requests: number;
  /** Adapters that entered a slot, from whichever tier. */
  readonly loadsPer1000: number;
  /** Those of them that were read from disk. */
  readonly diskLoadsPer1000: number;
  /** Loads over Belady's (sparse workloads) or the windowed bound; null where that bound is 0. */
  readonly loadsRatio: number | null;
  readonly ttftMsP50: ByClass;
  readonly ttftMsP99: ByClass;
  /** From arrival until the engine starts on the prompt. */
  readonly waitMsMax: number;
  readonly makespanRatio: number | null;
  /** Share of all requests whose first token came within its class's objective. */
  readonly goodput: number;
  /** Median over publications. */
  readonly publishToReadyMs: number | null;
  /** The same until the first token of the new step. */
  readonly publishToFirstMs: number | null;
  /**
   * What a change costs those who ask for the bare name: p99 of their time to first token, of requests that arrive between a publication and
   * ten seconds after the new step's first token, less that of all others.
   */
  readonly publishExtraP99Ms: number | null;
  /** Mean real time of one `step`, microseconds. */
  readonly decisionUs: number;
  readonly refused: number;
  readonly violations: number;
  readonly violationsByLaw: Readonly<Record<string, number>>;
}
