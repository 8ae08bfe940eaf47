// The requests of one line: by class, and within a class in the order of their tenants' turns. Says who is next, and when one falls due.
// Knows nothing of slots, room or other lines.
import { CLASSES, type RequestClass } from '../domain.ts';
import { FairShares } from './fair-shares.ts';
import { Sorted } from './sorted.ts';
import type { Ticket } from './state.ts';

/** By class, ms: who has waited so long comes before all who have not. */
export type DueAfterMs = Readonly<Record<RequestClass, number>>;

interface Queue {
  readonly tickets: Sorted<Ticket>;
  readonly shares: FairShares;
}

const byTurn = (a: Ticket, b: Ticket): number => (a.turn?.number ?? 0) - (b.turn?.number ?? 0) || a.order - b.order;

const emptyQueue = (): Queue => ({ tickets: new Sorted(byTurn), shares: new FairShares() });

export class Waiting {
  readonly #queues = new Map<RequestClass, Queue>();
  #length = 0;

  get length(): number {
    return this.#length;
  }

  /** `since`: it is as old as that at least, ms. */
  add(ticket: Ticket, since: number): void {
    const queue = this.#queues.get(ticket.class) ?? emptyQueue();
    this.#queues.set(ticket.class, queue);
    const { arrivedAt, attempts, tenant } = ticket;
    ticket.turn = attempts > 0 ? queue.shares.again(arrivedAt) : queue.shares.take(tenant, arrivedAt);
    ticket.since = Math.min(since, ticket.turn.since);
    queue.tickets.insert(ticket);
    this.#length++;
  }

  /** `served`: it runs; else it left. */
  remove(ticket: Ticket, served: boolean): boolean {
    const queue = this.#queues.get(ticket.class);
    if (queue === undefined || !queue.tickets.remove(ticket)) return false;
    if (served && ticket.turn !== undefined) queue.shares.served(ticket.turn);
    else queue.shares.left();
    this.#length--;
    return true;
  }

  first(kind: RequestClass): Ticket | undefined {
    return this.#queues.get(kind)?.tickets.first;
  }

  /** The most urgent class that waits. */
  get class(): RequestClass | undefined {
    return CLASSES.find((kind) => this.first(kind) !== undefined);
  }

  /** Who falls due first, and when: its class's bound after it came, or `atLeastMs` if that is longer. */
  firstDue(after: DueAfterMs, atLeastMs = 0): { readonly ticket: Ticket; readonly dueAt: number } | undefined {
    let due: { ticket: Ticket; dueAt: number } | undefined;
    for (const [kind, { tickets }] of this.#queues) {
      const ticket = tickets.first;
      if (ticket === undefined) continue;
      const dueAt = ticket.since + Math.max(after[kind], atLeastMs);
      const isSooner =
        due === undefined || dueAt < due.dueAt || (dueAt === due.dueAt && ticket.order < due.ticket.order);
      if (isSooner) due = { ticket, dueAt };
    }
    return due;
  }

  /** All, the most urgent class first. Who is at hand may be removed meanwhile. */
  *[Symbol.iterator](): Generator<Ticket> {
    for (const kind of CLASSES) yield* this.#queues.get(kind)?.tickets ?? [];
  }
}
