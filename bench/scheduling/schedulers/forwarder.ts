// What every router without a queue of its own shares: a request is sent at once, and the engine does the waiting and the swapping.
// It counts what it sent; a subclass only picks.
import type { AdapterId, BackendName, TicketId } from '../../../src/domain.ts';
import type { Effect } from '../../../src/router/effects.ts';
import type { RouterEvent } from '../../../src/router/events.ts';
import type { Scheduler } from '../types.ts';

export interface Outstanding {
  readonly name: BackendName;
  /** Requests sent there that are not over. */
  requests: number;
  /** The same by adapter; an adapter with none is not in it. In order of the first request. */
  readonly adapters: Map<AdapterId, number>;
}

export abstract class Forwarder implements Scheduler {
  protected readonly backends: Outstanding[] = [];
  readonly #sent = new Map<TicketId, { backend: Outstanding; adapter: AdapterId }>();

  abstract pick(adapter: AdapterId, affinity: number | undefined): Outstanding | undefined;

  step(event: RouterEvent): readonly Effect[] {
    switch (event.type) {
      case 'backendUp':
        this.backends.push({ name: event.backend, requests: 0, adapters: new Map() });
        return [];
      case 'published':
        return [{ type: 'promote', model: event.model, checkpoint: event.checkpoint }];
      case 'arrived':
        return event.target.kind === 'adapter' ? this.#send(event, event.target.adapter) : [];
      case 'ended':
      case 'cancelled':
        this.#over(event.ticket);
        return [];
      default:
        return [];
    }
  }

  #send({ ticket, affinity }: Extract<RouterEvent, { type: 'arrived' }>, adapter: AdapterId): Effect[] {
    const backend = this.pick(adapter, affinity);
    if (backend === undefined) return [{ type: 'reject', ticket, code: 'backend_unavailable', message: 'no backend' }];
    backend.requests++;
    backend.adapters.set(adapter, (backend.adapters.get(adapter) ?? 0) + 1);
    this.#sent.set(ticket, { backend, adapter });
    return [{ type: 'dispatch', ticket, backend: backend.name, why: 'resident' }];
  }

  #over(ticket: TicketId): void {
    const sent = this.#sent.get(ticket);
    if (sent === undefined) return;
    this.#sent.delete(ticket);
    const { backend, adapter } = sent;
    backend.requests--;
    const left = (backend.adapters.get(adapter) ?? 0) - 1;
    if (left > 0) backend.adapters.set(adapter, left);
    else backend.adapters.delete(adapter);
  }
}

/** The first one with the least score. */
export function least<T>(items: Iterable<T>, score: (item: T) => number): T | undefined {
  let best: T | undefined;
  let bestScore = Number.POSITIVE_INFINITY;
  for (const item of items) {
    const its = score(item);
    if (its < bestScore || best === undefined) [best, bestScore] = [item, its];
  }
  return best;
}
