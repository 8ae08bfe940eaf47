// Tells an evaluation from its requests: many unstreamed ones for one step, then for another, then for a third. Pure and bounded; one look-up or
// two for a request. Who calls it leaves out what is no evaluation: bare names, steps that were asked for as the newest, classes that say otherwise.
import type { ModelName } from '../domain.ts';

/** Requests for one step within `BURST_MS` that no person makes by hand. */
const REQUESTS_MIN = 8;
const BURST_MS = 120_000;
/** So many steps, each with such a burst, within `WINDOW_MS`. */
const STEPS_MIN = 3;
const WINDOW_MS = 3_600_000;
/** Remembered: models, and steps of each; beyond, what was seen first is forgotten. */
const MODELS_MAX = 256;
const TRAIL_MAX = 64;

interface Trace {
  requests: number;
  /** Those of them since `since`, in the present burst. */
  burst: number;
  since: number;
  /** When it had its burst. */
  burstAt: number | undefined;
}

/** One model: step -> what was seen of it. */
type Trail = Map<number, Trace>;

export class Notice {
  readonly #trails = new Map<ModelName, Trail>();
  /** The steps of each model that were asked for while they were the newest, last ones last. */
  readonly #followed = new Map<ModelName, Map<number, true>>();

  /** It is the newest and is asked for: those who do follow the training, with this step and with those after it. */
  follow(model: ModelName, step: number): void {
    const steps = this.#followed.get(model) ?? bounded(this.#followed, model, new Map<number, true>(), MODELS_MAX);
    if (!steps.has(step)) bounded(steps, step, true, TRAIL_MAX);
  }

  isFollowed(model: ModelName, step: number): boolean {
    return this.#followed.get(model)?.has(step) === true;
  }

  /** @returns the steps with their requests so far, in the order in which they came, when these make an evaluation */
  note(model: ModelName, step: number, now: number): readonly { step: number; requests: number }[] | undefined {
    const trail = this.#trails.get(model) ?? bounded(this.#trails, model, new Map<number, Trace>(), MODELS_MAX);
    const trace = trail.get(step) ?? bounded(trail, step, fresh(now), TRAIL_MAX);
    if (now - trace.since > BURST_MS) {
      trace.burst = 0;
      trace.since = now;
    }
    trace.requests++;
    trace.burst++;
    if (trace.burst !== REQUESTS_MIN) return undefined;
    trace.burstAt = now;
    const bursts = [...trail].filter(([, { burstAt }]) => burstAt !== undefined && now - burstAt <= WINDOW_MS);
    if (bursts.length < STEPS_MIN) return undefined;
    this.#trails.delete(model);
    return bursts.map(([at, { requests }]) => ({ step: at, requests }));
  }

  /** A person talks to this step: what was seen of it is no evaluation. */
  dismiss(model: ModelName, step: number): void {
    if (this.#trails.size > 0) this.#trails.get(model)?.delete(step);
  }
}

const fresh = (now: number): Trace => ({ requests: 0, burst: 0, since: now, burstAt: undefined });

/** Adds to the map; where it is full, what came first goes. */
function bounded<K, V>(map: Map<K, V>, key: K, value: V, max: number): V {
  const [oldest] = map.size >= max ? map.keys() : [];
  if (oldest !== undefined) map.delete(oldest);
  map.set(key, value);
  return value;
}

/**
 * Where a walk through `order` goes next: known when its last three steps are equally far apart in it, and it has not come to the end.
 * @param walked steps in the order in which they came
 * @param order all steps, ascending
 */
export function nextOf(walked: readonly number[], order: readonly number[]): number | undefined {
  const [a = -1, b = -1, c = -1] = walked.slice(-3).map((step) => order.indexOf(step));
  if (Math.min(a, b, c) < 0 || b - a !== c - b || c === b) return undefined;
  return order[c + (c - b)];
}
