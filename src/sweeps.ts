// Evaluations over many steps: announced by their callers, or noticed from their requests. Counts what they ask for, tells the router what is still to
// come, and ends them. It must cost requests that are part of none a look-up or two; what is loaded, and when, is the router's to decide.
import { randomBytes } from 'node:crypto';
import type { Logger } from 'pino';
import {
  as,
  type Checkpoint,
  type CheckpointName,
  type ModelName,
  type RequestClass,
  type SweepId,
  type TicketId,
} from './domain.ts';
import { StepgateError } from './errors.ts';
import type { Catalog } from './registry/catalog.ts';
import { parseName } from './registry/name.ts';
import type { AdapterTarget, RouterEvent } from './router/events.ts';
import { Notice, nextOf } from './sweeps/notice.ts';
import { type Row, Sweep, type SweepState } from './sweeps/sweep.ts';
import { TicketTable } from './ticket-table.ts';

/** Sweeps that run at once, and ended ones that are still told of. */
const RUNNING_MAX = 1_000;
const ENDED_MAX = 20;
/** Steps of a noticed one; announced ones are bounded by their announcement. */
const NOTICED_STEPS_MAX = 10_000;
export const TTL_MS = 3_600_000;
/** Nobody asked for it to be kept: one that was only noticed ends sooner. */
const NOTICED_TTL_MS = 900_000;

export interface SweepsParts {
  readonly catalog: Catalog;
  /** What engines must hold for it; undefined: its base is not known, or not yet. */
  readonly target: (checkpoint: Checkpoint) => AdapterTarget | undefined;
  readonly feed: (event: RouterEvent) => void;
  /** Monotonic, ms. */
  readonly now: () => number;
  readonly nowMs: () => number;
  readonly log: Logger;
}

/** What of a request tells whether it is part of a sweep. */
export interface Candidate {
  readonly name: string;
  readonly checkpoint: Checkpoint | undefined;
  readonly class: RequestClass;
  /** Whether its caller named the class; else it is a guess. */
  readonly classSaid: boolean;
  readonly stream: boolean;
  /** As it names its sweep, whether or not there is one. */
  readonly sweep: string | undefined;
}

export interface Announcement {
  readonly model: ModelName;
  readonly steps: readonly { readonly checkpoint: Checkpoint; readonly requests: number }[];
  readonly owner: string | undefined;
  readonly ttlMs: number;
}

export class Sweeps {
  readonly #parts: SweepsParts;
  readonly #running = new Map<string, Sweep>();
  readonly #byModel = new Map<ModelName, Sweep[]>();
  readonly #ended: Sweep[] = [];
  readonly #tickets = new TicketTable<{ readonly ticket: TicketId; readonly sweep: Sweep; readonly row: Row }>();
  readonly #notice = new Notice();
  #timer: NodeJS.Timeout | undefined;

  constructor(parts: SweepsParts) {
    this.#parts = parts;
  }

