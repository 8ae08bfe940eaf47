// Promise: each change of a deployment is a build that stays as it was; a change loses no request, and each answer is wholly by one build.
import { describe, expect, test } from 'vitest';
import { type House, setUp, until, weightsOf } from '../gateway/harness.ts';
import { houseWith, predict } from './house.ts';

interface View {
  readonly build: number;
  readonly target: string;
  readonly generation: Record<string, unknown>;
  readonly template: string | null;
  readonly by: string;
  readonly copyOf: number | null;
}

const builds = async (house: House) =>
  ((await house.admin('GET', '/deployments/support/builds')).body as { data: readonly View[] }).data;

const change = async (house: House, wish: Record<string, unknown>, method = 'PATCH') => {
  const { status, body } = await house.admin(method, '/deployments/support', wish);
  return { status, ...(body as View & { error?: { code: string; message: string } }) };
};

describe('a build', () => {
  test('follows each change: PATCH leaves what is not said, PUT says all, and the same again is no build', async () => {
    const house = await houseWith({ generation: { temperature: 0.2 }, template: 'Q: {prompt}', by: 'ann' });
    await house.write(10);
    expect(await change(house, { target: 'my-model@10' })).toMatchObject({
      build: 2,
      template: 'Q: {prompt}',
      by: 'no key',
    });
    expect(await change(house, { target: 'my-model@10', by: 'eve' })).toMatchObject({ build: 2, by: 'no key' });
    expect(await change(house, { template: null })).toMatchObject({
      build: 3,
      template: null,
      generation: { temperature: 0.2 },
    });
    expect(await change(house, { target: 'my-model@5' }, 'PUT')).toMatchObject({ build: 4, generation: {} });
    expect((await builds(house)).map(({ build, target, by }) => [build, target, by])).toEqual([
      [4, 'my-model@5', 'no key'],
      [3, 'my-model@10', 'no key'],
      [2, 'my-model@10', 'no key'],
      [1, 'my-model@5', 'ann'],
    ]);
  });

  test('that is rolled back to is copied, and counts from then on', async () => {
    const house = await houseWith({ template: 'one {prompt}' });
    await change(house, { template: 'two {prompt}' });
    const back = await house.admin('POST', '/deployments/support/rollback', { build: 1 });
    expect(back).toMatchObject({ status: 200, body: { build: 3, copyOf: 1, template: 'one {prompt}' } });
    await predict(house, 'support');
    expect(house.sims[0]?.seen()?.body).toContain('one Hello');
    for (const [build, status] of [
      [9, 404],
      [0, 400],
      ['1', 400],
    ])
      expect((await house.admin('POST', '/deployments/support/rollback', { build })).status).toBe(status);
    await change(house, { target: 'base' });
    await house.admin('DELETE', '/models/my-model/checkpoints/5');
    expect((await house.admin('POST', '/deployments/support/rollback', { build: 2 })).status).toBe(410);
    expect(await builds(house)).toHaveLength(4);
  });

  test.each([
    [{ generation: { max_tokens: 3 } }, 400, 'Nearest: max_new_tokens'],
    [{ generation: { temperature: 'hot' } }, 400, 'must be a number'],
    [{ generation: 'hot' }, 400, 'must be an object'],
    [{ generation: { stop: 'x'.repeat(10_001) } }, 400, 'too long'],
    [{ template: 'none' }, 400, 'no input'],
    [{ template: '{temperature}' }, 400, 'name of a generation parameter'],
    [{ target: 'my-model@7' }, 404, 'nearest: my-model@5'],
    [{ target: 'nothing' }, 404, 'does not exist'],
    [{ chat: 'yes' }, 400, 'chat'],
    [{ tempalte: 'x' }, 400, 'tempalte'],
  ])('is not made of %j, and nothing changes', async (wish, status, words) => {
    const house = await houseWith();
    expect(await change(house, wish)).toMatchObject({ status, error: { message: expect.stringContaining(words) } });
    expect(await builds(house)).toHaveLength(1);
    expect((await predict(house, 'support')).status).toBe(200);
  });

  test('is in the audit log, the events and the list; what is removed is gone, and can be made anew', async () => {
    const house = await houseWith();
    expect(house.happenings).toContainEqual({
      type: 'deployed',
      deployment: 'support',
      build: 1,
      target: 'my-model@5',
      by: 'no key',
    });
    expect((await house.admin('GET', '/deployments')).body).toMatchObject({
      data: [{ name: 'support', inputs: ['prompt'] }],
    });
    expect((await house.admin('DELETE', '/deployments/support')).body).toEqual({ name: 'support', removed: true });
    expect((await house.admin('DELETE', '/deployments/support')).status).toBe(404);
    expect((await predict(house, 'support')).status).toBe(404);
    expect(await change(house, { target: 'base' })).toMatchObject({ status: 200, build: 1 });
    const audit = (await house.admin('GET', '/audit')).body as { data: { method: string; before: View | null }[] };
    expect(audit.data.map(({ method }) => method)).toEqual(['PATCH', 'DELETE', 'DELETE', 'PUT']);
    expect(audit.data[2]?.before).toMatchObject({ name: 'support', target: 'my-model@5' });
  });

  test('is there after a restart', async () => {
    const house = await houseWith({ generation: { max_new_tokens: 3 }, template: 'Q: {prompt}' });
    await change(house, { chat: true });
    const before = await builds(house);
    const after = await house.restart();
    expect(await builds(after)).toEqual(before);
    const answer = await predict(after, 'support');
    expect([answer.status, answer.headers.get('x-stepgate-build')]).toEqual([200, '2']);
  });
});

