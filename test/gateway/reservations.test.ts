// Reservations of slots through a whole gateway: kept against other traffic, under names that move, for a time, and over a restart.
import { describe, expect, test } from 'vitest';
import { as } from '../../src/domain.ts';
import { writeCheckpoint } from '../../src/sim/trainer.ts';
import { type House, setUp, until } from './harness.ts';

interface Reserved {
  readonly id: string;
  readonly slots: number;
  readonly kept: number;
  readonly about: string | null;
  readonly until: string | null;
  readonly error?: { readonly code: string; readonly message: string; readonly param?: string };
}

const admin = async (house: House, method: string, path = '', body?: unknown) => {
  const response = await fetch(`${house.running.adminUrl}/admin/v1/reservations${path}`, {
    method,
    ...(body !== undefined && { body: JSON.stringify(body) }),
  });
  return {
    status: response.status,
    body: (await response.json()) as Reserved & { readonly data: readonly Reserved[] },
  };
};
const reserve = (house: House, what: object, more: object = {}) =>
  admin(house, 'POST', '', { for: what, owner: 'ann', ...more });
const list = async (house: House) => (await admin(house, 'GET')).body.data;

const ready = (house: House) =>
  [...house.running.gateway.router.state.backends.values()].flatMap(({ held }) =>
    [...held.values()].filter(({ residency }) => residency.state === 'ready').map(({ adapter }) => `${adapter}`),
  );
const isReady = (house: House, adapter: string) => until(() => ready(house).includes(adapter));

async function withSteps(steps: readonly number[], options: Parameters<typeof setUp>[0] = {}): Promise<House> {
  const house = await setUp({ latest: 'published', ...options });
  for (const step of steps) await house.write(step);
  return house;
}

describe('a checkpoint', () => {
  test('is loaded ahead, and stays while other steps fight for the other slot', async () => {
    const house = await withSteps([1, 2, 3, 4, 5]);
    const made = await reserve(house, { checkpoint: 'my-model@0005' });
    expect(made).toMatchObject({ status: 201, body: { for: { checkpoint: 'my-model@5' }, slots: 1, kept: 1 } });
    await isReady(house, 'my-model@5');
    for (let round = 0; round < 3; round++) {
      const answers = await Promise.all([1, 2, 3, 4].map((step) => house.ask(`my-model@${step}`)));
      expect(answers.map(({ status }) => status)).toEqual([200, 200, 200, 200]);
      expect(ready(house)).toContain('my-model@5');
    }
    expect((await house.ask('my-model@5')).headers.get('x-stepgate-why')).toBe('resident');
    const unloads = house.happenings.flatMap((one) => (one.type === 'unload' ? [one.adapter] : []));
    expect(unloads).not.toContain('my-model@5');
  });

  test('under a name that moves, it is the step that the name leads to', async () => {
    const house = await withSteps([1, 2]);
    const { registry } = house.running.gateway;
    const move = (to: number) => registry.moveAlias({ model: 'my-model', alias: 'champion', to, who: 'ann' });
    expect((await reserve(house, { checkpoint: 'my-model@champion' })).body.error).toMatchObject({ param: 'for' });
    move(1);
    await reserve(house, { checkpoint: 'my-model@champion' });
    await isReady(house, 'my-model@1');
    move(2);
    await isReady(house, 'my-model@2');
  });

  test('is spared by retention, and its reservation goes when somebody deletes it', async () => {
    const house = await withSteps([1]);
    await reserve(house, { checkpoint: 'my-model@1' });
    await isReady(house, 'my-model@1');
    const { adapters, registry } = house.running.gateway;
    expect(adapters.isInUse(as('my-model@1'))).toBe(true);
    registry.remove('my-model@1');
    await until(() => ready(house).length === 0);
    expect(await list(house)).toEqual([]);
    expect(house.happenings).toContainEqual(
      expect.objectContaining({ type: 'released', what: 'my-model@1', why: 'deleted' }),
    );
  });

  test('written again, it is the new weights', async () => {
    const house = await withSteps([1]);
    await reserve(house, { checkpoint: 'my-model@1' });
    await isReady(house, 'my-model@1');
    await writeCheckpoint({ dir: house.runs, step: 1, seed: 99 });
    await until(() => ready(house).some((adapter) => adapter.startsWith('my-model@1-')) && ready(house).length === 1);
    expect(await list(house)).toMatchObject([{ kept: 1, about: null }]);
  });

  test('is loaded again when its engine came back, and reserved still when the gateway did', async () => {
    const house = await withSteps([1, 2]);
    await reserve(house, { checkpoint: 'my-model@2' }, { ttlMs: 3_600_000 });
    await isReady(house, 'my-model@2');
    const [before] = await list(house);
    const [sim] = house.sims;
    await sim?.restart();
    await until(() => ready(house).length === 0);
    await isReady(house, 'my-model@2');
    const again = await house.restart();
    await isReady(again, 'my-model@2');
    await again.ask('my-model@1');
    expect(await list(again)).toEqual([before]);
  });
});

