// Whose turn it is among the lines that need a slot: who falls due soonest comes first (earliest deadline first). A class is a bound on waiting, so
// an urgent line passes all that are less so but those that have waited long; ages are fair among tenants (fair-shares.ts). Loads nothing.
import { type BaseName, CLASSES, type RequestClass } from '../domain.ts';
import { FairShares, type Turn } from './fair-shares.ts';
import { Sorted } from './sorted.ts';
import type { Line, RouterState, Ticket } from './state.ts';

/** 0 is the most urgent. */
export const rank = (kind: RequestClass): number => CLASSES.indexOf(kind);

const byDue = (a: Line, b: Line): number => a.dueAt - b.dueAt || a.turn - b.turn || a.order - b.order;

/** The turns that the tenants of one line have taken: class and tenant -> whose, and which. */
interface Turns {
  readonly taken: Map<string, { readonly shares: FairShares; readonly turn: Turn }>;
  first: number;
}

export class LineOrder {
  readonly #lines = new Sorted(byDue);
  readonly #shares = new Map<BaseName, Map<RequestClass, FairShares>>();
  readonly #turns = new Map<Line, Turns>();
  readonly #state: RouterState;

  constructor(state: RouterState) {
    this.#state = state;
  }

  /** The turn of a tenant that begins to wait for a slot in this line; it has one for each line and class. Returns how old that makes it, ms. */
  take(line: Line, { class: kind, tenant }: Ticket, now: number): number {
    const turns = this.#turns.get(line) ?? { taken: new Map(), first: Number.POSITIVE_INFINITY };
    this.#turns.set(line, turns);
    const key = `${kind} ${tenant}`;
    if (turns.taken.has(key)) return now;
    const shares = this.#sharesOf(line.target.base, kind);
    const turn = shares.take(tenant, now);
    turns.taken.set(key, { shares, turn });
    turns.first = Math.min(turns.first, turn.number);
    return turn.since;
  }

  #sharesOf(base: BaseName, kind: RequestClass): FairShares {
    const ofBase = this.#shares.get(base) ?? new Map<RequestClass, FairShares>();
    this.#shares.set(base, ofBase);
    const shares = ofBase.get(kind) ?? new FairShares();
    ofBase.set(kind, shares);
    return shares;
  }

  /** It needs a slot; or what waits in it has changed. */
  add(line: Line): void {
    const dueAt = this.#dueAt(line);
    line.class = line.tickets.class ?? 'rollout';
    const turn = this.#turns.get(line)?.first ?? Number.POSITIVE_INFINITY;
    if (line.dueAt === dueAt && line.turn === turn) return;
    this.#lines.remove(line);
    line.dueAt = dueAt;
    line.turn = turn;
    this.#lines.insert(line);
  }

  /** The more wait for it, the sooner: they share the cost of the load. A publication is owed what its first rollout would be. */
  #dueAt({ tickets, publish, formedAt }: Line): number {
    const { bounds, loadMs } = this.#state;
    const batchMs = Math.min(bounds.batchMsMax, bounds.batchLoads * loadMs) / Math.max(1, tickets.length);
    const dueAt = tickets.firstDue(bounds.dueAfterMs, batchMs)?.dueAt ?? Number.POSITIVE_INFINITY;
    return publish === undefined ? dueAt : Math.min(dueAt, formedAt + bounds.dueAfterMs.rollout);
  }

  /** It needs none any more: it got one (`served`), or nobody waits in it. */
  remove(line: Line, served: boolean): void {
    this.#lines.remove(line);
    line.dueAt = line.turn = Number.POSITIVE_INFINITY;
    for (const { shares, turn } of this.#turns.get(line)?.taken.values() ?? []) {
      if (served) shares.served(turn);
      else shares.left();
    }
    this.#turns.delete(line);
  }

  /** All, the next one first. */
  [Symbol.iterator](): Generator<Line> {
    return this.#lines[Symbol.iterator]();
  }

  *due(now: number): Generator<Line> {
    for (const line of this.#lines) {
      if (line.dueAt > now) return;
      yield line;
    }
  }

  /** When the next one falls due, ms. */
  nextDueAt(now: number): number | undefined {
    return this.#lines.firstWhere(({ dueAt }) => dueAt > now)?.dueAt;
  }
}

export const earlier = (a: number | undefined, b: number | undefined): number | undefined =>
  a === undefined ? b : b === undefined ? a : Math.min(a, b);
