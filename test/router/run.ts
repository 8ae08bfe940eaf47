// A router and its judge, fed one history: every event is judged, every alarm that the router set rings. What was fed is kept, so that a
// history that broke a law can be replayed, shrunk, and told in the words of transcript.ts, to be pasted as a test of its own.
import type { Effect } from '../../src/router/effects.ts';
import type { RouterEvent } from '../../src/router/events.ts';
import { leastLoaded, type Policy } from '../../src/router/policy.ts';
import { Router, type RouterOptions } from '../../src/router/router.ts';
import { BrokenLaw } from './broken-law.ts';
import { Judge } from './laws.ts';
import { tell } from './telling.ts';
import { show } from './transcript.ts';

/** An event at a time, ms. Ticks are not kept: a replay rings them again. */
export interface Fed {
  readonly at: number;
  readonly event: RouterEvent;
}

export interface Answered {
  readonly at: number;
  readonly event: RouterEvent;
  readonly effects: readonly Effect[];
}

interface Watching {
  /** See `Judge`. */
  readonly auditEvery?: number;
  readonly onStep?: (step: Answered) => void;
}

/** In one step; the longest in these worlds asks a few hundred times. */
const ASKED_MAX = 20_000;

export class Run {
  readonly router: Router;
  readonly judge: Judge;
  readonly history: Fed[] = [];
  now = 0;
  wakeAt = Number.POSITIVE_INFINITY;
  #asked = 0;
  readonly #onStep: ((step: Answered) => void) | undefined;

  constructor(options: RouterOptions, { auditEvery, onStep }: Watching = {}) {
    this.router = new Router({ ...options, policy: this.#counting(options.policy ?? leastLoaded) });
    this.judge = new Judge(options, auditEvery);
    this.#onStep = onStep;
  }

  /** A step that asks its policy without end would hang the test: it breaks a law instead. */
  #counting(policy: Policy): Policy {
    const count = () => {
      if (++this.#asked > ASKED_MAX) throw new BrokenLaw('a step ends', `asked its policy ${ASKED_MAX} times`);
    };
    return {
      route: (holders, affinity) => {
        count();
        return policy.route(holders, affinity);
      },
      home: (state, search) => {
        count();
        return policy.home(state, search);
      },
      drain: (state, search) => {
        count();
        return policy.drain(state, search);
      },
    };
  }

  feed(event: RouterEvent): readonly Effect[] {
    this.#asked = 0;
    if (event.type !== 'tick') this.history.push({ at: this.now, event });
    const { state } = this.router;
    this.judge.before(event, { now: this.now, state });
    const effects = this.router.step(event, this.now);
    for (const effect of effects) if (effect.type === 'wakeAt') this.wakeAt = effect.at;
    this.#onStep?.({ at: this.now, event, effects });
    this.judge.after(event, effects, { now: this.now, state });
    return effects;
  }

  /** The alarm rings. */
  tick(): readonly Effect[] {
    this.now = this.wakeAt;
    this.wakeAt = Number.POSITIVE_INFINITY;
    return this.feed({ type: 'tick' });
  }

  pass(until: number): void {
    while (this.wakeAt <= until) this.tick();
    this.now = Math.max(this.now, until);
  }

  over(): void {
    const scene = { now: this.now, state: this.router.state };
    this.judge.auditor.audit(scene);
    this.judge.auditor.over(scene);
  }
}

export interface Replay {
  readonly broken: BrokenLaw | undefined;
  readonly steps: readonly Answered[];
  /** Events fed until the law broke. */
  readonly fed: number;
}

/** Feeds a history to a fresh router and judge, then lets all bounds pass. Anything else that is thrown is a broken law too: the router may not. */
export function replay(history: readonly Fed[], options: RouterOptions): Replay {
  const steps: Answered[] = [];
  const run = new Run(options, { onStep: (step) => steps.push(step) });
  try {
    for (const { at, event } of history) {
      run.pass(at);
      run.feed(event);
    }
    run.pass(run.now + 2 * options.waitMsMax);
    run.over();
    return { broken: undefined, steps, fed: run.history.length };
  } catch (error) {
    return { broken: asBroken(error), steps, fed: run.history.length };
  }
}

export const asBroken = (error: unknown): BrokenLaw => {
  if (error instanceof BrokenLaw) return error;
  const message = error instanceof Error ? error.message : String(error);
  return new BrokenLaw(`the router never throws: ${message}`, (error instanceof Error ? error.stack : '') ?? '');
};

/** How long is spent on making a failure small, ms. */
const SHRINK_MS_MAX = 30_000;

/** The engines as they last came up, and the last so many events: most laws are broken by what has just happened. */
function* endings(history: readonly Fed[]): Generator<readonly Fed[]> {
  for (let length = 32; length < history.length; length *= 2) {
    const before = history.slice(0, -length);
    const ups = new Map(before.flatMap((fed) => (fed.event.type === 'backendUp' ? [[fed.event.backend, fed]] : [])));
    const inOrder = [...ups.values()].sort((a, b) => a.at - b.at);
    yield [...inOrder, ...history.slice(-length)];
  }
}

/** The shortest history found that breaks the same law: its end, then events left out in ever smaller chunks (Zeller's ddmin). */
export function shrink(history: readonly Fed[], law: string, options: RouterOptions): readonly Fed[] {
  const deadline = Date.now() + SHRINK_MS_MAX;
  const breaking = (candidate: readonly Fed[]): readonly Fed[] | undefined => {
    const { broken, fed } = replay(candidate, options);
    return broken?.law === law ? candidate.slice(0, fed) : undefined;
  };
  let best = history;
  for (const ending of endings(history)) {
    const smaller = breaking(ending);
    if (smaller === undefined) continue;
    best = smaller;
    break;
  }
  for (let chunk = best.length >> 1; chunk >= 1; ) {
    let isSmaller = false;
    for (let from = best.length - chunk; from > -chunk && Date.now() < deadline; from -= chunk) {
      const smaller = breaking([...best.slice(0, Math.max(0, from)), ...best.slice(from + chunk)]);
      if (smaller === undefined) continue;
      best = smaller;
      isSmaller = true;
    }
    if (Date.now() >= deadline) break;
    if (chunk > 1) chunk >>= 1;
    else if (!isSmaller) break;
  }
  return best;
}

/** The history as test/router/router.test.ts would have it. */
export function transcribe(history: readonly Fed[], options: RouterOptions): string {
  const lines: string[] = [];
  let now = 0;
  for (const { at, event, effects } of replay(history, options).steps) {
    if (at !== now) lines.push(`@ ${at}`);
    now = at;
    if (event.type !== 'tick') lines.push(`>> ${tell(event)}`);
    for (const effect of effects) if (effect.type !== 'wakeAt') lines.push(show(effect));
  }
  return lines.join('\n');
}

/** What a test says of a broken law: the law, how to see it again, and the shortest history found that breaks it. */
export function report(
  error: unknown,
  { history }: Run,
  { options, seed }: { options: RouterOptions; seed: string },
): Error {
  const { law, message } = asBroken(error);
  const small = shrink(history, law, options);
  const { policy: _, ...told } = options;
  const lines = [`broken law: ${message}`, seed, `shrunk from ${history.length} events to ${small.length}:`];
  return new Error([...lines, transcribe(small, options), `with the options ${JSON.stringify(told)}`].join('\n'), {
    cause: error,
  });
}
