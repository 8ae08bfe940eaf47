// Sweeps as the gateway sees them: announced ones are loaded ahead and counted, others are noticed, and nobody else is taken for one.
import { describe, expect, test } from 'vitest';
import { type House, type SetUp, setUp, until } from './harness.ts';

async function houseWith(steps: number, options: SetUp = {}): Promise<House> {
  const house = await setUp({ latest: 'published', ...options });
  for (let step = 1; step <= steps; step++) await house.write(step * 10);
  return house;
}

const admin = async (house: House, method: string, path = '', body?: unknown) => {
  const answer = await fetch(`${house.running.adminUrl}/admin/v1/sweeps${path}`, {
    method,
    ...(body !== undefined && { headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) }),
  });
  return { status: answer.status, body: (await answer.json()) as Record<string, unknown> & { id: string } };
};

const listed = async (house: House) =>
  (await admin(house, 'GET')).body.data as { id: string; state: string; origin: string }[];

const ask = (house: House, step: number, headers: Record<string, string> = {}, more: object = {}) =>
  house
    .post('/v1/completions', { model: `my-model@${step}`, prompt: 'hi', max_tokens: 2, ...more }, headers)
    .then((answer) => answer.text());

const many = (house: House, step: number, count: number, headers: Record<string, string> = {}, more: object = {}) =>
  Promise.all(Array.from({ length: count }, () => ask(house, step, headers, more)));

const holds = (house: House, step: number) =>
  [...(house.running.gateway.router.state.backends.get('gpu-0' as never)?.held.values() ?? [])].some(
    ({ adapter, residency }) => adapter === `my-model@${step}` && residency.state === 'ready',
  );

describe('an announced sweep', () => {
  test('has its steps loaded ahead, counts its requests, and ends with the last of them', async () => {
    const house = await houseWith(4);
    const { status, body } = await admin(house, 'POST', '', {
      model: 'my-model',
      steps: { from: 10, to: 40 },
      requests: 5,
      owner: 'nightly',
    });
    expect([status, body]).toEqual([
      201,
      expect.objectContaining({ owner: 'nightly', origin: 'announced', state: 'running', expected: 20, done: 0 }),
    ]);
    await until(() => holds(house, 10));
    for (const step of [10, 20, 30]) {
      await many(house, step, 5, { 'x-stepgate-sweep': body.id });
      await until(() => holds(house, step + 10));
    }
    expect((await admin(house, 'GET', `/${body.id}`)).body).toMatchObject({
      state: 'running',
      done: 15,
      stepsDone: 3,
      steps: [{ step: 10, expected: 5, done: 5 }, {}, {}, { step: 40, expected: 5, done: 0 }],
    });
    await many(house, 40, 5, { 'x-stepgate-class': 'eval' });
    expect((await admin(house, 'GET', `/${body.id}`)).body).toMatchObject({ state: 'done', done: 20, etaMs: null });
    expect(house.sims[0]?.stats().loads).toBe(4);
  });

  test('counts who says nothing and asks for its steps, as an evaluation; rollouts of the newest step are not', async () => {
    const house = await houseWith(3);
    const { body } = await admin(house, 'POST', '', { model: 'my-model', steps: [10, 30], requests: [2, 2] });
    await ask(house, 10);
    await ask(house, 10, {}, { stream: true });
    await ask(house, 20);
    await ask(house, 30); // `latest` leads there
    await ask(house, 30, { 'x-stepgate-class': 'rollout' });
    expect((await admin(house, 'GET', `/${body.id}`)).body).toMatchObject({
      done: 1,
      steps: [{ done: 1 }, { done: 0 }],
    });
  });

  test('shows what runs, what waits and what has failed; a refusal that is asked again does not count', async () => {
    const house = await houseWith(2);
    const { body } = await admin(house, 'POST', '', { model: 'my-model', steps: [10], requests: 3 });
    const header = { 'x-stepgate-sweep': body.id };
    for (const status of [400, 503]) {
      house.sims[0]?.fault('inference', { kind: 'status', status });
      await ask(house, 10, header);
    }
    await ask(house, 10, header);
    expect((await admin(house, 'GET', `/${body.id}`)).body).toMatchObject({
      done: 2,
      failed: 1,
      running: 0,
      waiting: 0,
    });
  });

  test('is refused with the steps that are not there', async () => {
    const house = await houseWith(2);
    const post = (more: object) => admin(house, 'POST', '', { model: 'my-model', requests: 1, ...more });
    const said = async (more: object) => {
      const { status, body } = await post(more);
      return [status, (body.error as { message: string }).message];
    };
    expect(await said({ steps: [10, 15, 25] })).toEqual([404, expect.stringContaining('has no step 15, 25')]);
    expect(await said({ steps: { from: 11, to: 19 } })).toEqual([404, expect.stringContaining('from 11 to 19')]);
    expect(await said({ steps: [10], model: 'other' })).toEqual([404, expect.stringContaining('no model other')]);
    expect(await said({ steps: [10], requests: [1, 2] })).toEqual([400, expect.stringContaining('one for each')]);
    expect(await said({ steps: [] })).toEqual([400, expect.any(String)]);
    house.running.gateway.registry.remove('my-model@10');
    expect(await said({ steps: [10] })).toEqual([422, expect.stringContaining('cannot serve step 10')]);
    expect((await admin(house, 'GET', '/nobody')).status).toBe(404);
    expect(await listed(house)).toEqual([]);
  });

  test('ends when it is withdrawn, and when nobody asks any more', async () => {
    const house = await houseWith(2);
    const make = async (more: object) =>
      (await admin(house, 'POST', '', { model: 'my-model', steps: [10], requests: 9, ...more })).body.id;
    const id = await make({});
    expect((await admin(house, 'DELETE', `/${id}`)).body).toMatchObject({ id, state: 'withdrawn' });
    const short = await make({ ttlMs: 1_000 });
    await until(async () => (await admin(house, 'GET', `/${short}`)).body.state === 'expired');
    expect(house.running.gateway.router.state.announced.isEmpty).toBe(true);
  });
});

