// One engine in virtual time: continuous batching, chunked prefill, loads that stall the loop, vLLM's slots and its scheduler, which
// skips the adapter number max_loras + 1 for as long as others run. Between two changes all rates are constant, so nothing happens per
// token: a clock counts the tokens that every running request has been given, and a request ends when that clock reaches its number.
import type { AdapterId, TicketId } from '../../src/domain.ts';
import type { Costs, LoadCost } from './costs.ts';
import { Fifo, Heap } from './heap.ts';
import { Prefixes } from './prefixes.ts';
import { Slots } from './slots.ts';
import type { Residency } from './types.ts';

export interface Job {
  readonly ticket: TicketId;
  readonly adapter: AdapterId;
  readonly promptTokens: number;
  readonly outputTokens: number;
  /** Prompts that share it begin alike, each as far as the longest before it. */
  readonly prefix: string | undefined;
  /** 0 goes first; only an engine of residency `free` looks at it. */
  readonly rank: number;
}

/** What the engine says, at its own time `now`, ms. It is said while the engine changes: note it, act afterwards. */
export interface EngineListener {
  started(job: Job, now: number): void;
  firstToken(job: Job, now: number): void;
  ended(job: Job, now: number): void;
  loaded(adapter: AdapterId, now: number): void;
}

export interface EngineOptions {
  readonly costs: Costs;
  readonly load: LoadCost;
  readonly slots: number;
  readonly residency: Residency;
}

interface Waiting {
  readonly job: Job;
  readonly order: number;
}

type Due = 'nothing' | 'stall' | 'prefill' | 'decode';
const RANKS = 3;

export class EngineModel {
  readonly slots: Slots;
  readonly #costs: Costs;
  readonly #residency: Residency;
  readonly #listener: EngineListener;
  readonly #lines = new Map<string, Fifo<Waiting>>();
  readonly #prefills = Array.from({ length: RANKS }, () => new Fifo<Job>());
  readonly #decoding = new Heap<Job>();
  readonly #stalls = new Fifo<{ ms: number; loaded: AdapterId | undefined }>();
  readonly #prefixes: Prefixes;
  #now = 0;
  #stallEnds = 0;
  #tokens = 0;
  #prefilling: Job | undefined;
  #prefillLeft = 0;
  #running = 0;
  /** The same by rank. */
  readonly #ranked = new Array<number>(RANKS).fill(0);
  #order = 0;
  #due: Due = 'nothing';
  #nextAt = Number.POSITIVE_INFINITY;

  constructor({ costs, load, slots, residency }: EngineOptions, listener: EngineListener) {
    this.#costs = costs;
    this.#residency = residency;
    this.#listener = listener;
    this.slots = new Slots({ load, slots, residency });
    this.#prefixes = new Prefixes(costs.prefixTokensMax);
  }

  /** When it must be fired next, ms; infinite while it is idle. */
  get nextAt(): number {
    return this.#nextAt;
  }

  get running(): number {
    return this.#running;
  }

  submit(job: Job, now: number): void {
    this.#move(now);
    const line = this.#residency === 'free' ? String(job.rank) : job.adapter;
    const waiting = this.#lines.get(line) ?? new Fifo<Waiting>();
    this.#lines.set(line, waiting);
    waiting.push({ job, order: this.#order++ });
    this.#admit();
    this.#plan();
  }

  /** Asked for over the API: in the loop, behind loads that were asked for earlier. */
  load(adapter: AdapterId, now: number): void {
    this.#move(now);
    this.#stall(this.slots.loadMs(adapter), adapter);
    this.#plan();
  }

  /** Carries out what is due at `nextAt`. */
  fire(): void {
    this.#move(this.#nextAt);
    const due = this.#due;
    if (due === 'stall') this.#stallOver();
    else if (due === 'prefill') this.#prefilled();
    else if (due === 'decode') this.#decoded();
    this.#admit();
    this.#plan();
  }

  #stall(ms: number, loaded: AdapterId | undefined): void {
    this.#stalls.push({ ms, loaded });
    if (this.#stalls.size === 1) this.#stallEnds = this.#now + ms;
  }

  #stallOver(): void {
    const over = this.#stalls.shift();
    if (over?.loaded !== undefined) {
      this.slots.arrived(over.loaded);
      this.#listener.loaded(over.loaded, this.#now);
    }
    const next = this.#stalls.first;
    if (next !== undefined) this.#stallEnds = this.#now + next.ms;
  }

  /** The step that ends a prefill gives the first token. */
  #prefilled(): void {
    const job = this.#prefilling;
    if (job === undefined) return;
    this.#prefilling = undefined;
    this.#remember(job, job.promptTokens);
    this.#listener.firstToken(job, this.#now + this.#itlMs());
    this.#decoding.push(this.#tokens + job.outputTokens, job);
  }

