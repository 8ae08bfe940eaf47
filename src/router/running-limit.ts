// How many requests one engine runs at once. Beyond that they wait in its own queue, first come first served, where nobody more urgent can pass:
// so they wait in ours. Said by the config, else learned from the engine's gauges. Pure.
import { CLASSES, type RequestClass } from '../domain.ts';

/** Where learning starts: vLLM's default for --max-num-seqs. */
const AT_FIRST = 256;
const LEAST = 8;
const MOST = 8192;
/** So many of the engine's own queue are its buffer and no sign of being full: a share of what runs. */
const BUFFER = 1 / 32;
/** Nearer to the limit than this share of it, what the engine says is about the limit. */
const NEAR = 0.9;

/** The share of the limit that each class leaves free for those more urgent than itself: on the bench's `crowd` interactive p99 is 7 % lower so,
 *  and the sweep 0.1 % longer; with twice as much 14 % and 0.3 %. */
const HEADROOM: Readonly<Record<RequestClass, number>> = { interactive: 0, rollout: 0.03, eval: 0.06 };

export class RunningLimit {
  #max = AT_FIRST;
  #isFixed = false;
  #byClass = allowances(AT_FIRST);

  get max(): number {
    return this.#max;
  }

  /** What the class may fill. */
  of(kind: RequestClass): number {
    return this.#byClass[kind];
  }

  /** Undefined: to be learned, anew. */
  fix(max: number | undefined): void {
    this.#isFixed = max !== undefined;
    this.#set(max ?? AT_FIRST);
  }

  /**
   * The engine's gauges while `inFlight` of ours were there. A queue of its own while we are near the limit: the limit is about what runs, though
   * a burst of long prompts looks alike, so it falls by a quarter at a time. None at the limit: it could do more, so it rises by half; an
   * engine without statistics says that nothing runs. Returns whether it rose.
   */
  learn({ running, waiting }: { readonly running: number; readonly waiting: number }, inFlight: number): boolean {
    const before = this.#max;
    if (this.#isFixed || inFlight < NEAR * before) return false;
    const buffer = Math.max(2, Math.ceil(running * BUFFER));
    if (waiting > buffer) this.#set(Math.max(Math.min(running + buffer, before), Math.floor(before * 0.75)));
    else if (waiting === 0 && running > 0) this.#set(Math.ceil(before * 1.5));
    return this.#max > before;
  }

  #set(max: number): void {
    this.#max = this.#isFixed ? max : Math.min(MOST, Math.max(LEAST, max));
    this.#byClass = allowances(this.#max);
  }
}

const allowances = (max: number): Record<RequestClass, number> => {
  const of = (kind: RequestClass) => Math.max(1, Math.floor(max * (1 - HEADROOM[kind])));
  const [interactive, rollout, evaluation] = CLASSES.map(of) as [number, number, number];
  return { interactive, rollout, eval: evaluation };
};
