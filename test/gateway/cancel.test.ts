// A caller that leaves, on every route and at every step: the engine's request is closed within 100 ms, no failure is counted, the slot is free.
import { request } from 'node:http';
import { expect, test } from 'vitest';
import { ROUTES } from '../../src/openai/routes.ts';
import { rowsOf } from '../faults/row.ts';
import { requestFor } from './bodies.ts';
import { type House, setUp, stopwatch, until } from './harness.ts';

const row = rowsOf('callers');
const WITHIN_MS = 100;
const STREAMING = ROUTES.filter(({ path }) =>
  /^\/v1\/(chat\/completions|completions|responses|messages|audio\/\w+)$/.test(path),
);

/** One engine that holds the step and, with `slow`, generates until its caller leaves. */
async function openHouse(slow = false): Promise<House> {
  const engine = { keepResponses: true, ...(slow && { tokenMs: 2, answerTokens: 30_000 }) };
  const house = await setUp({ engines: [engine], latest: 'published' });
  await house.write(5);
  await house.ask('my-model@5', { max_tokens: 1 });
  return house;
}

const statsOf = (house: House) => {
  const stats = house.sims[0]?.stats();
  if (stats === undefined) throw new Error('the house has no engine');
  return stats;
};

/** Calls `leave` and holds the promise of this file. `label`: the route in the metrics. */
async function expectClosed(house: House, label: string, leave: () => void): Promise<void> {
  const { left } = statsOf(house);
  const sinceLeft = stopwatch();
  leave();
  await until(() => statsOf(house).left === left + 1);
  expect(sinceLeft(), label).toBeLessThan(WITHIN_MS);
  const { gateway } = house.running;
  await until(() => gateway.inFlight === 0);
  const leases = [...gateway.router.state.backends.values()].flatMap(({ held }) => [...held.values()]);
  expect(leases.map((held) => held.leases)).toEqual([0]);
  expect(statsOf(house)).toMatchObject({ running: 0, waiting: 0 });
  await until(async () => (await gateway.metrics.text()).includes(`{route="${label}",code="client_closed"}`));
  expect(await gateway.metrics.text()).not.toMatch(/code="(backend|internal|deadline)_\w+"/);
  expect(house.happenings.filter(({ type }) => type === 'backend')).toEqual([]);
}

const REQUIRED = 'the engine’s request is closed within 100 ms, the lease closed, no failure counted';
const MECHANISM = '`backends/forward.ts`, `exchange.ts`: `close` of the response';

row(
  { fault: 'leaves before the answer begins, on every route', required: REQUIRED, mechanism: MECHANISM },
  async () => {
    const house = await openHouse();
    for (const route of ROUTES) {
      house.sims[0]?.fault('inference', { kind: 'hang' });
      const { requests } = statsOf(house);
      const caller = new AbortController();
      const answer = fetch(house.running.url + route.path, {
        ...requestFor(route, 'my-model@5'),
        signal: caller.signal,
      }).catch((error: Error) => error.name);
      await until(() => statsOf(house).requests > requests);
      await expectClosed(house, route.path, () => caller.abort());
      expect(await answer).toBe('AbortError');
    }
    return `so on all ${ROUTES.length} routes`;
  },
);

row(
  { fault: 'leaves in the stream, on every route that streams', required: REQUIRED, mechanism: MECHANISM },
  async () => {
    for (const route of STREAMING) {
      const house = await openHouse(true);
      const caller = new AbortController();
      const response = await fetch(house.running.url + route.path, {
        ...requestFor(route, 'my-model@5', { stream: true, max_tokens: undefined, max_output_tokens: undefined }),
        signal: caller.signal,
      });
      await response.body?.getReader().read();
      expect(statsOf(house).running).toBe(1);
      await expectClosed(house, route.path, () => caller.abort());
    }
    return `so on all ${STREAMING.length} of them`;
  },
);

test.each(ROUTES.filter(({ body }) => body === 'form'))('in the middle of an upload: $path', async ({ path }) => {
  const house = await openHouse();
  const { requests } = statsOf(house);
  const sending = request(`${house.running.url}${path}`, {
    method: 'POST',
    headers: { 'content-type': 'multipart/form-data; boundary=of-a-form' },
    agent: false,
  }).on('error', () => {});
  const head = 'content-disposition: form-data; name=';
  sending.write(
    `--of-a-form\r\n${head}"model"\r\n\r\nmy-model@5\r\n--of-a-form\r\n${head}"file"; filename="a"\r\n\r\nRIFF`,
  );
  await until(() => statsOf(house).requests > requests);
  await expectClosed(house, path, () => sending.destroy());
});

test('in an upload whose model has not come: it never reaches an engine', async () => {
  const house = await openHouse();
  const { requests } = statsOf(house);
  const sending = request(`${house.running.url}/v1/audio/transcriptions`, {
    method: 'POST',
    headers: { 'content-type': 'multipart/form-data; boundary=of-a-form' },
    agent: false,
  }).on('error', () => {});
  const head = '--of-a-form\r\ncontent-disposition: form-data; name="file"; filename="a"\r\n\r\n';
  await new Promise((written) => sending.write(`${head}RIFF`, written));
  sending.destroy();
  await until(async () =>
    (await house.running.gateway.metrics.text()).includes('{route="/v1/audio/transcriptions",code="client_closed"} 1'),
  );
  expect(statsOf(house).requests).toBe(requests);
});

test.each([
  ['GET', '/v1/responses/{id}'],
  ['POST', '/v1/responses/{id}/cancel'],
])('of an answer that is kept: %s %s', async (method, label) => {
  const house = await openHouse();
  const made = await house.post('/v1/responses', { model: 'my-model@5', input: 'hi' });
  const { id } = (await made.json()) as { id: string };
  house.sims[0]?.fault('inference', { kind: 'hang' });
  const { requests } = statsOf(house);
  const caller = new AbortController();
  const answer = fetch(house.running.url + label.replace('{id}', id), { method, signal: caller.signal }).catch(
    (error: Error) => error.name,
  );
  await until(() => statsOf(house).requests > requests);
  await expectClosed(house, label, () => caller.abort());
  expect(await answer).toBe('AbortError');
});
