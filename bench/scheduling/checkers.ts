// The laws that every contender is held to while it runs; each breach counts once. It judges and never changes anything.
// A bound on waiting: who has waited its class's bound, and then long enough for any drain, must not see a later arrival started first.
import type { TicketId } from '../../src/domain.ts';
import { CLASSES, type Request, type RequestClass } from './types.ts';

/** The wait after which a slot must be cleared for a request, by class, ms. */
export const WAIT_BOUND_MS: Readonly<Record<RequestClass, number>> = {
  interactive: 2_000,
  rollout: 10_000,
  eval: 60_000,
};
/** For the running requests of the slot that is cleared to end, and the load after it, ms. */
const DRAIN_MS = 60_000;

type Place = 'waiting' | 'dispatched' | 'ended';

export class Checkers {
  readonly #requests: readonly Request[];
  readonly #places = new Map<number, Place>();
  readonly #started = new Set<number>();
  readonly #broken = new Map<string, number>();
  /** Tickets by class in order of arrival, and how far the oldest that still waits has moved. */
  readonly #arrived = CLASSES.map(() => ({ tickets: [] as number[], oldest: 0, blamed: -1 }));

  constructor(requests: readonly Request[]) {
    this.#requests = requests;
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

  arrived(ticket: number): void {
    this.#places.set(ticket, 'waiting');
    this.#arrived[CLASSES.indexOf(this.#class(ticket))]?.tickets.push(ticket);
  }

  /** Whether it may be sent. */
  dispatched(ticket: TicketId): boolean {
    const waits = this.#places.get(ticket) === 'waiting';
    this.law('only a waiting request is dispatched', waits);
    if (waits) this.#places.set(ticket, 'dispatched');
    return waits;
  }

  ended(ticket: TicketId): void {
    this.law('a request ends once', this.#places.get(ticket) !== 'ended');
    this.#places.set(ticket, 'ended');
    this.#started.add(ticket);
  }

  started(ticket: TicketId, now: number): void {
    this.#started.add(ticket);
    const at = this.#requests[ticket]?.at ?? 0;
    const rank = CLASSES.indexOf(this.#class(ticket));
    for (const [index, kind] of CLASSES.entries()) {
      const line = this.#arrived[index];
      const oldest = line === undefined ? undefined : this.#oldest(line);
      if (line === undefined || oldest === undefined || line.blamed === oldest) continue;
      const since = this.#requests[oldest]?.at ?? now;
      if (since >= at || now - since <= WAIT_BOUND_MS[kind] + DRAIN_MS || rank < index) continue;
      line.blamed = oldest;
      this.law('no wait passes its bound while later ones start', false);
    }
  }

  #oldest(line: { tickets: number[]; oldest: number }): number | undefined {
    while (line.oldest < line.tickets.length && this.#started.has(line.tickets[line.oldest] as number)) line.oldest++;
    return line.tickets[line.oldest];
  }

  #class(ticket: number): RequestClass {
    return this.#requests[ticket]?.class ?? 'interactive';
  }

  over(): void {
    for (const place of this.#places.values()) this.law('every request ends', place === 'ended');
  }
}
