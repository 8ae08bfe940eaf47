// Draining an engine: nothing new goes there, nothing that runs there is lost, and it is empty when the gateway says so.
import { describe, expect, test } from 'vitest';
import { rowsOf } from '../faults/row.ts';
import { type House, setUp, until } from './harness.ts';

const CHAT = '/v1/chat/completions';
const said = (model: string, more: Record<string, unknown> = {}) => ({
  ...{ model, messages: [{ role: 'user', content: 'hi' }], stream: true, ...more },
});

interface Backend {
  readonly name: string;
  readonly inFlight: number;
  readonly drain: { readonly state: string; readonly who: string } | null;
  readonly adapters: readonly { readonly name: string; readonly state: string }[];
}

const backend = async (house: House, name: string): Promise<Backend> =>
  (await house.admin('GET', `/backends/${name}`)).body as Backend;
const isDrained = async (house: House, name: string) => (await backend(house, name)).drain?.state === 'drained';
const engineOf = (answer: { headers: Headers }) => answer.headers.get('x-stepgate-backend');

const row = rowsOf('operations');

/** Two engines, with step 1 on `gpu-0` alone. */
async function two(tokenMs = 0.2): Promise<House> {
  const house = await setUp({ engines: [{ tokenMs }, { tokenMs }], latest: 'published' });
  await house.write(1);
  const first = await house.ask('my-model@1');
  expect(engineOf(first)).toBe('gpu-0');
  return house;
}

describe('an engine that is drained', () => {
  test('ends what it runs, is given nothing new, and what only it held is loaded elsewhere when it is asked for', async () => {
    const house = await two(20);
    const stream = await house.post(CHAT, said('my-model@1', { max_tokens: 100, ignore_eos: true }));
    expect(engineOf(stream)).toBe('gpu-0');

    const { status, body } = await house.admin('POST', '/backends/gpu-0/drain');
    expect([status, body]).toMatchObject([200, { drain: { state: 'draining' }, inFlight: 1 }]);
    const answers = await Promise.all(Array.from({ length: 20 }, () => house.ask('my-model@1')));
    expect(answers.map(({ status: code, model }) => `${code} ${model}`)).toEqual(Array(20).fill('200 my-model@1'));
    expect(new Set(answers.map(engineOf))).toEqual(new Set(['gpu-1']));

    expect(await stream.text()).toContain('data: [DONE]');
    await until(() => isDrained(house, 'gpu-0'));
    expect(house.sims[0]?.stats().running).toBe(0);
  });

  row(
    {
      fault: 'engines are drained and taken back in turn, under load from 16 callers',
      required: 'no request fails; a drained engine is given nothing',
      mechanism: '`cordons.ts`; `router/backends.ts`',
    },
    async () => {
      const house = await two();
      await house.write(2);
      await house.write(3);
      const statuses = new Map<number, number>();
      let isOver = false;
      const caller = async (index: number) => {
        for (let turn = 0; !isOver; turn++) {
          const { status } = await house.ask(`my-model@${1 + ((index + turn) % 3)}`);
          statuses.set(status, (statuses.get(status) ?? 0) + 1);
        }
      };
      const callers = Array.from({ length: 16 }, (_, index) => caller(index));
      const served = (index: number) => house.sims[index]?.stats().requests ?? 0;
      for (let round = 0; round < 4; round++) {
        const [name, index] = round % 2 === 0 ? ['gpu-0', 0] : ['gpu-1', 1];
        await house.admin('POST', `/backends/${name}/drain`);
        await until(() => isDrained(house, `${name}`));
        const before = served(index as number);
        const other = served(1 - (index as number));
        await until(() => served(1 - (index as number)) > other + 20);
        expect(served(index as number), `${name} is given nothing`).toBe(before);
        await house.admin('DELETE', `/backends/${name}/drain`);
        await until(() => served(index as number) > before);
      }
      isOver = true;
      await Promise.all(callers);
      expect([...statuses.keys()]).toEqual([200]);
      return `${[...statuses.keys()].join(', ')} for all; nothing was asked of the one that was drained`;
    },
    30_000,
  );

  test('keeps what it holds, and answers from it as soon as it is taken back', async () => {
    const house = await two();
    const loads = house.sims[0]?.stats().loads;
    await house.admin('POST', '/backends/gpu-0/drain');
    expect((await backend(house, 'gpu-0')).adapters).toMatchObject([{ name: 'my-model@1', state: 'draining' }]);
    await house.admin('DELETE', '/backends/gpu-0/drain');
    expect((await backend(house, 'gpu-0')).drain).toBeNull();
    expect(engineOf(await house.ask('my-model@1'))).toBe('gpu-0');
    expect(house.sims[0]?.stats().loads).toBe(loads);
  });

  test('stays so when it is restarted, and when the gateway is', async () => {
    const house = await two();
    await house.admin('POST', '/backends/gpu-0/drain');
    await house.sims[0]?.restart();
    await until(() =>
      house.happenings.some(({ type, ...more }) => type === 'backend' && 'state' in more && more.state === 'down'),
    );
    await until(async () => ((await backend(house, 'gpu-0')) as unknown as { state: string }).state === 'up');
    expect(engineOf(await house.ask('my-model@1'))).toBe('gpu-1');
    const again = await house.restart();
    expect((await backend(again, 'gpu-0')).drain).toMatchObject({ state: 'drained' });
    expect(engineOf(await again.ask('my-model@1'))).toBe('gpu-1');
  });

  test('shows: in /ready when nothing else is up, as a metric, and to whoever listens', async () => {
    const house = await two();
    await house.admin('POST', '/backends/gpu-0/drain');
    expect((await fetch(`${house.running.url}/ready`)).status).toBe(200);
    await house.admin('POST', '/backends/gpu-1/drain', { force: true });
    const ready = await fetch(`${house.running.url}/ready`);
    expect([ready.status, await ready.json()]).toMatchObject([
      503,
      { backends: [{ drain: 'drained' }, { drain: 'drained' }] },
    ]);
    const metrics = await (await fetch(`${house.running.url}/metrics`)).text();
    expect(metrics).toContain('stepgate_cordoned{backend="gpu-0"} 1');
    expect(house.happenings).toContainEqual({ type: 'cordon', backend: 'gpu-0', cordoned: true, who: 'no key' });
    const audit = (await house.admin('GET', '/audit')).body as { data: { path: string; status: number }[] };
    expect(audit.data[0]).toMatchObject({ path: '/admin/v1/backends/gpu-1/drain', status: 200 });
  });
});