test('under load a change loses no request, and each answer is by one build: its step, its template and its defaults', async () => {
  const house = await setUp({ latest: 'published', engines: [{ maxLoras: 2 }, { maxLoras: 2 }] });
  const digests = new Map<string, string>();
  for (const step of [5, 10]) digests.set(`my-model@${step}`, await weightsOf(await house.write(step)));
  const wishes = [5, 10].map((step) => ({
    target: `my-model@${step}`,
    template: `${'x'.repeat(step)}{prompt}`,
    generation: { max_new_tokens: step / 5 },
  }));
  await change(house, wishes[0] ?? {});
  let isOver = false;
  const asking = Array.from({ length: 8 }, async () => {
    const answers = [];
    while (!isOver) answers.push(await predict(house, 'support'));
    return answers;
  });
  for (let turn = 1; turn <= 20; turn++) {
    expect(await change(house, wishes[turn % 2] ?? {})).toMatchObject({ status: 200, build: turn + 1 });
    await predict(house, 'support');
  }
  isOver = true;
  const answers = (await Promise.all(asking)).flat();
  expect(answers.length).toBeGreaterThan(40);
  const seen = new Set<string>();
  for (const { status, body, headers } of answers) {
    expect(status).toBe(200);
    const { text = '', model = '', usage } = body.response ?? {};
    const step = Number(headers.get('x-stepgate-build')) % 2 === 1 ? 5 : 10;
    seen.add(model);
    expect([model, usage]).toEqual([
      `my-model@${step}`,
      expect.objectContaining({ completion_tokens: step / 5, prompt_tokens: step + 'Hello'.length }),
    ]);
    expect(text).toContain(digests.get(model));
  }
  expect([...seen].sort()).toEqual(['my-model@10', 'my-model@5']);
});

test('a name that moves takes its deployment along; many deployments share an engine', async () => {
  const house = await houseWith({ target: 'my-model' }, { engines: [{ maxLoras: 2 }] });
  expect((await predict(house, 'support')).body.response?.model).toBe('my-model@5');
  await house.write(10);
  expect((await predict(house, 'support')).body.response?.model).toBe('my-model@10');
  await house.admin('PUT', '/models/my-model/aliases/champion', { step: 5 });
  for (const [name, target] of [
    ['a', 'my-model@champion'],
    ['b', 'my-model@10'],
    ['c', 'base'],
  ])
    await house.admin('PUT', `/deployments/${name}`, { target });
  const answers = await Promise.all(['a', 'b', 'c', 'a', 'b', 'c'].map((name) => predict(house, name)));
  expect(answers.map(({ body }) => body.response?.model)).toEqual([
    'my-model@5',
    'my-model@10',
    'base',
    'my-model@5',
    'my-model@10',
    'base',
  ]);
});

