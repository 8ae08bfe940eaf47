// The config, read anew while requests run: all of it counts from then on, or nothing of it, and no request is lost.
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { describe, expect, test } from 'vitest';
import { startSim } from '../../src/sim/sim.ts';
import { writeCheckpoint } from '../../src/sim/trainer.ts';
import { rowsOf } from '../faults/row.ts';
import { FAST, type House, setUp, until } from './harness.ts';

const CHAT = '/v1/chat/completions';
const backendsOf = (house: House, ...indices: number[]) =>
  indices.map((index) => ({ name: `gpu-${index}`, url: house.sims[index]?.url }));
const engineOf = (answer: { headers: Headers }) => answer.headers.get('x-stepgate-backend');
const chat = (model: string, more: Record<string, unknown> = {}) => ({
  ...{ model, messages: [{ role: 'user', content: 'hi' }], ...more },
});

/** Asks on and on until it is told to end; then the statuses that came, by how often. */
function callers(house: House, names: readonly string[], count = 8) {
  const statuses = new Map<string, number>();
  let isOver = false;
  const done = Promise.all(
    Array.from({ length: count }, async (_, index) => {
      for (let turn = 0; !isOver; turn++) {
        const { status, code } = await house.ask(names[(index + turn) % names.length] ?? '');
        const key = code === undefined ? `${status}` : `${status} ${code}`;
        statuses.set(key, (statuses.get(key) ?? 0) + 1);
      }
    }),
  );
  const answered = () => [...statuses.values()].reduce((sum, times) => sum + times, 0);
  return {
    answered,
    end: async () => {
      isOver = true;
      await done;
      return [...statuses.keys()];
    },
  };
}

describe('engines', () => {
  test('one that is new in the config is used, one that is not in it any more ends what it runs', async () => {
    const house = await setUp({ engines: [{ tokenMs: 20 }, {}], latest: 'published', config: {} });
    await house.reload({ backends: backendsOf(house, 0) });
    await house.write(1);
    const stream = await house.post(CHAT, chat('my-model@1', { stream: true, max_tokens: 30 }));
    expect(engineOf(stream)).toBe('gpu-0');

    const changes = await house.reload({ backends: backendsOf(house, 1) });
    expect(changes.map(({ key }) => key)).toEqual(['backends.gpu-0', 'backends.gpu-1']);
    expect(engineOf(await house.ask('my-model@1'))).toBe('gpu-1');
    const listed = (await house.admin('GET', '/backends')).body as { data: { name: string }[] };
    expect(listed.data.map(({ name }) => name)).toEqual(['gpu-1']);
    expect(await stream.text()).toContain('data: [DONE]');
    await until(() => !house.running.gateway.fleet.hasLeft);
  });

  test('an answer in the background keeps its slot on an engine that is reached in another way from now on', async () => {
    const house = await setUp({
      engines: [{ tokenMs: 30, keepResponses: true, answerTokens: 40 }],
      latest: 'published',
    });
    await house.write(1);
    await house.post('/v1/responses', { model: 'my-model@1', input: 'hi', background: true });
    const { gateway } = house.running;
    const leases = () =>
      [...gateway.router.state.backends.values()].flatMap(({ held }) => [...held.values()].map((one) => one.leases));
    expect(leases()).toEqual([1]);
    await house.reload({ backends: [{ name: 'gpu-0', url: house.sims[0]?.url, slots: 1 }] });
    expect([gateway.inFlight, leases()]).toEqual([1, [1]]);
    await until(() => house.sims[0]?.stats().running === 1);
    await until(() => gateway.inFlight === 0);
    expect([house.sims[0]?.stats().running, leases()]).toEqual([0, [0]]);
  });

  test('another url under the same name, and another name for the same url, lose no request', async () => {
    const house = await setUp({ engines: [{}, {}], latest: 'published', config: {} });
    await house.reload({ backends: [{ name: 'only', url: house.sims[0]?.url }] });
    for (const step of [1, 2, 3]) await house.write(step);
    const load = callers(house, ['my-model@1', 'my-model@2', 'my-model@3']);
    for (let round = 0; round < 6; round++) {
      const before = load.answered();
      await house.reload({
        backends: [{ name: round % 3 === 2 ? 'renamed' : 'only', url: house.sims[round % 2]?.url }],
      });
      await until(() => load.answered() > before + 10);
    }
    expect(await load.end()).toEqual(['200']);
  });

  test('slots, limits and keys of one that stays are changed without losing what it runs or holds', async () => {
    const house = await setUp({ engines: [{ maxLoras: 4, tokenMs: 20 }], latest: 'published' });
    await house.write(1);
    const stream = await house.post(CHAT, chat('my-model@1', { stream: true, max_tokens: 20 }));
    const loads = house.sims[0]?.stats().loads;
    await house.reload({
      backends: [{ name: 'gpu-0', url: house.sims[0]?.url, slots: 1, runningMax: 3, rankMax: 64 }],
    });
    const state = house.running.gateway.router.state.backends.get('gpu-0' as never);
    expect(state).toMatchObject({ slots: 1, rankMax: 64, inFlight: 1 });
    expect(state?.limit.max).toBe(3);
    expect((await house.ask('my-model@1')).status).toBe(200);
    expect(house.sims[0]?.stats().loads).toBe(loads);
    expect(await stream.text()).toContain('data: [DONE]');
  });

  test('one that is down when it comes into the config is used when it comes up', async () => {
    const house = await setUp({ engines: [{}, {}], latest: 'published' });
    house.sims[1]?.kill();
    await house.reload({ backends: [{ name: 'late', url: house.sims[1]?.url }, ...backendsOf(house, 0)] });
    await house.write(1);
    expect(engineOf(await house.ask('my-model@1'))).toBe('gpu-0');
    await house.sims[1]?.restart();
    const up = { type: 'backend', backend: 'late', state: 'up' };
    await until(() => house.happenings.some((one) => expect.objectContaining(up).asymmetricMatch(one)));
    await house.admin('POST', '/backends/gpu-0/drain');
    expect(engineOf(await house.ask('my-model@1'))).toBe('late');
  });
});

