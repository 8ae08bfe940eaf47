// The newest checkpoint of a model: loaded beside the old one before anyone asks for it. `latest` moves once it is warm on as many backends as its
// callers need, so that none of them waits for a load. A line holds its place (lines.ts), so that it gets a slot within the bound of a rollout;
// until then it takes any that comes free first. Nothing here may hold a publication up: what cannot be had now is not waited for.
import type { AdapterId, ModelName } from '../domain.ts';
import type { Effect } from './effects.ts';
import type { AdapterTarget, RouterEvent } from './events.ts';
import { failureOf } from './failures.ts';
import type { Lines } from './lines.ts';
import { earlier } from './order.ts';
import type { Policy } from './policy.ts';
import { isKept } from './quarantine.ts';
import type { Slots } from './slots.ts';
import {
  type BackendState,
  drainsFor,
  enginesOf,
  holdersOf,
  isReady,
  type Publication,
  type RouterState,
  serves,
} from './state.ts';

/** One warm backend for so many requests that run on the old step: a quarter of the batch of an engine. With 16, `latest` moved up to 2 s later, and nobody waited less. */
const REQUESTS_EACH = 64;

interface Parts {
  readonly state: RouterState;
  readonly lines: Lines;
  readonly slots: Slots;
  readonly policy: Policy;
  readonly options: {
    /** `latest` moves at most so long after the first backend is warm, ms. */
    readonly latestWithinMs: number;
  };
  readonly emit: (effect: Effect) => void;
}

export class Publications {
  readonly #parts: Parts;
  readonly #state: RouterState;

  constructor(parts: Parts) {
    this.#parts = parts;
    this.#state = parts.state;
  }

  published({ model, checkpoint, target }: Extract<RouterEvent, { type: 'published' }>, now: number): void {
    const { publications, retired } = this.#state;
    const before = publications.get(model);
    if (before?.publish.checkpoint === checkpoint || isKept(this.#state, target.adapter)) return;
    if (before !== undefined) this.#parts.lines.unpublish(before.target.adapter, now);
    retired.delete(target.adapter);
    const publication = { publish: { model, checkpoint }, target, until: undefined };
    publications.set(model, publication);
    this.#state.isPlanStale = true;
    this.#inherit(model, target.adapter, now);
    if (holdersOf(this.#state, target.adapter).size === 0) this.#parts.lines.publish(target, publication.publish, now);
    this.follow(now);
  }

  /** Its callers will be those of the one before it: until they come, it is worth as much to keep. */
  #inherit(model: ModelName, adapter: AdapterId, now: number): void {
    const { newest, demand } = this.#state;
    const before = newest.get(model);
    if (before !== undefined && before !== adapter) demand.note(adapter, now, demand.of(before, now));
  }

  /** Moves each `latest` whose newest checkpoint is warm enough, and has the others loaded where there is room. */
  follow(now: number): void {
    for (const publication of this.#state.publications.values()) {
      const { target } = publication;
      const held = holdersOf(this.#state, target.adapter).size;
      const isGone = this.#state.retired.has(target.adapter);
      if (isGone || (held === 0 && !this.#isComing(target.adapter))) this.#end(publication);
      else if (this.#isWarm(publication, held, now)) this.#promote(publication);
    }
  }

  /** Who could load it now, or has it. Of a service nobody knows whether it has it: it counts where no engine could. */
  #able(target: AdapterTarget, now: number): readonly BackendState[] {
    const { adapter } = target;
    const able = [...this.#state.backends.values()].filter(
      (backend) =>
        serves(backend, target) &&
        (backend.held.has(adapter) || failureOf(this.#state, backend.name, adapter, now) === undefined),
    );
    return enginesOf(able);
  }

  /** Not so when it was retired, or when no engine could load it. */
  #isComing(adapter: AdapterId): boolean {
    const { lines, loading, retired } = this.#state;
    return !retired.has(adapter) && (lines.get(adapter)?.publish !== undefined || loading.has(adapter));
  }

  #isWarm(publication: Publication, held: number, now: number): boolean {
    if (held > 0) publication.until ??= now + this.#parts.options.latestWithinMs;
    const isDue = publication.until !== undefined && now >= publication.until;
    const { target } = publication;
    const able = this.#able(target, now);
    const ready = able.filter((backend) => isReady(backend.held.get(target.adapter))).length;
    const missing = this.#needed(publication) - ready;
    return missing <= 0 || isDue || (!this.#spread(target, { able, missing, now }) && held > 0);
  }

  /** Backends: as many as the old one's requests need, no more than they keep busy. */
  #needed({ publish, target }: Publication): number {
    const before = this.#state.newest.get(publish.model);
    if (before === undefined || before === target.adapter) return 1;
    let [leases, busy] = [0, 0];
    for (const { held } of this.#state.backends.values()) {
      const its = held.get(before)?.leases ?? 0;
      leases += its;
      if (its > 0) busy++;
    }
    return Math.max(1, Math.min(busy, Math.ceil(leases / REQUESTS_EACH)));
  }

  /** Has it loaded on so many more backends, as far as there is room. Returns whether any load of it is on its way. */
  #spread(
    target: AdapterTarget,
    { able, missing, now }: { able: readonly BackendState[]; missing: number; now: number },
  ): boolean {
    const { policy, slots } = this.#parts;
    const { adapter } = target;
    let coming = (this.#state.loading.get(adapter) ?? 0) + drainsFor(this.#state, adapter).size;
    for (; coming < missing; coming++) {
      const candidates = able.filter((backend) => !backend.held.has(adapter));
      const claim = { target, class: 'rollout', cause: 'publish' } as const;
      const home = policy.home(this.#state, { candidates, claim, now });
      if (home === undefined) break;
      if (home.victim === undefined) slots.load(home.backend, claim, now);
      else slots.drain(home.backend, home.victim, { why: 'evict', heir: adapter, now });
    }
    return coming > 0;
  }

  /** Who asks for the bare name asks for this one from now on: the one before it has lost those callers, and may make room. */
  #promote(publication: Publication): void {
    const { newest, demand } = this.#state;
    const { publish, target } = publication;
    const before = newest.get(publish.model);
    if (before !== undefined && before !== target.adapter) {
      demand.forget(before);
      this.#state.stirred = true;
    }
    newest.set(publish.model, target.adapter);
    this.#parts.emit({ type: 'promote', ...publish });
    this.#end(publication);
  }

  #end({ publish }: Publication): void {
    this.#state.publications.delete(publish.model);
    this.#state.isPlanStale = true;
  }

  /** When time alone moves one of them. */
  nextDeadline(): number | undefined {
    let next: number | undefined;
    for (const { until } of this.#state.publications.values()) next = earlier(next, until);
    return next;
  }
}