test('`latest`: the next step loads beside the newest while every other slot is busy, and bare names never wait', async () => {
  const house = await setUp({ engines: [{ maxLoras: 3 }] });
  for (const step of [1, 2, 3]) await house.write(step);
  const { catalog } = house.running.gateway.registry;
  const leads = (step: number) => until(() => catalog.latest('my-model')?.step === step);
  await leads(3);
  expect((await reserve(house, { latest: 'my-model' })).body).toMatchObject({ slots: 2, kept: 2 });
  let open = true;
  const busy = [1, 2].map(async (step) => {
    while (open) expect((await house.ask(`my-model@${step}`)).status).toBe(200);
  });
  for (const step of [4, 5, 6]) {
    await house.write(step);
    await leads(step);
    expect((await house.ask('my-model')).headers.get('x-stepgate-why')).toMatch(/publish|resident/);
    await until(() => !ready(house).includes(`my-model@${step - 1}`));
  }
  open = false;
  await Promise.all(busy);
});

test('a class: its request finds a slot though a sweep fills all others', async () => {
  const house = await withSteps([1, 2, 3, 4]);
  await reserve(house, { class: 'interactive' });
  const classed = (step: number, kind: string) =>
    house.post(
      '/v1/chat/completions',
      { model: `my-model@${step}`, messages: [{ role: 'user', content: 'hi' }] },
      { 'x-stepgate-class': kind },
    );
  const sweep = [1, 2, 3].map((step) => classed(step, 'eval'));
  const person = await classed(4, 'interactive');
  expect([person.status, person.headers.get('x-stepgate-why')]).toEqual([200, 'room']);
  await person.text();
  for (const one of sweep) expect((await one).status).toBe(200);
});

describe('what it says', () => {
  test('too much is refused with the numbers; less is shown as short while an engine is down', async () => {
    const house = await withSteps([1], { engines: [{}, {}] });
    const refused = await reserve(house, { model: 'my-model' }, { slots: 4 });
    expect(refused).toMatchObject({ status: 409, body: { error: { code: 'conflict' } } });
    expect(refused.body.error?.message).toMatch(/only 3 can be kept.*gpu-0 has 2, gpu-1 has 2/);
    expect((await reserve(house, { model: 'my-model' }, { slots: 3 })).body).toMatchObject({ kept: 3, about: null });
    await house.sims[1]?.close();
    await until(async () => (await list(house))[0]?.kept === 1);
    expect(await list(house)).toMatchObject([{ slots: 3, about: 'gpu-1 is down' }]);
  });

  test('the same owner asks again for the same: one reservation, with the new number and end', async () => {
    const house = await withSteps([1], { engines: [{ maxLoras: 4 }] });
    const first = await reserve(house, { model: 'my-model' }, { slots: 2 });
    const second = await reserve(house, { model: 'my-model' }, { slots: 3, ttlMs: 60_000 });
    expect(second.body).toMatchObject({ id: first.body.id, slots: 3, kept: 3 });
    expect(await list(house)).toHaveLength(1);
    expect((await reserve(house, { model: 'my-model' }, { owner: 'bob' })).status).toBe(409);
    const removed = await admin(house, 'DELETE', `/${first.body.id}`);
    expect([removed.status, (await admin(house, 'DELETE', `/${first.body.id}`)).status]).toEqual([200, 404]);
    expect((await reserve(house, { model: 'my-model' }, { owner: 'bob' })).status).toBe(201);
  });

  test('it ends when its time is over', async () => {
    const house = await withSteps([1]);
    await reserve(house, { class: 'eval' }, { ttlMs: 50 });
    await until(() => house.happenings.some((one) => one.type === 'released' && one.why === 'expired'));
    expect([house.running.gateway.router.state.reservations.size, await list(house)]).toEqual([0, []]);
  });

  test.each([
    [{ for: { checkpoint: 'my-model@9' }, owner: 'a' }, 404, 'my-model'],
    [{ for: { checkpoint: 'sim-base' }, owner: 'a' }, 404, 'does not exist'],
    [{ for: { model: 'nothing' }, owner: 'a' }, 404, 'stepgate ls'],
    [{ for: { class: 'batch' }, owner: 'a' }, 400, 'interactive|rollout|eval'],
    [{ for: { model: 'my-model', class: 'eval' }, owner: 'a' }, 400, 'one of'],
    [{ for: { model: 'my-model' }, owner: ' ' }, 400, 'owner'],
    [{ for: { model: 'my-model' }, owner: 'a', slots: 0 }, 400, 'slots'],
  ])('%j is refused', async (body, status, words) => {
    const house = await withSteps([1]);
    const refused = await admin(house, 'POST', '', body);
    expect([refused.status, refused.body.error?.message]).toEqual([status, expect.stringContaining(words)]);
  });

  test('a metric counts the kept slots', async () => {
    const house = await withSteps([1]);
    await reserve(house, { class: 'eval' });
    const text = await house.running.gateway.metrics.text();
    expect(text).toContain('stepgate_reserved_slots{for="class"} 1');
  });
});