describe('what else changes without a restart', () => {
  test('models: directories begin and end to be watched, and names lead by the new rules', async () => {
    const house = await setUp({ latest: 'published' });
    await house.write(1);
    await house.write(2);
    const other = join(house.home, 'other');
    await mkdir(other);
    await writeCheckpoint({ dir: other, step: 7 });
    await house.reload({
      models: {
        'my-model': { watch: house.runs, latest: 'error', best: { metric: 'eval_loss', direction: 'max' } },
        'new-model': { watch: other, latest: 'published' },
      },
    });
    const { catalog } = house.running.gateway.registry;
    await until(() => catalog.find('new-model@7')?.state.kind === 'servable');
    expect((await house.ask('new-model')).model).toBe('new-model@7');
    expect((await house.ask('my-model')).code).toBe('name_ambiguous');

    await house.reload({ models: { 'my-model': { watch: house.runs, latest: 'published' } } });
    expect((await house.ask('my-model')).model).toBe('my-model@2');
    expect((await house.ask('new-model@7')).status).toBe(200);
    await writeCheckpoint({ dir: other, step: 8 });
    await house.write(3);
    await house.write(4);
    expect(catalog.find('new-model@8')).toBeUndefined();
  });

  test('limits, deadlines and scheduling, for requests that come from then on', async () => {
    const house = await setUp({ engines: [{ firstTokenMs: 400 }], latest: 'published' });
    const base = house.running.gateway.registry.catalog.bases[0]?.name ?? '';
    const slow = house.ask(base, { stream: false });
    await until(() => house.sims[0]?.stats().running === 1);
    await house.reload({ limits: { bodyBytesMax: 200 }, deadlines: { wholeMs: 100 } });
    expect((await house.ask(base, { user: 'x'.repeat(300) })).code).toBe('body_too_large');
    expect((await house.ask(base)).code).toBe('deadline_exceeded');
    expect((await slow).status).toBe(200);
  });

  test('who may ask: hosts, origins and metrics', async () => {
    const house = await setUp();
    const ask = (headers: Record<string, string>) => fetch(`${house.running.url}/v1/models`, { headers });
    expect((await ask({ origin: 'https://app.example.com' })).status).toBe(403);
    await house.reload({ access: { origins: ['https://app.example.com'] } });
    expect((await ask({ origin: 'https://app.example.com' })).status).toBe(200);
    await house.reload({ access: {} });
    expect((await ask({ origin: 'https://app.example.com' })).status).toBe(403);
  });

  test('roots and the store: what may be registered, and how much', async () => {
    const house = await setUp({ latest: 'published' });
    const elsewhere = join(house.home, 'elsewhere');
    const path = await writeCheckpoint({ dir: elsewhere, step: 1 });
    const register = (name: string) => house.post('/v1/load_lora_adapter', { lora_name: name, lora_path: path });
    await house.reload({ roots: [house.runs] });
    expect((await register('a@1')).ok).toBe(false);
    await house.reload({ roots: [elsewhere] });
    expect((await register('a@1')).status).toBe(200);
  });
});

