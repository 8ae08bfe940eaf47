// What is asked of the fleet: rollouts that follow the newest step, evaluation sweeps, Zipf popularity with bursts, people, and a mix.
// Each is a function of its seed and size; requests come out in order of arrival.
import type { Random } from '../../test/random.ts';
import { seeded } from '../../test/random.ts';
import { LOCAL_DISK, type LoadCost, loadOf, NETWORK, VLLM_8B } from './costs.ts';
import { arrivals, exponential, tokens, zipf } from './draws.ts';
import type { Publication, Request, RequestClass, Workload } from './types.ts';

/** `quick`: for a run of all in under a minute. */
export type Size = 'quick' | 'full';

type Make = (seed: number, size: Size) => Workload;
type Part = { requests: Request[]; publications?: Publication[] };
interface Fleet {
  readonly backends: number;
  readonly slots: number;
  readonly load?: LoadCost;
}

function request(at: number, model: string, rest: Partial<Request> & { class: RequestClass }): Request {
  return {
    at,
    model,
    step: undefined,
    promptTokens: 256,
    outputTokens: 64,
    tenant: 'default',
    session: undefined,
    ...rest,
  };
}

function workload(
  name: string,
  { backends, slots, load = LOCAL_DISK }: Fleet,
  { requests, publications = [] }: Part,
  rest: Partial<Workload> = {},
): Workload {
  requests.sort((a, b) => a.at - b.at);
  return {
    name,
    backends,
    slots,
    load,
    costs: VLLM_8B,
    requests,
    publications,
    sweepAt: undefined,
    sparse: false,
    ...rest,
  };
}

/** One adapter per request, by popularity; every minute five seconds at `burst` times the rate. */
function popularity(
  random: Random,
  {
    adapters,
    alpha,
    perSecond,
    untilMs,
    burst,
    out,
  }: { adapters: number; alpha: number; perSecond: number; untilMs: number; burst: number; out: number },
): Part {
  const rank = zipf(random, adapters, alpha);
  const factor = (at: number) => (at % 60_000 >= 55_000 ? burst : 1);
  const requests = arrivals(random, { perSecond, untilMs, factor, factorMax: burst }).map((at) => {
    const which = rank();
    return request(at, 'zipf', {
      step: which,
      class: 'interactive',
      tenant: `tenant-${which % 10}`,
      promptTokens: tokens(random, 256),
      outputTokens: tokens(random, out),
    });
  });
  return { requests };
}

/** Conversations: a person stays with one adapter, reads for ten seconds, and sends a longer prompt each time. */
function people(
  random: Random,
  {
    adapters,
    alpha,
    perSecond,
    untilMs,
    turnsMean = 5,
    opening = 200,
    out = 120,
    said = 40,
  }: {
    adapters: number;
    alpha: number;
    perSecond: number;
    untilMs: number;
    turnsMean?: number;
    /** Tokens of the first prompt, of an answer, and of what is said next. */
    opening?: number;
    out?: number;
    said?: number;
  },
): Part {
  const rank = zipf(random, adapters, alpha);
  const requests: Request[] = [];
  arrivals(random, { perSecond: perSecond / turnsMean, untilMs }).forEach((start, index) => {
    const model = `chat-${rank()}`;
    let [at, promptTokens] = [start, tokens(random, opening)];
    for (let turn = 0; turn < turnsMean && at < untilMs; turn++) {
      const outputTokens = tokens(random, out);
      requests.push(
        request(at, model, {
          step: 1,
          class: 'interactive',
          promptTokens,
          outputTokens,
          session: `session-${index}`,
          tenant: `tenant-${index % 20}`,
        }),
      );
      promptTokens += outputTokens + tokens(random, said);
      at += 3000 + exponential(random, 10_000);
    }
  });
  return { requests };
}

