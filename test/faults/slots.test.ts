// Slots that are never free, queues that are full, a clock that jumps: everyone is told in a bounded time, and the others go on.
import { expect, onTestFinished, vi } from 'vitest';
import { chunk, SSE } from '../backends/forwarding.ts';
import { until } from '../gateway/harness.ts';
import { type Act, event, say } from './bad-engine.ts';
import { DEADLINES, ending, openFaulty, slotFree, stream, told } from './faulty.ts';
import { rowsOf } from './row.ts';

const slots = rowsOf('slots');
const gateway = rowsOf('gateway');

const ENDLESS: Act = (socket) => {
  socket.write(SSE);
  const timer = setInterval(() => socket.write(chunk(event('x'))), 20);
  socket.on('close', () => clearInterval(timer));
};
/** Adapters of even steps stream without end, the others answer. */
const endlessOnEven: Act = (socket, asked) => {
  const { model } = JSON.parse(asked.body) as { model: string };
  if (/[02468]$/.test(model)) ENDLESS(socket, asked);
  else say(`${SSE}${chunk(event(model))}0\r\n\r\n`)(socket, asked);
};

slots(
  {
    fault: 'endless streams on all slots, again and again, and one asks for another adapter',
    required: 'it gets its slot within `wholeMs` + `drainAfterMs` and a load',
    mechanism: '`router/giving.ts` drains for a line that is due: who comes later waits behind it',
  },
  async () => {
    const faulty = await openFaulty({ scheduling: { drainAfterMs: { interactive: 200 } } });
    for (const step of [2, 4, 5]) await faulty.write(step);
    faulty.engine.does('inference', endlessOnEven);
    const leave = new AbortController();
    const again = async (model: string) => {
      while (!leave.signal.aborted) await stream(faulty, model, leave.signal).catch(() => {});
    };
    const loops = [2, 2, 4, 4].map((step) => again(`my-model@${step}`));
    await until(() => faulty.running.gateway.inFlight === 4);
    const askedAt = performance.now();
    const streamed = await stream(faulty, 'my-model@5');
    const waitedMs = performance.now() - askedAt;
    leave.abort();
    await Promise.all(loops);
    expect(streamed.text).toContain('my-model@5');
    expect(waitedMs).toBeLessThan(DEADLINES.wholeMs + 200 + 400);
    return `${streamed.status} within that; ${await slotFree(faulty)}`;
  },
);

slots(
  {
    fault: 'all slots busy, and the queue full',
    required: '429 with Retry-After at once; who waits is answered',
    mechanism: '`router/waiting.ts`: `limits.queueMax`',
  },
  async () => {
    const faulty = await openFaulty({ limits: { queueMax: 2 }, scheduling: { drainAfterMs: { rollout: 100 } } });
    for (const step of [2, 4, 5]) await faulty.write(step);
    faulty.engine.does('inference', endlessOnEven);
    const busy = [2, 4].map((step) => stream(faulty, `my-model@${step}`));
    await until(() => faulty.engine.count('inference') === 2);
    const waiting = [stream(faulty, 'my-model@5'), stream(faulty, 'my-model@5')];
    await until(() => faulty.running.gateway.router.state.waiting === 2);
    const refused = await faulty.ask('my-model@5');
    expect(Number(refused.headers.get('retry-after'))).toBeGreaterThan(0);
    const answered = await Promise.all(waiting);
    await Promise.all(busy);
    return `${told(refused)} with Retry-After; the two that waited ${answered.map(({ status }) => status).join(', ')}`;
  },
);

slots(
  {
    fault: 'all slots busy for longer than a request may wait',
    required: '429 with Retry-After after `waitMsMax`',
    mechanism: '`router/waiting.ts`: `limits.waitMsMax`',
  },
  async () => {
    const faulty = await openFaulty({ limits: { waitMsMax: 300 } });
    for (const step of [2, 4, 5]) await faulty.write(step);
    faulty.engine.does('inference', endlessOnEven);
    const busy = [2, 4].map((step) => stream(faulty, `my-model@${step}`));
    await until(() => faulty.engine.count('inference') === 2);
    const askedAt = performance.now();
    const refused = await faulty.ask('my-model@5');
    expect(performance.now() - askedAt).toBeGreaterThanOrEqual(300);
    await Promise.all(busy);
    return `${told(refused)}; ${await slotFree(faulty)}`;
  },
);

gateway(
  {
    fault: 'the clock jumps a day ahead, and two days back, while requests wait and stream',
    required: 'no effect: time is the monotonic clock’s',
    mechanism: '`gateway.ts`, `backends/deadlines.ts`: `performance.now`',
  },
  async () => {
    const faulty = await openFaulty({ scheduling: { drainAfterMs: { interactive: 50 } } });
    for (const step of [2, 4, 5]) await faulty.write(step);
    faulty.engine.does('inference', endlessOnEven);
    const begunAt = performance.now();
    const busy = [2, 4].map((step) => stream(faulty, `my-model@${step}`));
    await until(() => faulty.engine.count('inference') === 2);
    const waiting = stream(faulty, 'my-model@5');
    await until(() => faulty.running.gateway.router.state.waiting === 1);
    vi.useFakeTimers({ toFake: ['Date'] });
    onTestFinished(() => void vi.useRealTimers());
    const dayMs = 86_400_000;
    vi.setSystemTime(Date.now() + dayMs);
    // The alarm of the one that waits rings at that time, and every wait and deadline is looked at.
    await new Promise((resolve) => setTimeout(resolve, 150));
    const meanwhile = await stream(faulty, 'base');
    vi.setSystemTime(Date.now() - 2 * dayMs);
    const [endless] = await Promise.all(busy);
    expect(performance.now() - begunAt).toBeGreaterThanOrEqual(DEADLINES.wholeMs);
    expect(meanwhile.status).toBe(200);
    const ended = endless && ending(endless);
    const { status } = await waiting;
    expect(status).toBe(200);
    return `an endless stream: ${ended}, at \`wholeMs\` and not before; who waited for its slot: ${status}`;
  },
);