describe('the last engine for a base', () => {
  test('is drained only by force, and the refusal says what would happen', async () => {
    const house = await setUp({ engines: [{}], latest: 'published' });
    const refused = await house.admin('POST', '/backends/gpu-0/drain');
    expect(refused).toMatchObject({ status: 409, body: { error: { code: 'conflict' } } });
    const { message } = (refused.body as { error: { message: string } }).error;
    expect(message).toMatch(/gpu-0 is the only engine now .*240 s at most.*--force/);
    expect((await backend(house, 'gpu-0')).drain).toBeNull();
  });

  test('by force: requests wait, and are answered when it is back', async () => {
    const house = await setUp({ engines: [{}], latest: 'published' });
    await house.write(1);
    await house.ask('my-model@1');
    await house.admin('POST', '/backends/gpu-0/drain', { force: true });
    const answers = Promise.all([
      house.ask('my-model@1'),
      house.ask(house.running.gateway.registry.catalog.bases[0]?.name ?? ''),
    ]);
    await until(() => house.running.gateway.router.state.waiting === 2);
    await house.admin('DELETE', '/backends/gpu-0/drain');
    expect((await answers).map(({ status }) => status)).toEqual([200, 200]);
  });
});

test('what is no backend is not drained, and the answer names those that are', async () => {
  const house = await setUp({ engines: [{}, {}] });
  for (const [method, path] of [
    ['POST', '/backends/gpu-7/drain'],
    ['DELETE', '/backends/gpu-7/drain'],
    ['GET', '/backends/gpu-7'],
  ] as const)
    expect(await house.admin(method, path)).toMatchObject({
      status: 404,
      body: { error: { code: 'backend_not_found', message: expect.stringContaining('gpu-0, gpu-1') } },
    });
  expect(await house.admin('POST', '/backends/gpu-0/drain', { force: 'yes' })).toMatchObject({ status: 400 });
});

test('the newest checkpoint, on the drained engine alone, is warm elsewhere before anyone asks for it', async () => {
  const house = await setUp({ engines: [{}, {}] });
  await house.write(1);
  await until(() => house.happenings.some(({ type }) => type === 'promoted'));
  const [holder] = house.sims.flatMap((sim, index) => (sim.stats().loads > 0 ? [index] : []));
  await house.admin('POST', `/backends/gpu-${holder}/drain`);
  await until(() => house.sims[1 - Number(holder)]?.stats().loads === 1);
  expect((await house.ask('my-model')).model).toBe('my-model@1');
});
