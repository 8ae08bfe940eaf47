// What is true, as far as the run can know it: what each name stood for, when. Each change has a beginning and, once somebody has confirmed it, an
// end; in between both the old and the new are true. Pure: times are arguments (ms, monotonic).
import { KEEP } from './cast.ts';

/** Weights by what two parties say of them: the engine, in its words, and the registry. */
export interface Digests {
  /** The start of the SHA-256 of the tensors' file. */
  readonly spoken: string;
  /** Of all files of the adapter, as the store counts. */
  readonly stored: string;
}

/** What a step stands for. */
export type Standing =
  | { readonly kind: 'weights'; readonly digests: Digests }
  | { readonly kind: 'absent' | 'deleted' | 'unservable' };

export interface Change<T> {
  readonly value: T;
  readonly begunAt: number;
  endedAt: number;
  /** It was found not to have happened. */
  isVoid: boolean;
}

/** Longer than any request lives. */
const REMEMBERED_MS = 120_000;

/** One thing that changes, one change after the other, each at a moment that nobody knows but to lie within its time. */
export class Register<T> {
  #changes: Change<T>[];

  constructor(first: T) {
    this.#changes = [
      { value: first, begunAt: Number.NEGATIVE_INFINITY, endedAt: Number.NEGATIVE_INFINITY, isVoid: false },
    ];
  }

  begin(value: T, now: number): Change<T> {
    const change = { value, begunAt: now, endedAt: Number.POSITIVE_INFINITY, isVoid: false };
    this.#changes.push(change);
    return change;
  }

  end(change: Change<T>, now: number): void {
    change.endedAt = now;
    // In order of their ends, so that the last one counts.
    this.#changes = [...this.#changes.filter((one) => one !== change), change].sort((a, b) => a.endedAt - b.endedAt);
    const old = this.#changes.findLastIndex((one) => !one.isVoid && one.endedAt < now - REMEMBERED_MS);
    if (old > 0)
      this.#changes = this.#changes.filter((one, at) => at >= old || one.endedAt === Number.POSITIVE_INFINITY);
  }

  void(change: Change<T>, now: number): void {
    change.isVoid = true;
    this.end(change, now);
  }

  /** All that it may have been at some moment from `from` until `to`. */
  possible(from: number, to: number): T[] {
    const base = this.#changes.findLast((one) => !one.isVoid && one.endedAt <= from);
    return this.#changes
      .filter((one) => one === base || (one.begunAt <= to && one.endedAt > from))
      .map(({ value }) => value);
  }

  /** What it was all the time. */
  certain(from: number, to: number): T | undefined {
    const [only, ...others] = this.possible(from, to);
    return others.length === 0 ? only : undefined;
  }

  /** Those whose end nobody knows yet. */
  get open(): readonly Change<T>[] {
    return this.#changes.filter((one) => one.endedAt === Number.POSITIVE_INFINITY);
  }
}

const ABSENT: Standing = { kind: 'absent' };
const DELETED: Standing = { kind: 'deleted' };

export interface Floor {
  readonly step: number;
}

export class ModelBooks {
  readonly model: string;
  readonly steps = new Map<number, Register<Standing>>();
  readonly aliases = new Map<string, Register<number | undefined>>();
  readonly pins = new Map<number, Register<boolean>>();
  /** The greatest step that an answer to the bare name has named, of those that nobody has begun to delete. */
  #floor: Floor = { step: 0 };
  /** When deletions by hand began. */
  readonly #deletedAt = new Map<number, number>();
  readonly #forgotten = new Set<number>();

  constructor(model: string) {
    this.model = model;
  }

  step(step: number): Register<Standing> {
    return entry(this.steps, step, () => new Register<Standing>(this.#forgotten.has(step) ? DELETED : ABSENT));
  }

  /** Takes out of the way what was deleted so long ago that no request remembers anything else. */
  tidy(now: number): void {
    for (const [step, register] of this.steps) {
      if (register.certain(now - REMEMBERED_MS, now)?.kind !== 'deleted') continue;
      this.steps.delete(step);
      this.pins.delete(step);
      this.#forgotten.add(step);
    }
  }

  alias(alias: string): Register<number | undefined> {
    return entry(this.aliases, alias, () => new Register<number | undefined>(undefined));
  }

  pin(step: number): Register<boolean> {
    return entry(this.pins, step, () => new Register(false));
  }

  /** Somebody keeps it, whatever retention says. */
  isHeld(step: number, now: number): boolean {
    const names = [...this.aliases.values()].some((alias) => alias.certain(now, now) === step);
    return names || this.pin(step).certain(now, now) === true;
  }

  /** Somebody may keep it. */
  mayBeHeld(step: number, from: number, to: number): boolean {
    const names = [...this.aliases.values()].some((alias) => alias.possible(from, to).includes(step));
    return names || this.pin(step).possible(from, to).includes(true);
  }

  /** A registration is about to begin: retention may delete what it pushes out, now or at any later one. */
  threaten(now: number): void {
    const servable = [...this.steps]
      .filter(([, register]) => register.possible(now, now).some(({ kind }) => kind === 'weights'))
      .sort(([a], [b]) => b - a);
    for (const [step, register] of servable.slice(KEEP)) {
      if (this.isHeld(step, now) || register.open.some(({ value }) => value === DELETED)) continue;
      register.begin(DELETED, now);
    }
  }

  /** By hand: the bare name may go back from here. */
  beginDeletion(step: number, now: number): Change<Standing> {
    this.#deletedAt.set(step, now);
    if (step >= this.#floor.step) this.#floor = { step: 0 };
    return this.step(step).begin(DELETED, now);
  }

  /** Where the bare name has been: an answer that is asked for from now on goes no lower. */
  get floor(): Floor {
    return this.#floor;
  }

  /** An answer to the bare name, asked for at `sentAt` when the floor was `before`. Returns whether the name went back. */
  isBack(step: number, sentAt: number, before: Floor): boolean {
    const wasDeleted = (this.#deletedAt.get(step) ?? Number.NEGATIVE_INFINITY) > sentAt - REMEMBERED_MS;
    if (step > this.#floor.step && !wasDeleted) this.#floor = { step };
    // A deletion meanwhile lets it go back.
    return step < before.step && this.#floor.step >= before.step;
  }

  /** Steps that could be asked for all the time, ascending. */
  certain(from: number, to: number): number[] {
    return [...this.steps]
      .filter(([, register]) => register.certain(from, to)?.kind === 'weights')
      .map(([step]) => step)
      .sort((a, b) => a - b);
  }
}

export class Books {
  readonly models = new Map<string, ModelBooks>();

  of(model: string): ModelBooks {
    return entry(this.models, model, () => new ModelBooks(model));
  }
}

function entry<K, V>(map: Map<K, V>, key: K, create: () => V): V {
  const known = map.get(key);
  if (known !== undefined) return known;
  const fresh = create();
  map.set(key, fresh);
  return fresh;
}