test('a reservation under its name keeps loaded what it leads to, and goes along with a change and with a name that moves', async () => {
  const house = await houseWith();
  await house.write(10);
  const champion = (step: number) => house.admin('PUT', '/models/my-model/aliases/champion', { step });
  const isKept = (name: string) =>
    until(async () => {
      const { body } = await house.admin('GET', '/backends/gpu-0');
      const { adapters } = body as { adapters: { name: string; state: string }[] };
      return adapters.some((one) => one.name === name && one.state === 'ready');
    });
  await champion(5);
  const reserved = await house.admin('POST', '/reservations', { for: { checkpoint: 'support' }, owner: 'ops' });
  expect(reserved).toMatchObject({ status: 201, body: { for: { checkpoint: 'support' } } });
  await isKept('my-model@5');
  await change(house, { target: 'my-model@10' });
  await isKept('my-model@10');
  await change(house, { target: 'my-model@champion' });
  await champion(10);
  await house.write(15);
  await champion(15);
  await isKept('my-model@15');
});

describe('what a deployment’s current build targets', () => {
  const remove = async (house: House, name: string) => {
    const { status, body } = await house.admin('DELETE', `/checkpoints/${encodeURIComponent(name)}`);
    return [status, (body as { error?: { message: string } }).error?.message];
  };
  const kept = (name: string) => [
    409,
    `"${name}" is kept: the deployment "support" leads to it. Change or remove the deployment first ("stepgate deploy support --target MODEL", or "stepgate deploy support --remove").`,
  ];

  test.each(['my-model@5', 'my-model@0005', 'my-model-v5'])('as %s is not deleted by hand', async (target) => {
    const house = await houseWith({ target });
    expect(await remove(house, 'my-model@5')).toEqual(kept('my-model@5'));
    await expect(house.openai.models.delete('my-model@5')).rejects.toMatchObject({ status: 409 });
    // The trainer has let go of it, and must not stop.
    expect((await house.post('/v1/unload_lora_adapter', { lora_name: 'my-model@5' })).status).toBe(200);
    expect((await predict(house, 'support')).body.response?.model).toBe('my-model@5');
    await house.write(10);
    await change(house, { target: 'my-model@10' });
    expect(await remove(house, 'my-model@5')).toEqual([200, undefined]);
    expect(await remove(house, 'my-model@10')).toEqual(kept('my-model@10'));
    await house.admin('DELETE', '/deployments/support');
    expect(await remove(house, 'my-model@10')).toEqual([200, undefined]);
  });

  test('as an exact name is not deleted by hand, nor is a deployment taken for a checkpoint', async () => {
    const house = await houseWith();
    const path = `${house.runs}/checkpoint-5`;
    expect((await house.admin('POST', '/checkpoints', { name: 'org/lora', path })).status).toBe(201);
    await change(house, { target: 'org/lora' });
    expect(await remove(house, 'org/lora')).toEqual(kept('org/lora'));
    expect(await remove(house, 'my-model@5')).toEqual([200, undefined]);
    expect(await remove(house, 'support')).toEqual([
      404,
      '"support" is a deployment, no checkpoint: "stepgate deploy support --remove" takes it away.',
    ]);
  });

  test('by a name that moves is deleted, and the name moves on', async () => {
    const house = await houseWith({ target: 'my-model' });
    await house.write(10);
    expect(await remove(house, 'my-model@10')).toEqual([200, undefined]);
    expect((await predict(house, 'support')).body.response?.model).toBe('my-model@5');
  });
});

test('retention spares the step that a deployment leads to', async () => {
  const house = await houseWith();
  await house.write(10);
  const models = { 'my-model': { watch: house.runs, latest: 'published', keep: { last: 1 } } };
  await house.reload({ models });
  await house.write(15);
  await until(async () => (await house.ask('my-model@10')).status === 410);
  expect((await predict(house, 'support')).body.response?.model).toBe('my-model@5');
});
