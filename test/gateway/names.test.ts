// Names that move, pins and retention through a whole gateway: asked for by callers, moved over the admin API.
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { writeCheckpoint } from '../../src/sim/trainer.ts';
import { type House, setUp, until } from './harness.ts';

async function admin(house: House, method: string, path: string, body?: unknown) {
  const response = await fetch(`${house.running.adminUrl}/admin/v1${path}`, {
    method,
    ...(body !== undefined && { headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) }),
  });
  return { status: response.status, body: (await response.json()) as Record<string, unknown> };
}

const code = (answer: { body: Record<string, unknown> }) => (answer.body.error as { code: string } | undefined)?.code;
const model = '/models/my-model';

test('an alias is moved with compare-and-set; a caller is answered by its step, and told which', async () => {
  const house = await setUp({ latest: 'published' });
  await house.write(5);
  await house.write(10);
  const alias = `${model}/aliases/champion`;
  expect(await admin(house, 'PUT', alias, { step: 5, expect: null, by: 'ann' })).toMatchObject({
    status: 200,
    body: { alias: 'champion', step: 5, by: 'ann' },
  });
  const asked = await house.ask('my-model@champion');
  expect([asked.status, asked.model, asked.headers.get('x-stepgate-model')]).toEqual([200, 'my-model@5', 'my-model@5']);
  const stale = await admin(house, 'PUT', alias, { step: 10, expect: 10 });
  expect([stale.status, code(stale)]).toEqual([409, 'conflict']);
  expect((await admin(house, 'PUT', alias, { step: 10, expect: 5 })).status).toBe(200);
  expect((await house.ask('my-model@champion')).model).toBe('my-model@10');

  expect(await admin(house, 'GET', `${model}/aliases`)).toMatchObject({
    body: {
      data: [{ alias: 'champion', step: 10, by: 'admin' }],
      names: [
        { alias: 'latest', step: 10 },
        { alias: 'best', step: 10 },
        { alias: 'champion', step: 10 },
      ],
    },
  });
  const history = await admin(house, 'GET', `${model}/history?limit=2`);
  expect(history.body.data).toMatchObject([
    { alias: 'champion', from: 5, to: 10, by: 'admin' },
    { alias: 'champion', from: null, to: 5, by: 'ann' },
  ]);
  expect((await admin(house, 'DELETE', `${alias}?expect=5`)).status).toBe(409);
  expect((await admin(house, 'DELETE', `${alias}?expect=10`)).status).toBe(200);
  expect((await house.ask('my-model@champion')).code).toBe('model_not_found');
  expect(house.happenings).toContainEqual({
    type: 'moved',
    model: 'my-model',
    alias: 'champion',
    checkpoint: 'my-model@10',
    by: 'admin',
  });
});

test('best follows a metric that an evaluation sets', async () => {
  const models = { 'my-model': { latest: 'published', best: { metric: 'judge', direction: 'max' } } };
  const house = await setUp({ latest: 'published', config: { models } });
  for (const step of [5, 10]) {
    const path = join(house.runs, `checkpoint-${step}`);
    await writeCheckpoint({ dir: house.runs, step });
    expect((await admin(house, 'POST', `${model}/checkpoints`, { step, path })).status).toBe(201);
  }
  expect((await house.ask('my-model@best')).code).toBe('model_not_found');
  const patched = await admin(house, 'PATCH', `${model}/checkpoints/5`, { metrics: { judge: 0.7 } });
  expect(patched).toMatchObject({ status: 200, body: { name: 'my-model@5', metrics: { judge: 0.7 } } });
  expect((await house.ask('my-model@best')).model).toBe('my-model@5');
  await admin(house, 'PATCH', `${model}/checkpoints/10`, { metrics: { judge: 0.8 } });
  expect((await house.ask('my-model@best')).model).toBe('my-model@10');
  await admin(house, 'PATCH', `${model}/checkpoints/10`, { metrics: { judge: null } });
  expect((await house.ask('my-model@best')).model).toBe('my-model@5');
  const wrong = await admin(house, 'PATCH', `${model}/checkpoints/10`, { metrics: { judge: 'good' } });
  expect([wrong.status, code(wrong)]).toEqual([400, 'invalid_request']);
});

