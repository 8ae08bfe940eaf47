// The newest checkpoint of a model: loaded before anyone asks for it, then `latest` moves. Who waits for the load is a line like any other (lines.ts).
import type { AdapterId, ModelName } from '../domain.ts';
import type { Effect } from './effects.ts';
import type { RouterEvent } from './events.ts';
import type { Lines } from './lines.ts';
import { isReady, type Publish, type RouterState } from './state.ts';

interface Parts {
  readonly state: RouterState;
  readonly lines: Lines;
  readonly emit: (effect: Effect) => void;
}

export class Publications {
  readonly #state: RouterState;
  readonly #lines: Lines;
  readonly #emit: (effect: Effect) => void;

  constructor({ state, lines, emit }: Parts) {
    this.#state = state;
    this.#lines = lines;
    this.#emit = emit;
  }

  published({ model, checkpoint, target }: Extract<RouterEvent, { type: 'published' }>, now: number): void {
    const { adapter } = target;
    if (this.#state.lines.get(adapter)?.publish?.checkpoint === checkpoint) return;
    this.#supersede(model);
    this.#state.retired.delete(adapter);
    const warm = [...this.#state.backends.values()].some((backend) => backend.up && isReady(backend.held.get(adapter)));
    if (warm) this.promote({ model, checkpoint }, adapter);
    else this.#lines.publish(target, { model, checkpoint }, now);
  }

  /** A newer checkpoint of the model is coming: the older one need not become warm any more. */
  #supersede(model: ModelName): void {
    for (const line of this.#state.lines.values()) {
      if (line.publish?.model === model) this.#lines.unpublish(line.adapter);
    }
  }

  /** Who asks for the bare name asks for this one from now on: the one before it has lost those callers, and may make room. */
  promote(publish: Publish, adapter: AdapterId): void {
    const { newest, demand } = this.#state;
    const before = newest.get(publish.model);
    if (before !== undefined && before !== adapter) demand.forget(before);
    newest.set(publish.model, adapter);
    this.#emit({ type: 'promote', ...publish });
  }
}
