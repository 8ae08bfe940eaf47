// Backends that are added by the admin API, beside those of the config: kept over reloads and restarts, and never two for one name or engine.
import { afterEach, describe, expect, test } from 'vitest';
import { type Sim, startSim } from '../../src/sim/sim.ts';
import { FAST, type House, setUp, until } from './harness.ts';

const messageOf = ({ status, body }: { status: number; body: unknown }) =>
  `${status} ${(body as { error?: { message: string } }).error?.message}`;
const add = (house: House, row: Record<string, unknown>) => house.admin('POST', '/backends', row);
const listed = async (house: House) =>
  ((await house.admin('GET', '/backends')).body as { data: { name: string; from: string }[] }).data.map(
    ({ name, from }) => `${name} ${from}`,
  );

/** A gateway with gpu-0 in its config, and another engine that is not. */
async function houseAndEngine() {
  const house = await setUp();
  const sim = await startSim(FAST);
  extra.push(sim);
  return { house, url: sim.url };
}

const extra: Sim[] = [];
afterEach(async () => {
  for (const sim of extra.splice(0)) await sim.close();
});

test('one that is added serves, through a reload and a restart, until it is removed', async () => {
  const { house, url } = await houseAndEngine();
  await house.write(1);
  expect(await add(house, { name: 'extra', url: `${url}/`, slots: 2, rankMax: 16 })).toEqual({
    status: 201,
    body: { name: 'extra', url, state: 'up', about: expect.stringContaining('2 slots'), from: 'api' },
  });
  expect(await listed(house)).toEqual(['gpu-0 config', 'extra api']);
  await house.reload({ limits: { queueMax: 500 } });
  expect(await listed(house)).toEqual(['gpu-0 config', 'extra api']);
  const next = await house.restart();
  expect(await listed(next)).toContain('extra api');
  await next.admin('POST', '/backends/gpu-0/drain', {});
  const answer = await next.ask('my-model@1');
  expect([answer.status, answer.headers.get('x-stepgate-backend')]).toEqual([200, 'extra']);
  await next.admin('DELETE', '/backends/gpu-0/drain');
  expect(await next.admin('DELETE', '/backends/extra')).toEqual({
    status: 200,
    body: { name: 'extra', removed: true },
  });
  expect(await listed(await next.restart())).not.toContain('extra api');
});

test('one that is down is added all the same, and used when it comes up', async () => {
  const { house } = await houseAndEngine();
  const sim = await startSim(FAST);
  sim.refuse();
  expect((await add(house, { name: 'later', url: sim.url })).body).toMatchObject({ state: 'down' });
  await sim.accept();
  await until(async () => house.running.gateway.fleet.get('later' as never).isUp);
  await house.admin('DELETE', '/backends/later');
  await sim.close();
});

test('one that is removed ends what it runs first; forced, it leaves at once, and what it runs still ends', async () => {
  for (const force of [false, true]) {
    const { house, url } = await houseAndEngine();
    await house.write(1);
    await add(house, { name: 'extra', url });
    await house.admin('POST', '/backends/gpu-0/drain', {});
    const stream = await house.post('/v1/completions', {
      model: 'my-model@1',
      prompt: 'x',
      stream: true,
      max_tokens: 400,
    });
    expect(stream.headers.get('x-stepgate-backend')).toBe('extra');
    await house.admin('DELETE', '/backends/gpu-0/drain');
    let isOver = false;
    const reading = stream.text().finally(() => (isOver = true));
    const { status } = await house.admin('DELETE', `/backends/extra${force ? '?force=true' : ''}`);
    expect([status, isOver]).toEqual([200, !force]);
    expect(await reading).toContain('[DONE]');
    expect(await listed(house)).toEqual(['gpu-0 config']);
  }
});

describe('what is refused', () => {
  test('a name or a url that there is already', async () => {
    const { house, url } = await houseAndEngine();
    const own = house.sims[0]?.url;
    expect(messageOf(await add(house, { name: 'gpu-0', url }))).toBe(
      `409 there is a backend "gpu-0" already, at ${own}`,
    );
    expect(messageOf(await add(house, { name: 'b', url: own }))).toBe(
      `409 there is a backend "gpu-0" already, at ${own}`,
    );
    await add(house, { name: 'b', url });
    expect(messageOf(await add(house, { name: 'b', url: 'http://127.0.0.1:1' }))).toBe(
      '409 there is a backend "b" already',
    );
    expect(messageOf(await add(house, { name: 'c', url }))).toBe(`409 there is a backend "b" already, at ${url}`);
    const both = await Promise.all([1, 2].map((port) => add(house, { name: 'two', url: `http://127.0.0.1:${port}` })));
    expect(both.map(({ status }) => status)).toEqual([201, 409]);
  });

  test('what is no backend, and files and variables of the gateway', async () => {
    const { house } = await houseAndEngine();
    expect(messageOf(await add(house, { name: 'b' }))).toMatch(/^400 `url`/);
    expect(messageOf(await add(house, { name: 'b', url: 'ftp://x' }))).toMatch(/^400 `url`: .*no http URL/);
    const url = 'http://127.0.0.1:1';
    expect(messageOf(await add(house, { name: 'b', url, kye: 1 }))).toMatch(/^400 .*kye/);
    for (const key of ['keyFile', 'keyEnv', 'caFile'])
      expect(messageOf(await add(house, { name: 'b', url, [key]: '/etc/passwd' }))).toMatch(
        new RegExp(`^400 \`${key}\`: is for the config only`),
      );
    expect(await listed(house)).toEqual(['gpu-0 config']);
  });

  test('to remove one of the config, or one that is not there', async () => {
    const { house } = await houseAndEngine();
    expect(messageOf(await house.admin('DELETE', '/backends/gpu-0'))).toMatch(
      /^409 .*in the config: .*stepgate reload/,
    );
    expect(messageOf(await house.admin('DELETE', '/backends/none'))).toBe(
      '404 there is no backend "none"; there are gpu-0',
    );
  });

  test('a reload, and a start, with a config that takes its name or its url: nothing changes', async () => {
    const { house, url } = await houseAndEngine();
    await add(house, { name: 'extra', url });
    const gpu0 = { name: 'gpu-0', url: house.sims[0]?.url };
    for (const [row, key] of [
      [{ name: 'extra', url: 'http://127.0.0.1:1' }, 'name'],
      [{ name: 'other', url }, 'url'],
    ] as const) {
      const refused = await house.reload({ backends: [gpu0, row] }).catch((error) => error);
      expect(refused).toMatchObject({
        code: 'invalid_request',
        message: `nothing was changed:\nbackends (${row.name}): its ${key} is that of "extra" at ${url}, which was added by the admin API: take that one away (DELETE /admin/v1/backends/extra), or write another ${key}`,
      });
    }
    expect(await listed(house)).toEqual(['gpu-0 config', 'extra api']);
    await house.running.close({ now: true });
    const again = setUp({ home: house.home, urls: [url] });
    await expect(again).rejects.toThrow(/backends \(gpu-0\): its url is that of "extra"/);
  });
});
