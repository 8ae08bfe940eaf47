// The laws that every contender is held to while it runs; each breach counts once. It judges from outside and never changes anything.
// The bound on waiting is the one that docs/scheduling.md proves, with the times that the engine model really took.
import type { AdapterId, TicketId } from '../../src/domain.ts';
import type { Request, RequestClass, Workload } from './types.ts';

/** The wait after which a slot is owed to a request, by class, ms. */
const DUE_AFTER_MS: Readonly<Record<RequestClass, number>> = { interactive: 2_000, rollout: 10_000, eval: 40_000 };
/** An adapter may serve for so many times what a load takes before another one that is due gets its slot. */
const QUANTUM_LOADS = 4;
/** A request may wait for others that want the same adapter for so many times what a load takes, and so long at most, ms. */
const BATCH = { loads: 32, msMax: 60_000 };

const GRAIN_MS = 1000;

type Place = 'waiting' | 'dispatched' | 'ended';

interface Life {
  readonly adapter: AdapterId;
  place: Place;
  /** When an engine started on it, ms. */
  startedAt: number;
  endedAt: number;
}

interface Counted {
  readonly adapters: number;
  readonly requests: number;
}

export class Checkers {
  readonly #workload: Workload;
  readonly #lives: (Life | undefined)[] = [];
  readonly #broken = new Map<string, number>();

  constructor(workload: Workload) {
    this.#workload = workload;
  }

  get violations(): number {
    let sum = 0;
    for (const count of this.#broken.values()) sum += count;
    return sum;
  }

  byLaw(): Record<string, number> {
    return Object.fromEntries(this.#broken);
  }

  law(name: string, held: boolean): void {
    if (!held) this.#broken.set(name, (this.#broken.get(name) ?? 0) + 1);
  }

  arrived(ticket: number, adapter: AdapterId): void {
    this.#lives[ticket] = {
      adapter,
      place: 'waiting',
      startedAt: Number.POSITIVE_INFINITY,
      endedAt: Number.POSITIVE_INFINITY,
    };
  }

  /** Whether it may be sent. */
  dispatched(ticket: TicketId): boolean {
    const life = this.#lives[ticket];
    const waits = life?.place === 'waiting';
    this.law('only a waiting request is dispatched', waits);
    if (life !== undefined && waits) life.place = 'dispatched';
    return waits;
  }

  started(ticket: TicketId, now: number): void {
    const life = this.#lives[ticket];
    if (life !== undefined) life.startedAt = now;
  }

  ended(ticket: TicketId, now: number): void {
    const life = this.#lives[ticket];
    this.law('a request ends once', life !== undefined && life.place !== 'ended');
    if (life === undefined) return;
    life.place = 'ended';
    life.endedAt = now;
  }

  over(): void {
    for (const life of this.#lives) this.law('every request ends', life?.place === 'ended');
    this.#checkWaits();
  }

  /** T + ceil((A + 1) / S) (Q + R + L) + ceil(2 (N + 1) / n) R: see "The bound on waiting". R: the longest run of what ran while it waited. */
  #checkWaits(): void {
    const { requests, backends, slots, load, costs } = this.#workload;
    const loadMs = load.fetchMs + slots * load.readMs;
    const batchMs = Math.min(BATCH.msMax, BATCH.loads * loadMs);
    const runs = this.#longestRuns();
    const known = new Map<string, { readonly startedAt: number; readonly least: Counted }>();
    for (const [ticket, { at, class: kind, tenant }] of requests.entries()) {
      const dueMs = Math.max(DUE_AFTER_MS[kind], batchMs);
      const startedAt = this.#lives[ticket]?.startedAt ?? Number.POSITIVE_INFINITY;
      if (startedAt - at <= dueMs) continue;
      const runMs = Math.max(0, ...runs.slice(Math.floor(at / GRAIN_MS), Math.ceil(startedAt / GRAIN_MS)));
      const cycleMs = (QUANTUM_LOADS + 1) * loadMs + runMs;
      if (startedAt - at <= dueMs + cycleMs) continue;
      const isKept = (ahead: Counted): boolean => {
        const slotMs = Math.ceil((ahead.adapters + 1) / (backends * slots)) * cycleMs;
        const roomMs = Math.ceil((2 * (ahead.requests + 1)) / costs.runningMax) * runMs;
        return startedAt - at <= dueMs + slotMs + roomMs;
      };
      // A sweep's requests arrive together, and have the same ahead of them: counting for each would take the square of their number.
      const key = `${at} ${kind} ${tenant}`;
      const alike = known.get(key);
      if (alike !== undefined && alike.startedAt <= startedAt && isKept(alike.least)) continue;
      const { ahead, least } = this.#ahead(ticket, at + dueMs);
      if (alike === undefined) known.set(key, { startedAt, least });
      this.law('no wait passes its bound', isKept(ahead));
    }
  }

  /** Of what ran in each grain of time, ms. */
  #longestRuns(): number[] {
    const longest: number[] = [];
    for (const life of this.#lives) {
      if (life === undefined || life.endedAt === Number.POSITIVE_INFINITY) continue;
      const runMs = life.endedAt - life.startedAt;
      for (let grain = Math.floor(life.startedAt / GRAIN_MS); grain * GRAIN_MS < life.endedAt; grain++)
        longest[grain] = Math.max(longest[grain] ?? 0, runMs);
    }
    return Array.from(longest, (ms) => ms ?? 0);
  }

  /**
   * What may come before it: what others who waited beside it asked for and were due before it was; and what fell due later, for each other
   * tenant as much more as its own tenant has before it, and one.
   */
  #ahead(ticket: number, dueAt: number): { ahead: Counted; least: Counted } {
    const own = this.#workload.requests[ticket] as Request;
    const [before, ofOwn] = [new Ahead(), new Ahead()];
    const later = new Map<string, Ahead>();
    const startedAt = this.#lives[ticket]?.startedAt ?? Number.POSITIVE_INFINITY;
    for (const [index, { at, tenant, class: kind }] of this.#workload.requests.entries()) {
      if (at > startedAt) break;
      const life = this.#lives[index];
      if (life === undefined || life.startedAt <= own.at || life.startedAt <= at || index === ticket) continue;
      if (at + DUE_AFTER_MS[kind] <= dueAt) before.add(life.adapter);
      if (at <= own.at && tenant === own.tenant) ofOwn.add(life.adapter);
      if (at + DUE_AFTER_MS[kind] <= dueAt || tenant === own.tenant) continue;
      const others = later.get(tenant) ?? new Ahead();
      others.add(life.adapter);
      later.set(tenant, others);
    }
    let [adapters, requests] = [before.adapters.size, before.requests];
    for (const others of later.values()) {
      adapters += Math.min(others.adapters.size, ofOwn.adapters.size + 1);
      requests += Math.min(others.requests, ofOwn.requests + 1);
    }
    // For another one like it, which has this one ahead and not itself.
    const fewer = 1 + later.size;
    return { ahead: { adapters, requests }, least: { adapters: adapters - fewer, requests: requests - fewer } };
  }
}

class Ahead {
  readonly adapters = new Set<AdapterId>();
  requests = 0;

  add(adapter: AdapterId): void {
    this.adapters.add(adapter);
    this.requests++;
  }
}
