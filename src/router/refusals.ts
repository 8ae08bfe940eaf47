// Ends waits that lead nowhere: too long, no engine left, nothing but failures. Each ticket is told why and what to do. It gives nobody anything.
import type { AdapterId, BackendName, TicketId } from '../domain.ts';
import type { ErrorCode } from '../errors.ts';
import type { Effect } from './effects.ts';
import type { Target } from './events.ts';
import { type Failure, failureOf } from './failures.ts';
import { earlier } from './order.ts';
import { Pace } from './pace.ts';
import { keptEverywhere } from './quarantine.ts';
import type { BackendState, Line, RouterState, Ticket } from './state.ts';
import { couldServe, forget, hasRoute, isLost, type Routed } from './state.ts';

interface Parts {
  readonly state: RouterState;
  readonly options: { readonly waitMsMax: number };
  readonly emit: (effect: Effect) => void;
  /** Takes it out of where it waits. */
  readonly take: (ticket: Ticket) => void;
  readonly closeIfEmpty: (line: Line, now: number) => void;
  /** Those who waited and wait no more, since the start. */
  readonly gone: () => number;
}

interface Reason {
  readonly code: ErrorCode;
  readonly message: string;
  readonly retryAfterS?: number;
}

export class Refusals {
  readonly #parts: Parts;
  readonly #state: RouterState;
  readonly #pace = new Pace();

  constructor(parts: Parts) {
    this.#parts = parts;
    this.#state = parts.state;
  }