describe('a sweep that says nothing of itself', () => {
  test('is noticed at its third step, and from then on the next step is loaded before it is asked for', async () => {
    const house = await houseWith(6);
    for (const step of [10, 20]) await many(house, step, 9);
    expect(await listed(house)).toEqual([]);
    await many(house, 30, 9);
    const [sweep] = await listed(house);
    expect(sweep).toMatchObject({ id: expect.stringMatching(/^auto-/), origin: 'noticed', state: 'running' });
    await until(() => holds(house, 40));
    await many(house, 40, 9);
    await until(() => holds(house, 50));
    expect(await listed(house)).toMatchObject([
      { done: 36, steps: [{}, {}, { done: 9 }, { step: 40, done: 9, expected: 9 }] },
    ]);
    expect(house.sims[0]?.stats().loads).toBe(5);
  });

  test.each([
    ['rollouts by the bare name', (house: House) => many(house, 0, 30, {}, { model: 'my-model' })],
    ['rollouts of the newest step', (house: House) => many(house, 40, 30)],
    [
      'rollouts of a trainer that runs a step behind',
      async (house: House) => {
        for (const step of [40, 50, 60, 70, 80]) {
          await many(house, step, 9);
          await house.write(step + 10);
          await many(house, step, 9);
        }
      },
    ],
    [
      'rollouts that say so',
      async (house: House) => {
        for (const step of [10, 20, 30]) await many(house, step, 9, { 'x-stepgate-class': 'rollout' });
      },
    ],
    [
      'people who compare three steps by hand',
      async (house: House) => {
        for (let turn = 0; turn < 7; turn++) for (const step of [10, 20, 30]) await ask(house, step);
      },
    ],
    [
      'people whose answers are streamed',
      async (house: House) => {
        for (const step of [10, 20, 30]) {
          await many(house, step, 7);
          await many(house, step, 9, {}, { stream: true });
          await many(house, step, 7);
        }
      },
    ],
    [
      'two steps alone',
      async (house: House) => {
        for (const step of [10, 20, 10, 20]) await many(house, step, 12);
      },
    ],
  ])('%s are none', async (_, traffic) => {
    const house = await houseWith(4);
    await traffic(house);
    expect(await listed(house)).toEqual([]);
  });
});