test('a selector leads to the nearest step on its side', async () => {
  const house = await setUp({ latest: 'published' });
  await house.write(5);
  await house.write(10);
  expect((await house.ask('my-model@<=9')).model).toBe('my-model@5');
  expect((await house.ask('my-model@>5')).model).toBe('my-model@10');
});

describe('retention', () => {
  const keeping = (runs: string, keep: object) => ({
    models: { 'my-model': { watch: runs, latest: 'published', keep } },
  });

  test('runs by itself after each registration; what goes is answered 410, what is pinned is not', async () => {
    const first = await setUp({ latest: 'published' });
    await first.write(5);
    await first.write(10);
    const pin = await admin(first, 'POST', '/pins', {
      model: 'my-model',
      from: 0,
      to: 5,
      owner: 'eval',
      ttlMs: 60_000,
    });
    expect(pin).toMatchObject({ status: 201, body: { from: 0, to: 5, owner: 'eval', until: expect.any(String) } });
    expect(await admin(first, 'GET', '/pins')).toMatchObject({ body: { data: [{ id: pin.body.id }] } });
    await first.running.close({ now: true });

    const house = await setUp({ home: first.home, runs: first.runs, config: keeping(first.runs, { last: 1 }) });
    await house.write(15);
    await until(async () => (await house.ask('my-model@10')).status === 410);
    expect((await house.ask('my-model@5')).model).toBe('my-model@5');
    expect(existsSync(join(house.runs, 'checkpoint-10', 'adapter_model.safetensors'))).toBe(true);
    const refused = await admin(house, 'DELETE', `${model}/checkpoints/5`);
    expect([refused.status, code(refused)]).toEqual([409, 'conflict']);
    expect((await admin(house, 'DELETE', `/pins/${pin.body.id}`)).status).toBe(200);
    expect((await admin(house, 'DELETE', `/pins/${pin.body.id}`)).status).toBe(404);
    const retained = await admin(house, 'POST', `${model}/retain`, { dryRun: false });
    expect(retained.body.data).toEqual([
      { name: 'my-model@5', step: 5, keep: false, why: 'not in last 1' },
      { name: 'my-model@15', step: 15, keep: true, why: '@latest; @best; last 1' },
    ]);
    expect((await house.ask('my-model@5')).status).toBe(410);
  });

  test('spares what a request runs on', async () => {
    const house = await setUp({ latest: 'published', engines: [{ tokenMs: 20, answerTokens: 50 }] });
    await house.write(5);
    await house.write(10);
    const running = house.ask('my-model@5');
    await until(() => house.happenings.some((one) => one.type === 'load'));
    house.running.gateway.registry.catalog.setModel('my-model' as never, { latest: 'published', keep: { last: 1 } });
    const during = await admin(house, 'POST', `${model}/retain`, { dryRun: false });
    expect(during.body.data).toMatchObject([
      { name: 'my-model@5', keep: true, why: 'in use' },
      { name: 'my-model@10', keep: true },
    ]);
    expect((await running).model).toBe('my-model@5');
    await admin(house, 'POST', `${model}/retain`, { dryRun: false });
    expect((await house.ask('my-model@5')).status).toBe(410);
  });
});

test('a name in any letters is answered, refused and streamed under its own name: headers tell it percent-encoded', async () => {
  const house = await setUp({ latest: 'published' });
  const path = await house.write(5);
  expect((await admin(house, 'POST', '/checkpoints', { name: 'имя@1', path })).status).toBe(201);
  const told = (headers: Headers) => decodeURIComponent(headers.get('x-stepgate-model') ?? '');
  const whole = await house.ask('имя@1');
  expect([whole.status, whole.model, told(whole.headers)]).toEqual([200, 'имя@1', 'имя@1']);
  const request = { model: 'имя@1', messages: [{ role: 'user', content: 'x' }], stream: true };
  const streamed = await house.post('/v1/chat/completions', request);
  expect([streamed.status, told(streamed.headers)]).toEqual([200, 'имя@1']);
  expect(await streamed.text()).toContain('"model":"имя@1"');
  await house.sims[0]?.close();
  const failed = await house.ask('имя@1');
  expect([failed.status, told(failed.headers)]).toEqual([503, 'имя@1']);
});