  reject(ticket: Ticket, { code, message, retryAfterS }: Reason): void {
    forget(this.#state, ticket);
    this.#parts.emit({ type: 'reject', ticket: ticket.id, code, message, retryAfterS });
  }

  /** Some backend that is up could serve it, cordoned or not: it may wait. */
  isServable(target: Target, by: Routed = {}): boolean {
    for (const backend of this.#state.backends.values())
      if (couldServe(backend, target) && hasRoute(backend, by)) return true;
    return false;
  }

  /** No backend that is up could ever serve it, or none of those has the route. */
  unable(ticket: TicketId, target: Target, route: string | undefined): void {
    const { code, message } = this.isServable(target) ? this.#routeless(target, { route }) : this.#unfit(target);
    this.#parts.emit({ type: 'reject', ticket, code, message });
  }

  #routeless(target: Target, by: Routed): Reason {
    const all = [...this.#state.backends.values()];
    const names = (backends: readonly BackendState[]) => backends.map(({ name }) => name).join(', ');
    const able = names(all.filter((backend) => couldServe(backend, target)));
    const having = all.filter((backend) => hasRoute(backend, by));
    const refused = `${by.route} cannot be asked of the engines that serve this model (${able})`;
    const down = having.filter((backend) => !backend.up && mightServe(backend, target));
    if (down.length > 0)
      return {
        code: 'backend_unavailable',
        message: `${refused}; ${names(down)} would take it, and is down; GET /ready says why`,
      };
    const elsewhere = having.length === 0 ? 'no engine has it' : `${names(having)} would, but cannot serve this model`;
    return {
      code: 'route_not_served',
      message: `${refused}; ${elsewhere}. docs/engines.md lists the routes of each kind`,
    };
  }

  #unfit(target: Target): Reason {
    const up = [...this.#state.backends.values()].filter((backend) => backend.up && backend.bases.has(target.base));
    if (target.kind === 'base' || up.length === 0)
      return {
        code: 'backend_unavailable',
        message: `no engine that serves the base "${target.base}" is up; GET /ready says which are down and why`,
      };
    const { adapter, rank, model, hosted } = target;
    if (hosted)
      return {
        code: 'backend_unavailable',
        message: `${adapter}: no service that is up has ${model} under its \`models\` in the config, and no files of it are here`,
      };
    const limits = up.map(({ name, rankMax, models }) =>
      models === undefined ? `${name} takes ${rankMax}` : `${name} does not have ${model} under its \`models\``,
    );
    const isRank = up.every(({ models }) => models === undefined);
    const message = isRank
      ? `${adapter} has rank ${rank}, over the limit of every engine that is up (${limits.join(', ')})`
      : `no engine that is up takes ${adapter}, of rank ${rank} (${limits.join(', ')})`;
    return { code: 'checkpoint_not_servable', message };
  }

  /** Too many wait before it, or it has waited for too long: it may come again when those who wait now have had their turn. */
  noCapacity(ticket: Ticket, message: string, now: number): void {
    const retryAfterS = this.#pace.retryAfterS({ waiting: this.#state.waiting, gone: this.#parts.gone(), now });
    this.reject(ticket, { code: 'no_capacity', message, retryAfterS });
  }

  failed(ticket: Ticket, { fault, message }: Failure): void {
    this.reject(ticket, { code: fault === 'adapter' ? 'checkpoint_not_servable' : 'backend_error', message });
  }

  #rejectWaiting(ticket: Ticket, reason: Reason): void {
    this.#parts.take(ticket);
    this.reject(ticket, reason);
  }

  /** Ends the wait of those who have waited the longest that anybody may, and forgets failures that have served their time. */
  expire(now: number): void {
    const { waitMsMax } = this.#parts.options;
    const tooLong = (ticket: Ticket) => now >= ticket.arrivedAt + waitMsMax;
    const waited = `in ${Math.round(waitMsMax / 1000)} s; all are busy`;
    for (const line of [...this.#state.lines.values()]) {
      const message = `no slot came free for ${line.adapter} ${waited}`;
      this.#expire(line.tickets, { tooLong, message, now });
      this.#parts.closeIfEmpty(line, now);
    }
    for (const [base, waiting] of this.#state.baseLines) {
      const message = `no room for one more request of "${base}" ${waited}`;
      this.#expire(waiting, { tooLong, message, now });
    }
    for (const failures of this.#state.failures.values()) {
      for (const [adapter, failure] of failures) if (failure.until <= now) failures.delete(adapter);
    }
  }

  #expire(
    tickets: Iterable<Ticket>,
    { tooLong, message, now }: { tooLong: (ticket: Ticket) => boolean; message: string; now: number },
  ): void {
    for (const ticket of tickets) {
      if (!tooLong(ticket)) continue;
      this.#parts.take(ticket);
      this.noCapacity(ticket, message, now);
    }
  }

  /** When the next wait ends by `expire`, or a failed load may be tried again, ms. Looks at all who wait. */
  nextAt(now: number): number | undefined {
    let next: number | undefined;
    const consider = (tickets: Iterable<Ticket>) => {
      for (const { arrivedAt } of tickets) next = earlier(next, arrivedAt + this.#parts.options.waitMsMax);
    };
    for (const line of this.#state.lines.values()) consider(line.tickets);
    for (const waiting of this.#state.baseLines.values()) consider(waiting);
    for (const adapter of this.#state.lines.keys()) next = earlier(next, this.retryAt(adapter, now));
    return next;
  }

  /** When a backend that failed to load it may be asked again, ms. */
  retryAt(adapter: AdapterId, now: number): number | undefined {
    let next: number | undefined;
    for (const failures of this.#state.failures.values()) {
      const until = failures.get(adapter)?.until;
      if (until !== undefined && until > now) next = earlier(next, until);
    }
    return next;
  }

  /** Rejects those of a line for whom every backend that could load its adapter, and has their route, failed to; others wait on while one is left. */
  giveUpIfHopeless(adapter: AdapterId, now: number): void {
    const line = this.#state.lines.get(adapter);
    if (line === undefined) return;
    if (this.hopeless(line.target, now) !== undefined) line.publish = undefined;
    const failureFor = oncePerRoute((by) => this.hopeless(line.target, now, by));
    for (const ticket of line.tickets) {
      const failure = failureFor(ticket);
      if (failure === undefined) continue;
      this.#parts.take(ticket);
      this.failed(ticket, failure);
    }
    this.#parts.closeIfEmpty(line, now);
  }

  /** Why no backend would load it now: what the first one, by name, said when it failed to, and all did; undefined: one holds it, or may yet. */
  hopeless(target: Target, now: number, by: Routed = {}): Failure | undefined {
    if (target.kind === 'base') return undefined;
    const { adapter } = target;
    const kept = keptEverywhere(this.#state, adapter);
    if (kept !== undefined) return kept;
    let first: { readonly name: BackendName; readonly failure: Failure } | undefined;
    for (const backend of this.#state.backends.values()) {
      if (backend.cordoned || !couldServe(backend, target) || !hasRoute(backend, by)) continue;
      const { name, held } = backend;
      const one = held.get(adapter);
      const failure = one !== undefined && !isLost(one) ? undefined : failureOf(this.#state, name, adapter, now);
      if (failure === undefined) return undefined;
      if (first === undefined || name < first.name) first = { name, failure };
    }
    return first?.failure;
  }

  /** Nobody is left who serves their base, or has their route. A publication alone goes on waiting for an engine. */
  stranded(now: number): void {
    for (const line of [...this.#state.lines.values()]) {
      this.#strand(line.target, line.tickets);
      if (this.isServable(line.target)) this.giveUpIfHopeless(line.adapter, now);
      else this.#parts.closeIfEmpty(line, now);
    }
    for (const [base, waiting] of this.#state.baseLines) this.#strand({ kind: 'base', base }, waiting);
  }

  #strand(target: Target, tickets: Iterable<Ticket>): void {
    const gone: Reason = {
      code: 'backend_unavailable',
      message: `the last engine that serves the base "${target.base}" went down; GET /ready says why`,
    };
    const isServed = this.isServable(target);
    const reasonFor = oncePerRoute((by) => {
      if (this.isServable(target, by)) return undefined;
      return isServed ? this.#routeless(target, by) : gone;
    });
    for (const ticket of tickets) {
      const reason = reasonFor(ticket);
      if (reason !== undefined) this.#rejectWaiting(ticket, reason);
    }
  }
}

/** It is down, and served the target when it was up, or was never seen. */
const mightServe = (backend: BackendState, target: Target): boolean =>
  backend.bases.size === 0 || couldServe({ ...backend, up: true }, target);

/** Judged once for each route, however many ask by it. */
function oncePerRoute<T>(judge: (by: Routed) => T): (ticket: Ticket) => T {
  const known = new Map<string | undefined, T>();
  return ({ route }) => {
    if (!known.has(route)) known.set(route, judge({ route }));
    return known.get(route) as T;
  };
}
