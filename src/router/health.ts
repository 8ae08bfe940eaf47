// Health as requests show it: engines whose requests fail one after the other are ejected, which is to say that nothing new is placed there for a
// while; then one request at a time tries them. Whether an engine answers at all is for the probes to say (`up`, `down`). Pure.
// The figures are Envoy's (consecutive 5xx), the real request as the probe is Linkerd's. Never the last one that can serve what it serves.
import type { AdapterId, TicketId } from '../domain.ts';
import type { Effect } from './effects.ts';
import type { Outcome } from './events.ts';
import { openOrShut } from './residency-index.ts';
import { type BackendState, isInService, type RouterState, type Ticket, takesAllOf } from './state.ts';

/** An ejection lasts as long as the first times its number, up to this. */
const TIMES_MAX = 10;
/** An ejection is forgotten for each time that an engine was whole so long, ms. */
const CALM_MS = 60_000;
/** An engine that was too busy to take a request is the second choice so long, ms. */
const BUSY_MS = 1_000;

export type Standing =
  | { readonly kind: 'whole'; readonly since: number }
  | { readonly kind: 'ejected'; readonly until: number }
  /** The next request placed there tries it; while one does, nothing else is placed there. */
  | { readonly kind: 'trial'; readonly ticket: TicketId | undefined };

export interface Health {
  standing: Standing;
  /** Requests that failed there since the last that did not. */
  failures: number;
  /** The adapter that all of those were for, while each was an answer of 500: it may be at fault itself. Undefined: the engine is. */
  doubt: AdapterId | undefined;
  /** Ejections, less one for each while that it was whole since. */
  ejections: number;
  /** Others are preferred until then, ms. */
  busyUntil: number;
}

export const perfectHealth = (): Health => ({
  standing: { kind: 'whole', since: 0 },
  failures: 0,
  doubt: undefined,
  ejections: 0,
  busyUntil: 0,
});

interface Parts {
  readonly state: RouterState;
  readonly emit: (effect: Effect) => void;
  /** How many failures in a row, and the first ejection, ms. */
  readonly options: { readonly ejectAfter: number; readonly ejectedMs: number };
}

export class Ejections {
  readonly #state: RouterState;
  readonly #emit: (effect: Effect) => void;
  readonly #options: Parts['options'];

  constructor({ state, emit, options }: Parts) {
    this.#state = state;
    this.#emit = emit;
    this.#options = options;
  }

  /** On the path of every request. */
  answered({ id }: Ticket, backend: BackendState, now: number): void {
    const { health } = backend;
    health.failures = 0;
    if (health.standing.kind === 'trial' && health.standing.ticket === id)
      this.#restore(backend, 'it answered the request that tried it', now);
  }

  unanswered(ticket: Ticket, backend: BackendState, { outcome, now }: { outcome: Outcome; now: number }): void {
    if (outcome === 'busy' || outcome === 'unavailable')
      this.#state.busyUntil = backend.health.busyUntil = now + BUSY_MS;
    if (outcome === 'busy' || outcome === 'missing')
      this.left(ticket, backend); // it lives
    else this.#failed(ticket, backend, { isDoubtful: outcome === 'erred', now });
  }

  /** A request ended, and nothing can be said of its engine: if it was to try it, the next one does. */
  left(ticket: Ticket, backend: BackendState): void {
    const { standing } = backend.health;
    if (standing.kind !== 'trial' || standing.ticket !== ticket.id) return;
    backend.health.standing = { kind: 'trial', ticket: undefined };
    this.#follow(backend);
  }

