// What requests show of engines and adapters, over sockets: engines that fail, that are busy, and that die of an adapter.
import { expect, test } from 'vitest';
import { rowsOf } from '../faults/row.ts';
import { type House, type SetUp, setUp, until } from './harness.ts';

const row = rowsOf('health');

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

row(
  {
    fault: 'the requests of one engine fail, one after the other',
    required: 'ejected after five, shown, and one real request at a time is the probe back',
    mechanism: '`router/health.ts`',
  },
  async () => {
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
    return standings(house).join(', ');
  },
);

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

row(
  {
    fault: 'the requests of every engine fail',
    required: 'the last engine is never ejected; answered again at once when they are well',
    mechanism: '`router/health.ts`: what nobody can replace is not ejected',
  },
  async () => {
    const house = await two();
    for (const sim of house.sims) sim.fault('inference', { kind: 'status', status: 502 }, Number.POSITIVE_INFINITY);
    for (let times = 0; times < 20; times++) expect((await house.ask('base')).status).toBe(502);
    expect(standings(house)).toHaveLength(1);
    for (const sim of house.sims) sim.clearFaults();
    expect((await house.ask('base')).status).toBe(200);
    return `${standings(house).length} of 2 engines ejected; then 200`;
  },
);

for (const [status, fault] of [
  [429, 'an engine answers 429, and another could take it'],
  [503, 'an engine answers 503, and another could take it'],
] as const)
  row(
    {
      fault,
      required:
        'asked of the other engine, once; 20 % of the requests in flight, at least 3, may be on their second attempt',
      mechanism: '`router/retries.ts`',
    },
    async () => {
      const house = await two();
      const before = house.sims.map((sim) => sim.stats().requests);
      house.sims[0]?.fault('inference', { kind: 'status', status }, 1);
      const answer = await house.ask('base');
      expect(answer).toMatchObject({ status: 200, model: 'base' });
      expect(indexOf(answer)).toBe(1);
      const why = status === 429 ? 'busy' : 'unavailable';
      expect(await metric(house, `stepgate_retries_total{backend="gpu-0",why="${why}"}`)).toBe(1);
      const asked = house.sims.map((sim, index) => sim.stats().requests - (before[index] ?? 0));
      expect(asked).toEqual([1, 1]);
      return `${answer.status} of the other engine; each was asked ${asked[0]} time`;
    },
  );

test('a 429 with nobody else to ask is passed on as the engine said it', async () => {
  const house = await setUp({ latest: 'published' });
  house.sims[0]?.fault('inference', { kind: 'status', status: 429, body: { error: { message: 'slow down' } } });
  const answer = await house.ask('base');
  expect(answer).toMatchObject({ status: 429, message: 'slow down' });
});

for (const [fault, when, how] of [
  ['an adapter that kills the engine that loads it', 'load', 'whole'],
  ['an adapter that kills the engine that answers with it', 'use', 'whole'],
  ['an adapter that kills the engine that answers with it, in streams', 'use', 'streamed'],
] as const)
  row(
    {
      fault,
      required: 'under quarantine after one death: no other engine dies of it, other steps are answered',
      mechanism: '`router/quarantine.ts`',
    },
    async () => {
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
      const died = deaths(house);
      expect(died).toBe(1);
      for (const sim of house.sims) if (sim.stats().dead) await sim.restart();
      await until(() => [...house.running.gateway.fleet.members.values()].every(({ state }) => state === 'up'));
      for (let times = 0; times < 5; times++) expect((await house.ask('my-model@66')).status).toBe(422);
      const other = await house.ask('my-model@10');
      expect(other).toMatchObject({ status: 200, model: 'my-model@10' });
      expect(
        house.sims.reduce((sum, sim) => sum + (sim.stats().loadCalls.get('my-model@66') ?? 0), 0),
      ).toBeLessThanOrEqual(1);
      expect(kept(house)).toEqual(['my-model@66 kept']);
      expect(await metric(house, 'stepgate_quarantined')).toBe(1);
      return `${died} of 3 engines died; then ${refused.status} ${refused.code}; other steps: ${other.status}`;
    },
  );

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

row(
  {
    fault: 'an engine is restarted under load',
    required: 'what it ran with is suspected of nothing once it has answered',
    mechanism: '`router/quarantine.ts`: what is proven is no suspect',
  },
  async () => {
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
    return `answered again; ${kept(house).length} under quarantine`;
  },
);

row(
  {
    fault: 'a load that is refused for the adapter’s sake, again and again',
    required: 'the adapter’s fault, and counts to no engine',
    mechanism: '`router/health.ts` hears of requests, not of loads',
  },
  async () => {
    const house = await two({ engines: [{ maxLoraRank: 8 }, { maxLoraRank: 8 }] });
    await house.write(10, { rank: 32 });
    for (let times = 0; times < 10; times++)
      expect(await house.ask('my-model@10')).toMatchObject({ status: 422, code: 'checkpoint_not_servable' });
    expect(standings(house)).toEqual([]);
    expect(kept(house)).toEqual([]);
    return `422 checkpoint_not_servable each time; ${standings(house).length} ejected`;
  },
);