  /** @throws StepgateError no_capacity when too many run already */
  announce({ model, steps, owner, ttlMs }: Announcement): Sweep {
    if (this.#running.size >= RUNNING_MAX)
      throw new StepgateError('no_capacity', `${RUNNING_MAX} sweeps are running; DELETE those that are over`);
    const sweep = this.#begin({ id: randomBytes(4).toString('hex'), model, owner, origin: 'announced', ttlMs });
    for (const { checkpoint, requests } of steps) {
      if (checkpoint.step !== undefined)
        sweep.add({ step: checkpoint.step, name: checkpoint.name, expected: requests });
    }
    this.#tell(sweep);
    return sweep;
  }

  #begin(options: {
    id: string;
    model: ModelName;
    owner: string | undefined;
    origin: 'announced' | 'noticed';
    ttlMs: number;
  }): Sweep {
    const { id, model, origin } = options;
    const { now, nowMs, log } = this.#parts;
    const sweep = new Sweep({ ...options, id: as<SweepId>(id), now: now() }, nowMs());
    this.#running.set(id, sweep);
    this.#byModel.set(model, [...(this.#byModel.get(model) ?? []), sweep]);
    this.#timer ??= setInterval(() => this.#expire(), 1_000).unref();
    log.info({ sweep: id, model, owner: options.owner }, `sweep ${origin}`);
    return sweep;
  }

  /** Newest last; the ended ones before. */
  list(): readonly Sweep[] {
    return [...this.#ended, ...this.#running.values()];
  }

  find(id: string): Sweep | undefined {
    return this.#running.get(id) ?? this.#ended.find(({ options }) => options.id === id);
  }

  withdraw(sweep: Sweep): void {
    if (sweep.state === 'running') this.#end(sweep, 'withdrawn');
  }

  /** Tickets of this sweep that have not ended. */
  ticketsOf(sweep: Sweep): readonly { readonly ticket: TicketId; readonly row: Row }[] {
    return this.#tickets.values().filter((entry) => entry.sweep === sweep);
  }

  /**
   * Counts a request to the sweep that it is part of, if any.
   * @returns its class: that of an evaluation, where its caller named none and it is part of one
   */
  take(ticket: TicketId, asked: Candidate): RequestClass {
    const { checkpoint, class: kind, classSaid } = asked;
    if (checkpoint?.step === undefined) return kind;
    const named = asked.sweep === undefined ? undefined : this.#running.get(asked.sweep);
    if (named === undefined && !this.#mayBePart(asked, checkpoint)) return kind;
    const { model, step, name } = checkpoint;
    const sweep = named ?? this.#sweepOf(model, step) ?? this.#look(model, step);
    if (sweep === undefined) return kind;
    let row = sweep.rows.get(step);
    if (row === undefined) {
      if (sweep.options.origin === 'announced' || sweep.rows.size >= NOTICED_STEPS_MAX) return kind;
      row = this.#walkOn(sweep, step, name);
    }
    sweep.took(row, this.#parts.now());
    this.#tickets.set(ticket, { ticket, sweep, row });
    return classSaid ? kind : 'eval';
  }

  /**
   * By its own account an evaluation; or nothing is said, nobody waits for a stream, and the step is named outright and was not the newest when it
   * was asked for: rollouts ask for that one, and for a while after the next one has come, since trainers run some steps behind.
   */
  #mayBePart({ name, class: kind, classSaid, stream }: Candidate, checkpoint: Checkpoint): boolean {
    if (classSaid && kind === 'eval') return true;
    const { model, step } = checkpoint;
    if (kind === 'interactive' && step !== undefined) this.#notice.dismiss(model, step);
    if (classSaid || stream) return false;
    if (name !== checkpoint.name && parseName(name).kind !== 'step') return false;
    if (step === undefined) return false;
    const { catalog } = this.#parts;
    const isNewest = catalog.newest(model)?.id === checkpoint.id || catalog.latest(model)?.id === checkpoint.id;
    if (isNewest) this.#notice.follow(model, step);
    return !this.#notice.isFollowed(model, step);
  }

  /** The newest that has this step, or walks through the model's steps. */
  #sweepOf(model: ModelName, step: number): Sweep | undefined {
    const sweeps = this.#byModel.get(model);
    return sweeps?.findLast(({ rows, options }) => rows.has(step) || options.origin === 'noticed');
  }

  #look(model: ModelName, step: number): Sweep | undefined {
    const seen = this.#notice.note(model, step, this.#parts.now());
    if (seen === undefined || this.#running.size >= RUNNING_MAX) return undefined;
    const id = `auto-${randomBytes(4).toString('hex')}`;
    const sweep = this.#begin({ id, model, owner: undefined, origin: 'noticed', ttlMs: NOTICED_TTL_MS });
    for (const { step: at, requests } of seen) {
      const row = sweep.add({ step: at, name: as<CheckpointName>(`${model}@${at}`), expected: undefined });
      row.done = at === step ? requests - 1 : requests;
    }
    this.#tell(sweep);
    return sweep;
  }

  /** A noticed one comes to a step that is new to it. */
  #walkOn(sweep: Sweep, step: number, name: CheckpointName): Row {
    const row = sweep.add({ step, name, expected: undefined });
    this.#tell(sweep);
    return row;
  }

  /** @param status of the answer; 499 for a caller that left */
  ended(ticket: TicketId, status: number): void {
    const entry = this.#tickets.get(ticket);
    if (entry === undefined) return;
    this.#tickets.delete(ticket);
    const { sweep, row } = entry;
    const willAsk = status === 429 || status === 499 || status >= 500;
    sweep.ended(row, willAsk ? 'again' : status < 400 ? 'ok' : 'failed', this.#parts.now());
    if (sweep.state !== 'running') return;
    if (sweep.isDone) this.#end(sweep, 'done');
    else if (row.done === sweep.expectedOf(row)) this.#tell(sweep);
  }

  /** To the router: what is still to come. Once for each step, not for each request. */
  #tell(sweep: Sweep): void {
    const { catalog, target, feed } = this.#parts;
    const expected = this.#toCome(sweep).flatMap(({ name, requests }) => {
      const checkpoint = catalog.find(name);
      const wanted = checkpoint?.state.kind === 'servable' ? target(checkpoint) : undefined;
      return wanted === undefined ? [] : [{ target: wanted, requests }];
    });
    feed({ type: 'announced', sweep: sweep.options.id, expected });
  }

  #toCome(sweep: Sweep): { name: string; requests: number }[] {
    const { origin, model } = sweep.options;
    const rows = [...sweep.rows.values()];
    if (origin === 'announced') {
      return rows
        .filter((row) => row.done < (row.expected ?? 0))
        .map((row) => ({ name: row.name, requests: sweep.remainingOf(row) }));
    }
    const newest = rows.at(-1);
    if (newest === undefined) return [];
    const { catalog } = this.#parts;
    const order = catalog
      .checkpoints(model)
      .flatMap(({ step, state }) => (step !== undefined && state.kind === 'servable' ? [step] : []));
    const next = nextOf([...sweep.rows.keys()], order);
    const here = { name: newest.name as string, requests: sweep.remainingOf(newest) };
    const isNew = next !== undefined && !sweep.rows.has(next);
    return isNew
      ? [here, { name: `${model}@${next}`, requests: sweep.expectedOf({ expected: undefined }) ?? 1 }]
      : [here];
  }

  #end(sweep: Sweep, state: Exclude<SweepState, 'running'>): void {
    sweep.state = state;
    const { id, model } = sweep.options;
    this.#running.delete(id);
    const left = (this.#byModel.get(model) ?? []).filter((other) => other !== sweep);
    if (left.length > 0) this.#byModel.set(model, left);
    else this.#byModel.delete(model);
    this.#ended.push(sweep);
    if (this.#ended.length > ENDED_MAX) this.#ended.shift();
    if (this.#running.size === 0) this.close();
    this.#parts.log.info({ sweep: id, model }, `sweep ${state}`);
    this.#parts.feed({ type: 'withdrawn', sweep: id });
  }

  #expire(): void {
    const now = this.#parts.now();
    const idle = [...this.#running.values()].filter(({ lastAt, options }) => now - lastAt >= options.ttlMs);
    for (const sweep of idle) this.#end(sweep, 'expired');
  }

  close(): void {
    clearInterval(this.#timer);
    this.#timer = undefined;
  }
}