  #failed(
    { id, target }: Ticket,
    backend: BackendState,
    { isDoubtful, now }: { isDoubtful: boolean; now: number },
  ): void {
    const { health } = backend;
    if (health.standing.kind === 'trial' && health.standing.ticket === id)
      return this.#eject(backend, 'the request that tried it failed', now);
    if (health.standing.kind !== 'whole') return; // it was placed there before
    const adapter = isDoubtful && target.kind === 'adapter' ? target.adapter : undefined;
    health.doubt = health.failures === 0 || health.doubt === adapter ? adapter : undefined;
    health.failures++;
    if (backend.up) this.#judge(backend, now);
  }

  #judge(backend: BackendState, now: number): void {
    const { failures, doubt, standing } = backend.health;
    if (failures < this.#options.ejectAfter || doubt !== undefined || standing.kind !== 'whole') return;
    if (this.#isReplaceable(backend)) this.#eject(backend, `${failures} requests in a row failed`, now);
  }

  #eject(backend: BackendState, about: string, now: number): void {
    const { health } = backend;
    const calm = health.standing.kind === 'whole' ? Math.floor((now - health.standing.since) / CALM_MS) : 0;
    health.ejections = Math.max(0, health.ejections - calm) + 1;
    health.failures = 0;
    const forMs = this.#options.ejectedMs * Math.min(health.ejections, TIMES_MAX);
    health.standing = { kind: 'ejected', until: now + forMs };
    this.#state.isolated.add(backend);
    this.#follow(backend);
    this.#emit({ type: 'standing', backend: backend.name, standing: 'ejected', about, forMs });
    if (!this.#isReplaceable(backend)) this.review(now);
  }

  #restore(backend: BackendState, about: string, now: number): void {
    backend.health.standing = { kind: 'whole', since: now };
    backend.health.failures = 0;
    this.#state.isolated.delete(backend);
    this.#follow(backend);
    this.#emit({ type: 'standing', backend: backend.name, standing: 'whole', about, forMs: 0 });
  }

  /** Whoever else is up and whole can serve each of its bases, with all that it takes on them. */
  #isReplaceable(backend: BackendState): boolean {
    const others = [...this.#state.backends.values()].filter(
      (other) =>
        other !== backend &&
        isInService(other) &&
        other.health.standing.kind === 'whole' &&
        (other.slots > 0 || backend.slots === 0) &&
        takesAllOf(other, backend),
    );
    return [...backend.bases].every((base) => others.some((other) => other.bases.has(base)));
  }

  #follow(backend: BackendState): void {
    const { standing } = backend.health;
    const takes = standing.kind === 'whole' || (standing.kind === 'trial' && standing.ticket === undefined);
    openOrShut(this.#state, backend, isInService(backend) && takes);
  }

  /** It went down, or was cordoned or not. */
  follow(backend: BackendState, now: number): void {
    this.#follow(backend);
    this.review(now);
  }

  /** `isSame`: the process that was there before, as far as it says. Another one begins anew. */
  up(backend: BackendState, isSame: boolean, now: number): void {
    if (!isSame) {
      const was = backend.health.standing.kind;
      Object.assign(backend.health, perfectHealth(), { standing: { kind: 'whole', since: now } });
      this.#state.isolated.delete(backend);
      if (was !== 'whole')
        this.#emit({ type: 'standing', backend: backend.name, standing: 'whole', about: 'it was restarted', forMs: 0 });
    }
    this.#follow(backend);
    this.#judge(backend, now);
    this.review(now);
  }

  /** Who has become the last that can serve something takes requests again, whatever it did. */
  review(now: number): void {
    if (this.#state.isolated.size === 0) return;
    for (const backend of byName(this.#state.isolated))
      if (backend.up && !this.#isReplaceable(backend)) this.#restore(backend, 'there is no other', now);
  }

  /** Whose time is up is tried. */
  pass(now: number): void {
    for (const backend of byName(this.#state.isolated)) {
      const { standing } = backend.health;
      if (standing.kind !== 'ejected' || standing.until > now) continue;
      backend.health.standing = { kind: 'trial', ticket: undefined };
      this.#follow(backend);
      this.#emit({ type: 'standing', backend: backend.name, standing: 'trial', about: 'its time is up', forMs: 0 });
    }
  }

  nextAt(): number | undefined {
    let next: number | undefined;
    for (const { health } of this.#state.isolated)
      if (health.standing.kind === 'ejected') next = Math.min(next ?? health.standing.until, health.standing.until);
    return next;
  }
}

/** This request tries it. */
export function placed(state: RouterState, backend: BackendState, ticket: TicketId): void {
  if (backend.health.standing.kind !== 'trial') return;
  backend.health.standing = { kind: 'trial', ticket };
  openOrShut(state, backend, false);
}

const byName = (backends: Iterable<BackendState>): BackendState[] =>
  [...backends].sort((a, b) => (a.name < b.name ? -1 : 1));
