// Turns among tenants who want the same thing: start-time fair queueing (Goyal, Vin, Cheng, SIGCOMM 1996) with a cost of one for each.
// A turn is max(the turn served last, the tenant's own last turn + 1), so that while a tenant waits no other has more than two turns more than it
// (their theorem 1, with a cost of one); with one tenant it is first come, first served. It says whose turn it is and never who may run.
import type { TenantId } from '../domain.ts';

export interface Turn {
  readonly number: number;
  /** When that turn was first taken by anybody, ms: who comes later and takes it is as old as whoever took it first. */
  readonly since: number;
}

/** Tenants that are remembered before those whose last turn is over are forgotten. */
const KNOWN_MAX = 64;

export class FairShares {
  readonly #last = new Map<TenantId, number>();
  /** When each turn was taken first, from `#oldest` on. */
  #openedAt: number[] = [];
  #oldest = 0;
  #served = 0;
  #waiting = 0;

  take(tenant: TenantId, now: number): Turn {
    const number = Math.max(this.#served, (this.#last.get(tenant) ?? -1) + 1);
    const at = number - this.#oldest;
    if (at === this.#openedAt.length) this.#openedAt.push(now);
    if (this.#last.size >= KNOWN_MAX && !this.#last.has(tenant)) this.#forget();
    this.#last.set(tenant, number);
    this.#waiting++;
    return { number, since: this.#openedAt[at] ?? now };
  }

  /** It had its turn, and that came to nothing: it is next. */
  again(since: number): Turn {
    this.#waiting++;
    return { number: this.#served - 1, since };
  }

  /** It had its turn. */
  served({ number }: Turn): void {
    this.#served = Math.max(this.#served, number);
    this.left();
    const over = this.#served - this.#oldest;
    if (over < KNOWN_MAX || over * 2 < this.#openedAt.length) return;
    this.#openedAt = this.#openedAt.slice(over);
    this.#oldest = this.#served;
  }

  /** It does not wait any more. When nobody does, all start anew: nobody is owed anything for what was free. */
  left(): void {
    if (--this.#waiting > 0) return;
    this.#last.clear();
    this.#openedAt = [];
    this.#oldest = this.#served = 0;
  }

  #forget(): void {
    for (const [tenant, last] of this.#last) if (last < this.#served) this.#last.delete(tenant);
  }
}