  #decoded(): void {
    this.#tokens = Math.max(this.#tokens, this.#decoding.key);
    const job = this.#decoding.pop();
    if (job === undefined) return;
    this.#count(job, -1);
    this.#remember(job, job.promptTokens + job.outputTokens);
    this.slots.released(job.adapter);
    this.#listener.ended(job, this.#now);
  }

  /** First come first served among those whose adapter may run: the others are skipped, without any fairness. */
  #admit(): void {
    while (this.#lines.size > 0) {
      let name: string | undefined;
      let order = Number.POSITIVE_INFINITY;
      for (const [candidate, { first }] of this.#lines) {
        if (first === undefined || !this.#precedes(first, order, candidate, name)) continue;
        if (this.#isFull(first.job) || !this.slots.mayRun(first.job.adapter)) continue;
        [name, order] = [candidate, first.order];
      }
      if (name === undefined) return;
      const line = this.#lines.get(name);
      const job = line?.shift()?.job;
      if (line?.size === 0) this.#lines.delete(name);
      if (job !== undefined) this.#start(job);
    }
  }

  /** Where adapters are free, no class takes another's room in the batch either. */
  #isFull({ rank }: Job): boolean {
    return (this.#ranked[rank] ?? 0) >= this.#costs.runningMax;
  }

  #precedes(first: Waiting, order: number, line: string, best: string | undefined): boolean {
    return this.#residency === 'free' ? best === undefined || line < best : first.order < order;
  }

  #start(job: Job): void {
    const ms = this.slots.taken(job.adapter);
    if (ms > 0) this.#stall(ms, undefined);
    this.#count(job, 1);
    this.#listener.started(job, this.#now);
    this.#prefills[job.rank]?.push(job);
  }

  #count({ rank }: Job, change: 1 | -1): void {
    this.#running += change;
    this.#ranked[rank] = (this.#ranked[rank] ?? 0) + change;
  }

  #itlMs(): number {
    return this.#costs.itlMs(this.#running, this.slots.distinct);
  }

  /** Time passes at the rates that hold since the last change. */
  #move(to: number): void {
    const ms = to - this.#now;
    this.#now = to;
    if (ms <= 0 || this.#stalls.size > 0) return;
    const { prefillChunkTokens, prefillMsPerToken } = this.#costs;
    const stepMs = this.#itlMs() + (this.#prefilling === undefined ? 0 : prefillChunkTokens * prefillMsPerToken);
    if (this.#prefilling !== undefined) this.#prefillLeft -= (ms / stepMs) * prefillChunkTokens;
    if (this.#decoding.size > 0) this.#tokens += ms / stepMs;
  }

  #plan(): void {
    this.#due = 'nothing';
    this.#nextAt = Number.POSITIVE_INFINITY;
    if (this.#stalls.size > 0) {
      this.#due = 'stall';
      this.#nextAt = this.#stallEnds;
      return;
    }
    if (this.#prefilling === undefined) this.#nextPrefill();
    const { prefillChunkTokens, prefillMsPerToken } = this.#costs;
    let stepMs = this.#itlMs();
    if (this.#prefilling !== undefined) {
      stepMs += prefillChunkTokens * prefillMsPerToken;
      this.#due = 'prefill';
      this.#nextAt = this.#now + (Math.max(0, this.#prefillLeft) / prefillChunkTokens) * stepMs;
    }
    if (this.#decoding.size === 0) return;
    const endsAt = this.#now + Math.max(0, this.#decoding.key - this.#tokens) * stepMs;
    if (endsAt >= this.#nextAt) return;
    this.#due = 'decode';
    this.#nextAt = endsAt;
  }

  #remember({ adapter, prefix }: Job, tokens: number): void {
    if (prefix !== undefined) this.#prefixes.note(`${adapter} ${prefix}`, tokens);
  }

  #known({ adapter, prefix, promptTokens }: Job): number {
    return prefix === undefined ? 0 : this.#prefixes.known(`${adapter} ${prefix}`, promptTokens);
  }

  #nextPrefill(): void {
    for (const queue of this.#prefills) {
      if (queue.size === 0) continue;
      const job = queue.shift();
      this.#prefilling = job;
      this.#prefillLeft = job === undefined ? 0 : job.promptTokens - this.#known(job);
      return;
    }
  }
}