describe('a config that cannot be followed changes nothing', () => {
  test('with something wrong in it: the answer says which key, and how to mend it', async () => {
    const house = await setUp({ engines: [{}, {}] });
    const before = house.running.gateway.config;
    const refused = await house
      .reload({ limits: { queueMax: -1 }, backends: backendsOf(house, 0) })
      .catch((error) => error);
    expect(refused).toMatchObject({
      code: 'invalid_request',
      message: expect.stringMatching(/config:\d+:\d+: limits\.queueMax/),
    });
    expect(house.running.gateway.config).toBe(before);
    expect([...house.running.gateway.fleet.members.keys()]).toEqual(['gpu-0', 'gpu-1']);
    expect(await house.admin('POST', '/reload')).toMatchObject({
      status: 400,
      body: { error: { code: 'invalid_request' } },
    });
  });

  test('with a key that cannot be read', async () => {
    const house = await setUp();
    const backends = [{ name: 'gpu-0', url: house.sims[0]?.url, keyFile: join(house.home, 'no-such-key') }];
    const refused = await house.reload({ backends }).catch((error) => error);
    expect(refused).toMatchObject({ code: 'invalid_request', message: expect.stringContaining('keyFile') });
    await writeFile(join(house.home, 'no-such-key'), 'secret\n');
    expect((await house.reload({})).map(({ key }) => key)).toEqual(['backends.gpu-0.keyFile']);
  });

  test.each([
    ['listen', { listen: '127.0.0.1:1' }],
    ['admin', { admin: '127.0.0.1:1' }],
    ['data', { data: 'elsewhere' }],
    ['limits.headerBytesMax', { limits: { headerBytesMax: 9999 } }],
    ['limits.headMsMax', { limits: { headMsMax: 999 } }],
    ['tls', { tls: { certFile: 'a', keyFile: 'b' } }],
  ])('with another %s, which needs a restart', async (key, change) => {
    const house = await setUp();
    const before = house.running.gateway.config;
    const refused = await house.reload({ ...change, probe: { everyMs: 50 } }).catch((error) => error);
    expect(refused).toMatchObject({ code: 'conflict', message: expect.stringMatching(`^${key}: .*needs a restart`) });
    expect(house.running.gateway.config).toBe(before);
  });
});

/** After a full collection, without what the test itself has kept. */
function heapMegabytes({ happenings }: House): number {
  happenings.length = 0;
  setFlagsFromString('--expose_gc');
  (runInNewContext('gc') as () => void)();
  return Math.round(process.memoryUsage().heapUsed / 1e6);
}

/** By hand: RELOADS=1000. */
const RELOADS = Number(process.env.RELOADS ?? 60);

rowsOf('operations')(
  {
    fault:
      'the config is read anew again and again under load: other engines, models, limits, and now and then a bad file',
    required: 'no request fails, nothing is left behind; a bad one changes nothing',
    mechanism: '`reload.ts`; `fleet.ts`',
  },
  async () => {
    const house = await setUp({ engines: [{}, {}, {}], latest: 'published' });
    for (const step of [1, 2, 3, 4]) await house.write(step);
    const third = await startSim(FAST);
    const load = callers(house, ['my-model', 'my-model@1', 'my-model@2', 'my-model@3', 'my-model@4']);
    const resources = () => process.getActiveResourcesInfo().length;
    const reload = async (round: number) => {
      const moving =
        round % 2 === 0 ? { name: 'gpu-0', url: house.sims[0]?.url } : { name: 'gpu-1', url: house.sims[1]?.url };
      const url = round % 5 === 0 ? third.url : house.sims[2]?.url;
      const backends = [
        { ...moving, slots: 1 + (round % 3) },
        { name: 'gpu-2', url },
      ];
      const limits = { queueMax: 1000 + round };
      const latest = round % 4 === 0 ? 'ready' : 'published';
      const models = {
        'my-model': { watch: house.runs, latest },
        ...(round % 3 === 0 ? { other: { watch: house.home } } : {}),
      };
      await house.reload({ backends, limits, models });
      if (round % 7 === 0) await house.reload({ limits: { queueMax: 'many' } }).catch(() => {});
    };
    for (let round = 0; round < 10; round++) await reload(round);
    const [before, heapBefore] = [resources(), heapMegabytes(house)];
    for (let round = 10; round < RELOADS; round++) await reload(round);
    const answered = load.answered();
    const statuses = await load.end();
    expect(statuses).toEqual(['200']);
    await until(() => resources() <= before + 10);
    if (RELOADS >= 1000)
      console.log(
        `${answered} answers, resources ${before} -> ${resources()}, MB ${heapBefore} -> ${heapMegabytes(house)}`,
      );
    await third.close();
    return `${statuses.join(', ')} for all`;
  },
  600_000,
);
