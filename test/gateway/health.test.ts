// What requests show of engines and adapters, over sockets: engines that fail, that are busy, and that die of an adapter.
import { expect, test } from 'vitest';
import { type House, type SetUp, setUp, until } from './harness.ts';

const two = (options: SetUp = {}) => setUp({ engines: [{}, {}], latest: 'published', ...options });

const indexOf = (answer: { headers: Headers }): number => Number(answer.headers.get('x-stepgate-backend')?.slice(-1));

const admin = async (house: House, path: string, body?: unknown) => {
  const response = await fetch(`${house.running.adminUrl}/admin/v1${path}`, {
    ...(body !== undefined && { method: 'POST', body: JSON.stringify(body) }),
    headers: { 'content-type': 'application/json' },
  });
  return { status: response.status, ...((await response.json()) as { data?: Record<string, unknown>[] }) };
};

const metric = async (house: House, line: string): Promise<number> => {
  const text = await (await fetch(`${house.running.url}/metrics`)).text();
  const [, value] =
    text
      .split('\n')
      .find((one) => one.startsWith(`${line} `))
      ?.split(' ')
      .slice(-2) ?? [];
  return Number(value ?? 0);
};

const standings = (house: House) =>
  house.happenings.flatMap((one) => (one.type === 'standing' ? [`${one.backend} ${one.standing}`] : []));

const kept = (house: House) =>
  house.happenings.flatMap((one) => (one.type === 'quarantine' ? [`${one.adapter} ${one.phase}`] : []));

const deaths = (house: House): number => house.sims.filter((sim) => sim.stats().dead).length;

test('an engine whose requests fail is ejected after five, is seen to be, and one that it answers brings it back', async () => {
  const house = await two({ config: { health: { ejectedMs: 400 }, probe: { everyMs: 100 } } });
  house.sims[0]?.fault('inference', { kind: 'status', status: 502 }, Number.POSITIVE_INFINITY);
  for (let times = 0; times < 5; times++) expect((await house.ask('base')).status).toBe(502);
  expect(standings(house)).toEqual(['gpu-0 ejected']);
  expect((await house.ask('base')).headers.get('x-stepgate-backend')).toBe('gpu-1');
  const { data } = await admin(house, '/backends');
  expect(data?.[0]).toMatchObject({ state: 'up', ejected: { trial: false, times: 1 } });
  expect(await metric(house, 'stepgate_backend_ejected{backend="gpu-0"}')).toBe(1);
  expect(await metric(house, 'stepgate_ejections_total{backend="gpu-0"}')).toBe(1);
  house.sims[0]?.clearFaults();
  await until(() => standings(house).at(-1) === 'gpu-0 trial');
  expect((await house.ask('base')).status).toBe(200);
  expect(standings(house)).toEqual(['gpu-0 ejected', 'gpu-0 trial', 'gpu-0 whole']);
  expect(await metric(house, 'stepgate_backend_ejected{backend="gpu-0"}')).toBe(0);
});

test.each([
  ['502', { kind: 'status', status: 502 }],
  ['garbage', { kind: 'garbage' }],
  ['a stream that is cut', { kind: 'cut', afterTokens: 2 }],
] as const)('%s counts as a failure of the engine', async (_, fault) => {
  const house = await two();
  house.sims[0]?.fault('inference', fault, Number.POSITIVE_INFINITY);
  await until(async () => {
    await house
      .post('/v1/chat/completions', { model: 'base', stream: true, messages: [{ role: 'user', content: 'hi' }] })
      .then((answer) => answer.text());
    return standings(house).includes('gpu-0 ejected');
  });
});

test.each([
  [400, { error: { message: 'no' } }],
  [404, { error: { message: 'nothing here' } }],
  [422, {}],
])('a %i is its caller’s doing: no engine is ejected for it', async (status, body) => {
  const house = await two();
  for (const sim of house.sims) sim.fault('inference', { kind: 'status', status, body }, Number.POSITIVE_INFINITY);
  for (let times = 0; times < 12; times++) expect((await house.ask('base')).status).toBe(status);
  expect(standings(house)).toEqual([]);
});

test('with every engine failing, placing goes on', async () => {
  const house = await two();
  for (const sim of house.sims) sim.fault('inference', { kind: 'status', status: 502 }, Number.POSITIVE_INFINITY);
  for (let times = 0; times < 20; times++) expect((await house.ask('base')).status).toBe(502);
  expect(standings(house)).toHaveLength(1);
  for (const sim of house.sims) sim.clearFaults();
  expect((await house.ask('base')).status).toBe(200);
});

test.each([429, 503])('a %i is asked of another engine, once, and its caller sees nothing of it', async (status) => {
  const house = await two();
  const before = house.sims.map((sim) => sim.stats().requests);
  house.sims[0]?.fault('inference', { kind: 'status', status }, 1);
  const answer = await house.ask('base');
  expect(answer).toMatchObject({ status: 200, model: 'base' });
  expect(indexOf(answer)).toBe(1);
  const why = status === 429 ? 'busy' : 'unavailable';
  expect(await metric(house, `stepgate_retries_total{backend="gpu-0",why="${why}"}`)).toBe(1);
  expect(house.sims.map((sim, index) => sim.stats().requests - (before[index] ?? 0))).toEqual([1, 1]);
});