/** Groups of eight samples on the bare name; a new step every 120 to 300 s. */
function rollouts(
  random: Random,
  {
    model,
    groupsPerSecond,
    untilMs,
    out = 300,
  }: { model: string; groupsPerSecond: number; untilMs: number; out?: number },
): Required<Part> {
  const publications = [{ at: 0, model, step: 0 }];
  for (let at = 0, step = 1; ; step++) {
    at += 120_000 + random.next() * 180_000;
    if (at >= untilMs) break;
    publications.push({ at, model, step });
  }
  const requests = arrivals(random, { perSecond: groupsPerSecond, untilMs }).flatMap((at) => {
    const promptTokens = tokens(random, 300);
    return Array.from({ length: 8 }, () =>
      request(at, model, {
        class: 'rollout',
        tenant: 'trainer',
        promptTokens,
        outputTokens: tokens(random, out),
        session: `group-${at}`,
      }),
    );
  });
  return { requests, publications };
}

/** The same prompts for each of many steps, all at once, as a harness sends them: step by step. */
function sweep(
  random: Random,
  { at, steps, prompts, model = 'swept' }: { at: number; steps: number; prompts: number; model?: string },
): Part {
  const lengths = Array.from({ length: prompts }, () => tokens(random, 400));
  const requests = Array.from({ length: steps }, (_, step) =>
    lengths.map((promptTokens) =>
      request(at, model, { step, class: 'eval', tenant: 'evaluator', promptTokens, outputTokens: tokens(random, 100) }),
    ),
  ).flat();
  return { requests };
}

/** One needs two or three of four engines, the other a part of one. */
function twoTrainings(name: string, fleet: Fleet, size: Size, seed: number): Workload {
  const random = seeded(seed);
  const untilMs = size === 'quick' ? 480_000 : 600_000;
  const large = rollouts(random, { model: 'large', groupsPerSecond: 5, untilMs });
  const small = rollouts(random, { model: 'small', groupsPerSecond: 0.4, untilMs });
  const requests = [...large.requests, ...small.requests];
  const publications = [...large.publications, ...small.publications];
  return workload(name, fleet, { requests, publications });
}

function mix(name: string, fleet: Fleet, size: Size, seed: number): Workload {
  const random = seeded(seed);
  const untilMs = size === 'quick' ? 330_000 : 900_000;
  const per = fleet.backends / 4;
  const chat = people(random, { adapters: 10, alpha: 1, perSecond: 3 * per, untilMs });
  const trained = rollouts(random, { model: 'trained', groupsPerSecond: 1 * per, untilMs });
  const tail = popularity(random, { adapters: 200, alpha: 0.9, perSecond: 1 * per, untilMs, burst: 3, out: 80 });
  const swept = sweep(random, { at: 60_000, steps: 24, prompts: (size === 'quick' ? 40 : 100) * per });
  const requests = [...chat.requests, ...trained.requests, ...tail.requests, ...swept.requests];
  return workload(name, fleet, { requests, publications: trained.publications }, { sweepAt: 60_000 });
}

/** Two adapters in a loop fill two slots; a third is asked for now and then. Most engines never get to it. */
function third(random: Random): Workload {
  const untilMs = 300_000;
  const loops = [0, 1].flatMap((step) =>
    arrivals(random, { perSecond: 4, untilMs }).map((at) =>
      request(at, 'loop', { step, class: 'rollout', tenant: 'loop', outputTokens: tokens(random, 100) }),
    ),
  );
  const others = arrivals(random, { perSecond: 0.05, untilMs: untilMs / 2 }).map((at) =>
    request(at, 'third', { step: 0, class: 'interactive', tenant: 'third' }),
  );
  return workload('third', { backends: 1, slots: 2 }, { requests: [...loops, ...others] });
}

/** 4,000 evaluations at once of an adapter, of which the engine runs 256, and people who use the same one meanwhile. */
function crowd(random: Random): Workload {
  const evaluations = sweep(random, { at: 0, steps: 1, prompts: 4000, model: 'crowded' }).requests;
  const people = arrivals(random, { perSecond: 2, untilMs: 100_000 }).map((at) =>
    request(at, 'crowded', { step: 0, class: 'interactive', tenant: 'people' }),
  );
  return workload('crowd', { backends: 1, slots: 2 }, { requests: [...evaluations, ...people] }, { sweepAt: 0 });
}

const ROW = { backends: 4, slots: 4 };

