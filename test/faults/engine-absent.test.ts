// An engine that cannot be reached: nothing of the request was sent, so another engine may have it.
import { expect } from 'vitest';
import { until } from '../gateway/harness.ts';
import { DEADLINES, openWithStep, slotFree, told } from './faulty.ts';
import { rowsOf } from './row.ts';

const row = rowsOf('before');

row(
  {
    fault: 'connection refused, another engine can serve',
    required: 'the other engine answers; the first counts as down',
    mechanism: '`backends/forward.ts` tells `refused`, `gateway.ts` places it anew and suspects the engine',
  },
  async () => {
    const faulty = await openWithStep({ probe: { everyMs: 60_000 } }, 2);
    const first = [...faulty.running.gateway.router.state.backends].findIndex(([, { held }]) => held.size > 0);
    await faulty.engines[first]?.refuse();
    const answer = await faulty.ask('my-model@5');
    expect(answer.headers.get('x-stepgate-backend')).toBe(`gpu-${1 - first}`);
    const states = [...faulty.running.gateway.fleet.members.values()].map(({ state }) => state);
    expect(states[first]).toBe('down');
    return `${told(answer)} of the other engine; the first is ${states[first]}; ${await slotFree(faulty)}`;
  },
);

row(
  {
    fault: 'connection refused, no other engine',
    required: '503 with Retry-After at once; it recovers by itself',
    mechanism: '`router/refusals.ts`; `backends/backend.ts` looks again',
  },
  async () => {
    const faulty = await openWithStep();
    await faulty.engine.refuse();
    const answer = await faulty.ask('my-model@5');
    expect(Number(answer.headers.get('retry-after'))).toBeGreaterThan(0);
    faulty.engine.adapters.clear();
    await faulty.engine.listen();
    await until(async () => (await faulty.ask('my-model@5')).status === 200);
    return `${told(answer)} with Retry-After; answered again when the engine is back`;
  },
);

row(
  {
    fault: 'connections are neither taken nor refused, another engine can serve',
    required: 'given up after `connectMs`; the other engine answers',
    mechanism: '`backends/pool.ts`; as a connection that is refused',
  },
  async () => {
    // Its connection may take longer than `connectMs`: undici looks twice a second.
    const deadlines = { ...DEADLINES, wholeMs: 10_000 };
    const faulty = await openWithStep({ probe: { everyMs: 60_000 }, deadlines }, 2);
    const first = [...faulty.running.gateway.router.state.backends].findIndex(([, { held }]) => held.size > 0);
    await faulty.engines[first]?.swallow();
    const askedAt = performance.now();
    const answer = await faulty.ask('my-model@5');
    expect(performance.now() - askedAt).toBeGreaterThanOrEqual(DEADLINES.connectMs);
    expect(answer.headers.get('x-stepgate-backend')).toBe(`gpu-${1 - first}`);
    return `${told(answer)} of the other engine, after \`connectMs\`; ${await slotFree(faulty)}`;
  },
);