test('a 429 with nobody else to ask is passed on as the engine said it', async () => {
  const house = await setUp({ latest: 'published' });
  house.sims[0]?.fault('inference', { kind: 'status', status: 429, body: { error: { message: 'slow down' } } });
  const answer = await house.ask('base');
  expect(answer).toMatchObject({ status: 429, message: 'slow down' });
});

test.each([
  ['load', 'whole'],
  ['use', 'whole'],
  ['use', 'streamed'],
] as const)('an adapter that engines die of (%s, %s answers) kills one of them, and no other', async (when, how) => {
  const poison = { 'my-model@66': when };
  const house = await setUp({ engines: [{ poison }, { poison }, { poison }], latest: 'published' });
  await house.write(10);
  await house.write(66);
  expect(await house.ask('my-model@10')).toMatchObject({ status: 200 });
  const body = { model: 'my-model@66', stream: how === 'streamed', messages: [{ role: 'user', content: 'hi' }] };
  const texts = Array.from({ length: 6 }, async () => (await house.post('/v1/chat/completions', body)).text());
  for (const text of await Promise.all(texts)) expect(text).toContain('"error":');
  await until(() => kept(house).length > 0);
  const refused = await house.ask('my-model@66');
  expect(refused).toMatchObject({ status: 422, code: 'checkpoint_not_servable' });
  expect(refused.message).toMatch(/under quarantine: engine gpu-\d died .*stepgate quarantine --retry/);
  expect(deaths(house)).toBe(1);
  for (const sim of house.sims) if (sim.stats().dead) await sim.restart();
  await until(() => [...house.running.gateway.fleet.members.values()].every(({ state }) => state === 'up'));
  for (let times = 0; times < 5; times++) expect((await house.ask('my-model@66')).status).toBe(422);
  expect(await house.ask('my-model@10')).toMatchObject({ status: 200, model: 'my-model@10' });
  expect(house.sims.reduce((sum, sim) => sum + (sim.stats().loadCalls.get('my-model@66') ?? 0), 0)).toBeLessThanOrEqual(
    1,
  );
  expect(kept(house)).toEqual(['my-model@66 kept']);
  expect(await metric(house, 'stepgate_quarantined')).toBe(1);
});

test('an adapter under quarantine is tried again when somebody says so, and new weights of its name are free of it', async () => {
  const house = await setUp({ engines: [{ poison: { 'my-model@66': 'load' } }], latest: 'published' });
  await house.write(66);
  await house.ask('my-model@66');
  await until(() => kept(house).length === 1);
  await house.sims[0]?.restart();
  await until(() => house.running.gateway.fleet.members.values().next().value?.state === 'up');
  expect(await house.ask('my-model@66')).toMatchObject({ status: 422 });
  expect(await admin(house, '/quarantine/retry', { name: 'my-model@5' })).toMatchObject({ status: 404 });
  const { data } = await admin(house, '/quarantine');
  expect(data).toMatchObject([{ name: 'my-model@66', state: 'kept', backend: 'gpu-0', deaths: 1 }]);
  expect(await admin(house, '/quarantine/retry', { name: 'my-model@66' })).toMatchObject({
    status: 200,
    state: 'trial',
  });
  await house.ask('my-model@66');
  await until(() => kept(house).length === 3);
  expect(kept(house)).toEqual(['my-model@66 kept', 'my-model@66 trial', 'my-model@66 kept']);
  await house.sims[0]?.restart();
  await until(() => house.running.gateway.fleet.members.values().next().value?.state === 'up');
  await house.write(66, { seed: 9 });
  await until(async () => (await house.ask('my-model@66')).status === 200);
  await until(async () => (await admin(house, '/quarantine')).data?.length === 0);
});

test('an engine that is restarted under load puts nobody under quarantine who has answered', async () => {
  const house = await two({ engines: [{ answerTokens: 200 }, { answerTokens: 200 }] });
  await house.write(10);
  const first = await house.ask('my-model@10');
  const asked = Array.from({ length: 20 }, () => house.ask('my-model@10'));
  const sim = house.sims[indexOf(first)];
  await until(() => (sim?.stats().running ?? 0) > 0);
  await sim?.restart();
  await Promise.all(asked);
  await until(async () => (await house.ask('my-model@10')).status === 200);
  expect(kept(house)).toEqual([]);
});

test('a load that is refused for the adapter’s sake counts to no engine', async () => {
  const house = await two({ engines: [{ maxLoraRank: 8 }, { maxLoraRank: 8 }] });
  await house.write(10, { rank: 32 });
  for (let times = 0; times < 10; times++)
    expect(await house.ask('my-model@10')).toMatchObject({ status: 422, code: 'checkpoint_not_servable' });
  expect(standings(house)).toEqual([]);
  expect(kept(house)).toEqual([]);
});
