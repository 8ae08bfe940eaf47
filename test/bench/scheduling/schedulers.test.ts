// Every contender keeps the laws, the same seed gives the same result, and nobody beats the bound that CACHED is meant to be.
import { expect, test } from 'vitest';
import { LOCAL_DISK, VLLM_8B } from '../../../bench/scheduling/costs.ts';
import { CONTENDERS } from '../../../bench/scheduling/schedulers/all.ts';
import { Simulation } from '../../../bench/scheduling/simulation.ts';
import { CLASSES, type Contender, type Request, type Result, type Workload } from '../../../bench/scheduling/types.ts';
import { seeded, seeds } from '../../random.ts';

/** Two backends of two slots, ten adapters, a model that is published twice, a small sweep. */
function small(seed: number): Workload {
  const random = seeded(seed);
  const common = { promptTokens: 100, outputTokens: 30, tenant: 't', session: undefined };
  const requests: Request[] = [];
  for (let at = 0; at < 120_000; at += 800 * random.next()) {
    requests.push({ at, model: 'chat', step: Math.floor(10 * random.next() ** 2), class: 'interactive', ...common });
    if (random.chance(0.3)) requests.push({ at, model: 'run', step: undefined, class: 'rollout', ...common });
  }
  for (let step = 0; step < 4; step++) {
    for (let prompt = 0; prompt < 20; prompt++)
      requests.push({ at: 60_000, model: 'swept', step, class: 'eval', ...common });
  }
  requests.sort((a, b) => a.at - b.at);
  const publications = [0, 40_000, 80_000].map((at, step) => ({ at, model: 'run', step }));
  return {
    name: 'small',
    backends: 2,
    slots: 2,
    load: LOCAL_DISK,
    costs: VLLM_8B,
    requests,
    publications,
    sweepAt: 60_000,
    sparse: false,
  };
}

const run = (contender: Contender, seed: number): Result =>
  new Simulation({ workload: small(seed), contender, seed }).run();

const named = (name: string): Contender => {
  const contender = CONTENDERS.find((one) => one.name === name);
  if (contender === undefined) throw new Error(`no ${name}`);
  return contender;
};

test.each(CONTENDERS)('$name keeps the laws and refuses nobody', (contender) => {
  for (const seed of seeds(3)) {
    const { violationsByLaw, refused } = run(contender, seed);
    expect(violationsByLaw, `seed ${seed}`).toEqual({});
    expect(refused, `seed ${seed}`).toBe(0);
  }
});

test.each(CONTENDERS)('$name does the same for the same seed', (contender) => {
  const [first, second] = [run(contender, 3), run(contender, 3)];
  expect({ ...second, decisionUs: 0 }).toEqual({ ...first, decisionUs: 0 });
});

test.each(seeds(3))('nobody beats CACHED on time to first token, in any class (seed %i)', (seed) => {
  const bound = run(named('CACHED'), seed);
  for (const contender of CONTENDERS) {
    const result = run(contender, seed);
    for (const key of ['ttftMsP50', 'ttftMsP99'] as const) {
      for (const kind of CLASSES) {
        const [least, its] = [bound[key][kind] ?? 0, result[key][kind] ?? 0];
        expect(its, `${contender.name}, ${kind}, ${key}, seed ${seed}`).toBeGreaterThanOrEqual(least);
      }
    }
  }
});

test('a request is refused, dispatched twice, sent astray or forgotten: each breach is counted', () => {
  const careless: Contender = {
    name: 'careless',
    source: 'this test',
    residency: 'api',
    create: () => ({
      step: (event) => {
        if (event.type !== 'arrived' || event.ticket % 2 === 1) return [];
        const dispatch = { type: 'dispatch', ticket: event.ticket, backend: 'gpu-0', why: 'resident' } as never;
        return [dispatch, dispatch];
      },
    }),
  };
  const { violationsByLaw } = run(careless, 1);
  expect(Object.keys(violationsByLaw).sort()).toEqual(
    expect.arrayContaining([
      'a request goes to a backend that holds its adapter',
      'every request ends',
      'only a waiting request is dispatched',
    ]),
  );
});

test('vLLM alone starves an adapter past the bound where the router does not', () => {
  const common = {
    promptTokens: 10,
    outputTokens: 100,
    tenant: 't',
    session: undefined,
    class: 'interactive' as const,
  };
  const requests: Request[] = [];
  for (let at = 0; at < 180_000; at += 200) requests.push({ at, model: 'loop', step: (at / 200) % 2, ...common });
  requests.push({ at: 5000, model: 'third', step: 0, ...common });
  requests.sort((a, b) => a.at - b.at);
  const workload: Workload = {
    name: 'starvation',
    backends: 1,
    slots: 2,
    load: LOCAL_DISK,
    costs: VLLM_8B,
    requests,
    publications: [],
    sweepAt: undefined,
    sparse: false,
  };
  const alone = new Simulation({ workload, contender: named('vllm-alone'), seed: 1 }).run();
  const routed = new Simulation({ workload, contender: named('stepgate'), seed: 1 }).run();
  expect(alone.violations).toBe(1);
  expect(alone.waitMsMax).toBeGreaterThan(170_000);
  expect(routed.violations).toBe(0);
  expect(routed.waitMsMax).toBeLessThan(20_000);
});