/** Those of the quick run. */
const COMMON: Readonly<Record<string, Make>> = {
  sparse: (seed, size) => {
    const random = seeded(seed);
    const untilMs = (size === 'quick' ? 2000 : 10_000) * 1000;
    const part = popularity(random, { adapters: 100, alpha: 0.9, perSecond: 1, untilMs, burst: 1, out: 4 });
    return workload('sparse', { backends: 1, slots: 8 }, part, { sparse: true });
  },
  zipf: (seed, size) => {
    const untilMs = size === 'quick' ? 480_000 : 1_800_000;
    const part = popularity(seeded(seed), { adapters: 200, alpha: 0.9, perSecond: 6, untilMs, burst: 4, out: 80 });
    return workload('zipf', ROW, part);
  },
  interactive: (seed, size) => {
    const untilMs = size === 'quick' ? 480_000 : 1_800_000;
    return workload('interactive', ROW, people(seeded(seed), { adapters: 24, alpha: 1, perSecond: 8, untilMs }));
  },
  sessions: (seed, size) => {
    const untilMs = size === 'quick' ? 240_000 : 600_000;
    const agents = { adapters: 4, alpha: 0.6, turnsMean: 20, opening: 1500, out: 60, said: 250 };
    return workload(
      'sessions',
      ROW,
      people(seeded(seed), { ...agents, perSecond: size === 'quick' ? 20 : 10, untilMs }),
    );
  },
  rollout: (seed, size) => twoTrainings('rollout', { backends: 4, slots: 2 }, size, seed),
  third: (seed) => third(seeded(seed)),
  crowd: (seed) => crowd(seeded(seed)),
  sweep: (seed, size) =>
    workload('sweep', ROW, sweep(seeded(seed), { at: 0, steps: 32, prompts: size === 'quick' ? 150 : 500 }), {
      sweepAt: 0,
    }),
  mix: (seed, size) => mix('mix', ROW, size, seed),
  'mix-network': (seed, size) => mix('mix-network', { ...ROW, load: NETWORK }, size, seed),
};

/** Those that only the whole run has: other sizes, other loads. */
const MORE: Readonly<Record<string, Make>> = {
  'sweep-128': (seed) =>
    workload('sweep-128', { backends: 16, slots: 8 }, sweep(seeded(seed), { at: 0, steps: 128, prompts: 100 }), {
      sweepAt: 0,
    }),
  'sweep-8': (seed) =>
    workload('sweep-8', { backends: 4, slots: 2 }, sweep(seeded(seed), { at: 0, steps: 8, prompts: 1000 }), {
      sweepAt: 0,
    }),
  'zipf-1000': (seed) => {
    const part = popularity(seeded(seed), {
      adapters: 1000,
      alpha: 0.6,
      perSecond: 20,
      untilMs: 600_000,
      burst: 3,
      out: 60,
    });
    return workload('zipf-1000', { backends: 16, slots: 8 }, part);
  },
  'zipf-10000': (seed) => {
    const part = popularity(seeded(seed), {
      adapters: 10_000,
      alpha: 1.2,
      perSecond: 60,
      untilMs: 300_000,
      burst: 3,
      out: 60,
    });
    return workload('zipf-10000', { backends: 64, slots: 8 }, part);
  },
  'rollout-network': (seed, size) =>
    twoTrainings('rollout-network', { backends: 4, slots: 3, load: NETWORK }, size, seed),
  'mix-7ms': (seed, size) => mix('mix-7ms', { ...ROW, load: loadOf(7) }, size, seed),
  'mix-1s': (seed, size) => mix('mix-1s', { ...ROW, load: loadOf(1000) }, size, seed),
  'mix-2slots': (seed, size) => mix('mix-2slots', { backends: 4, slots: 2 }, size, seed),
  'mix-16': (seed) => mix('mix-16', { backends: 16, slots: 4 }, 'quick', seed),
};

export const WORKLOADS: Readonly<Record<string, Make>> = { ...COMMON, ...MORE };

export const namesOf = (size: Size): string[] => Object.keys(size === 'quick' ? COMMON : WORKLOADS);
